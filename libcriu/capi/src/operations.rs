use std::ffi::c_int;

use criu_client::{Client, Code, Dumped, Error};
use criu_images::messages::CriuFeatures;

use crate::callbacks::{self, Called};
use crate::ffi;
use crate::outcome::{operate, operate_recording, snapshot};
use crate::state::Target;
use crate::types::{criu_feature_check, criu_notify_arg_t, criu_opts, criu_predump_info};

/// The root task's pid at the stages that have one (setup-namespaces, post-restore, ...), else 0.
#[unsafe(no_mangle)]
pub extern "C" fn criu_notify_pid(na: criu_notify_arg_t) -> c_int {
    ffi::notified_pid(na)
}

/// The terminal's master that came with the stage orphan-pts-master, for the callback of that stage; -1 without one. The
/// caller closes it.
#[unsafe(no_mangle)]
pub extern "C" fn criu_get_orphan_pts_master_fd() -> c_int {
    callbacks::terminal()
}

/// Whether this kernel has what the engine needs: 0, or a negative error.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_check(opts: *mut criu_opts) -> c_int {
    operate(Target::Local(opts), |client, called| client.check(called).map(|()| 0))
}

/// As criu_local_check, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_check() -> c_int {
    operate(Target::Global, |client, called| client.check(called).map(|()| 0))
}

/// Dumps the tree of the pid that was set; without one, the calling process itself.
///
/// 0: dumped. 1: this is the restored process (of one that dumped itself). Errors, here and in all operations: -EBADE, the
/// engine said no (errno tells why, 0 when no number does); -ECONNREFUSED, no engine was reached; -ECOMM, the connection
/// broke; -EINVAL, the engine does not know the request; -EBADMSG, its answer was not understood.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_dump(opts: *mut criu_opts) -> c_int {
    operate(Target::Local(opts), |client, called| client.dump(called).map(restored))
}

/// As criu_local_dump, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_dump() -> c_int {
    operate(Target::Global, |client, called| client.dump(called).map(restored))
}

/// Saves the memory of the tree and leaves it running; the next dump saves what has changed since.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_pre_dump(opts: *mut criu_opts) -> c_int {
    operate(Target::Local(opts), |client, called| client.pre_dump(called).map(|()| 0))
}

/// As criu_local_pre_dump, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_pre_dump() -> c_int {
    operate(Target::Global, |client, called| client.pre_dump(called).map(|()| 0))
}

/// Restores the tree in the images directory: the pid of its root, or a negative error.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_restore(opts: *mut criu_opts) -> c_int {
    operate(Target::Local(opts), |client, called| client.restore(called))
}

/// As criu_local_restore, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_restore() -> c_int {
    operate(Target::Global, |client, called| client.restore(called))
}

/// As criu_local_restore; the root becomes the caller's child.
///
/// Until the call returns, the worker is a child of the caller, too: a wait for any child may return its pid, which does no
/// harm.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_restore_child(opts: *mut criu_opts) -> c_int {
    operate(Target::Local(opts), |client, called| client.restore_child(called))
}

/// As criu_local_restore_child, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_restore_child() -> c_int {
    operate(Target::Global, |client, called| client.restore_child(called))
}

/// Pre-dumps as long as `more` returns a positive value, dumps when it returns 0, and gives up with its negative value.
/// `more` may change the options, as it should with the images directory and the parent images. Needs a pid; a process
/// cannot dump itself this way.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_dump_iters(
    opts: *mut criu_opts,
    more: Option<extern "C" fn(pi: criu_predump_info) -> c_int>,
) -> c_int {
    dump_iterations(Target::Local(opts), more)
}

/// As criu_local_dump_iters, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_dump_iters(more: Option<extern "C" fn(pi: criu_predump_info) -> c_int>) -> c_int {
    dump_iterations(Target::Global, more)
}

/// The engine's version: major * 10000 + minor * 100 + sublevel.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_get_version(opts: *mut criu_opts) -> c_int {
    operate(Target::Local(opts), version)
}

/// As criu_local_get_version, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_get_version() -> c_int {
    operate(Target::Global, version)
}

/// 1 when the engine's version is at least `minimum`, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_check_version(opts: *mut criu_opts, minimum: c_int) -> c_int {
    operate(Target::Local(opts), |client, called| Ok(c_int::from(version(client, called)? >= minimum)))
}

/// As criu_local_check_version, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_check_version(minimum: c_int) -> c_int {
    operate(Target::Global, |client, called| Ok(c_int::from(version(client, called)? >= minimum)))
}

/// Which features there are: asks about those that are true in `features` and leaves true what there is. `size` is the
/// size of the caller's struct.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_feature_check(
    opts: *mut criu_opts,
    features: *mut criu_feature_check,
    size: usize,
) -> c_int {
    feature_check(Target::Local(opts), features, size)
}

/// As criu_local_feature_check, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_feature_check(features: *mut criu_feature_check, size: usize) -> c_int {
    feature_check(Target::Global, features, size)
}

fn restored(dumped: Dumped) -> c_int {
    match dumped {
        Dumped::Saved => 0,
        Dumped::Restored => 1,
    }
}

fn version(client: &Client, _called: &mut Called) -> Result<c_int, Error> {
    let v = client.version()?;
    let number = |n: i32, unit: i32| n.checked_mul(unit).filter(|n| *n >= 0);
    number(v.major_number, 10000)
        .zip(number(v.minor_number, 100))
        .and_then(|(major, minor)| major.checked_add(minor)?.checked_add(v.sublevel.unwrap_or(0)))
        .ok_or_else(|| Error::new(Code::Protocol, "version", "its numbers make no version").errno(libc::EBADMSG))
}

fn argument(object: &str, cause: &str) -> Error {
    Error::new(Code::Argument, object, cause).errno(libc::EINVAL)
}

fn dump_iterations(target: Target, more: Option<extern "C" fn(pi: criu_predump_info) -> c_int>) -> c_int {
    operate_recording(target, |opts, client, _| {
        let more = more.ok_or_else(|| argument("dump_iters", "there is no callback"))?;
        if client.targets_us() {
            return Err(argument("dump_iters", "a process cannot dump itself in iterations: set a pid"));
        }
        let mut iterations = client.iterations()?;
        loop {
            let (client, mut called) = snapshot(opts);
            iterations.pre_dump(&client, &mut called)?;
            match more(std::ptr::null_mut()) {
                0 => break,
                n if n < 0 => return Ok((n, None)),
                _ => {}
            }
        }
        let (client, mut called) = snapshot(opts);
        iterations.dump(&client, &mut called).map(|dumped| (restored(dumped), None))
    })
}

/// The struct is read and written as bytes: a caller may know a shorter or longer one.
fn feature_check(target: Target, features: *mut criu_feature_check, size: usize) -> c_int {
    operate(target, |client, _| {
        let invalid = || argument("features", "NULL, empty, or of an absurd size");
        if size == 0 || size > 4096 {
            return Err(invalid());
        }
        ffi::with_bytes(features.cast(), size, |flags| {
            let wanted = |n: usize| flags.get(n).is_some_and(|&f| f != 0).then_some(true);
            let asked = CriuFeatures { mem_track: wanted(0), lazy_pages: wanted(1), pidfd_store: wanted(2) };
            let there = client.features(asked)?;
            let answers = [there.mem_track, there.lazy_pages, there.pidfd_store];
            for (n, flag) in flags.iter_mut().enumerate() {
                // What this library does not know is not there.
                let yes = answers.get(n).is_some_and(|a| a.unwrap_or(false));
                *flag = u8::from(*flag != 0 && yes);
            }
            Ok(0)
        })
        .unwrap_or_else(|| Err(invalid()))
    })
}
