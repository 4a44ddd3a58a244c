use std::ffi::{c_char, c_int};

use criu_client::{Code, Error};
use criu_images::options::{Given, Settings, resolve};

use crate::ffi::{optional_text, text};
use crate::outcome::complain;
use crate::state::{Target, configure, set, try_set};
use crate::types::criu_opts;

/// Sets any option by its name on the command line: "ghost-limit", "1M"; "tcp-close", NULL; "no-tcp-close", NULL. `value` is
/// NULL for a switch. The same table of options stands behind the command line and the configuration files.
///
/// -ENOENT: there is no such option. -EINVAL: its value is wrong, or it concerns the command alone. criu_last_error says which.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_option(opts: *mut criu_opts, name: *const c_char, value: *const c_char) -> c_int {
    set_option(Target::Local(opts), name, value)
}

/// As criu_local_set_option, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_option(name: *const c_char, value: *const c_char) -> c_int {
    set_option(Target::Global, name, value)
}

/// A descriptor that gets one zero byte when the engine is ready.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_status_fd(opts: *mut criu_opts, fd: c_int) {
    set(Target::Local(opts), |o| o.status_fd = Some(fd));
}

/// As criu_local_set_status_fd, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_status_fd(fd: c_int) {
    set(Target::Global, |o| o.status_fd = Some(fd));
}

/// The certificate authorities of page-server connections, a file.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_tls_cacert(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.tls_cacert = Some(text(path)?);
        Ok(())
    })
}

/// As criu_local_set_tls_cacert, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_tls_cacert(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.tls_cacert = Some(text(path)?);
        Ok(())
    })
}

/// Revoked certificates, a file.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_tls_cacrl(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.tls_cacrl = Some(text(path)?);
        Ok(())
    })
}

/// As criu_local_set_tls_cacrl, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_tls_cacrl(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.tls_cacrl = Some(text(path)?);
        Ok(())
    })
}

/// This side's certificate, a file.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_tls_cert(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.tls_cert = Some(text(path)?);
        Ok(())
    })
}

/// As criu_local_set_tls_cert, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_tls_cert(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.tls_cert = Some(text(path)?);
        Ok(())
    })
}

/// This side's private key, a file.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_tls_key(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.tls_key = Some(text(path)?);
        Ok(())
    })
}

/// As criu_local_set_tls_key, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_tls_key(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.tls_key = Some(text(path)?);
        Ok(())
    })
}

/// Encrypts page-server connections.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_tls(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.tls = Some(val));
}

/// As criu_local_set_tls, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_tls(val: bool) {
    set(Target::Global, |o| o.tls = Some(val));
}

/// Accepts a certificate of another host name.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_tls_no_cn_verify(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.tls_no_cn_verify = Some(val));
}

/// As criu_local_set_tls_no_cn_verify, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_tls_no_cn_verify(val: bool) {
    set(Target::Global, |o| o.tls_no_cn_verify = Some(val));
}

/// Leaves the tree stopped after the dump, or the restore.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_leave_stopped(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.leave_stopped = Some(val));
}

/// As criu_local_set_leave_stopped, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_leave_stopped(val: bool) {
    set(Target::Global, |o| o.leave_stopped = Some(val));
}

/// The directory of the images, as a path that the engine opens.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_images_dir(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.images_dir = Some(text(path)?);
        Ok(())
    })
}

/// As criu_local_set_images_dir, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_images_dir(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.images_dir = Some(text(path)?);
        Ok(())
    })
}

/// Shows statistics at the end.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_display_stats(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.display_stats = Some(val));
}

/// As criu_local_set_display_stats, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_display_stats(val: bool) {
    set(Target::Global, |o| o.display_stats = Some(val));
}

/// Logs to the engine's standard error.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_log_to_stderr(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.log_to_stderr = Some(val));
}

/// As criu_local_set_log_to_stderr, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_log_to_stderr(val: bool) {
    set(Target::Global, |o| o.log_to_stderr = Some(val));
}

/// Gives every restored task a log file of its own.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_log_pid(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.log_pid = Some(val));
}

/// As criu_local_set_log_pid, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_log_pid(val: bool) {
    set(Target::Global, |o| o.log_pid = Some(val));
}

/// Takes images from, or gives them to, a streamer in the images directory.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_stream(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.stream = Some(val));
}

/// As criu_local_set_stream, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_stream(val: bool) {
    set(Target::Global, |o| o.stream = Some(val));
}

/// How files are recognized at restore: "filesize" or "buildid".
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_file_validation(opts: *mut criu_opts, method: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.file_validation = Some(text(method)?);
        Ok(())
    })
}

/// As criu_local_set_file_validation, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_file_validation(method: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.file_validation = Some(text(method)?);
        Ok(())
    })
}

/// The directory of plugins.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_libdir(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.libdir = Some(text(path)?);
        Ok(())
    })
}

/// As criu_local_set_libdir, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_libdir(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.libdir = Some(text(path)?);
        Ok(())
    })
}

/// Finds the holes of unlinked files by FIEMAP.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_ghost_fiemap(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.ghost_fiemap = Some(val));
}

/// As criu_local_set_ghost_fiemap, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_ghost_fiemap(val: bool) {
    set(Target::Global, |o| o.ghost_fiemap = Some(val));
}

/// Allows tasks with uprobes.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_allow_uprobes(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.allow_uprobes = Some(val));
}

/// As criu_local_set_allow_uprobes, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_allow_uprobes(val: bool) {
    set(Target::Global, |o| o.allow_uprobes = Some(val));
}

/// A connection to the page server, in place of an address.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_page_server_fd(opts: *mut criu_opts, fd: c_int) {
    set(Target::Local(opts), |o| o.ps.get_or_insert_default().fd = Some(fd));
}

/// As criu_local_set_page_server_fd, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_page_server_fd(fd: c_int) {
    set(Target::Global, |o| o.ps.get_or_insert_default().fd = Some(fd));
}

/// As criu_local_add_cg_props, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_cg_props(stream: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.cgroup_props = Some(text(stream)?);
        Ok(())
    })
}

/// As criu_local_add_cg_props_file, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_cg_props_file(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.cgroup_props_file = Some(text(path)?);
        Ok(())
    })
}

/// As criu_local_add_cg_dump_controller, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_cg_dump_controller(name: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.cgroup_dump_controller.push(text(name)?);
        Ok(())
    })
}

/// As criu_local_add_cg_yard, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_cg_yard(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.cgroup_yard = Some(text(path)?);
        Ok(())
    })
}

fn set_option(target: Target, name: *const c_char, value: *const c_char) -> c_int {
    let (name, value) = match (text(name), optional_text(value)) {
        (Ok(name), Ok(value)) => (name, value),
        (Err(e), _) | (_, Err(e)) => return e,
    };
    let refused = |errno: c_int, cause: String| {
        complain(Error::new(Code::Argument, format!("option {name}"), cause).errno(errno));
        Err(-errno)
    };
    configure(target, |settings| {
        let (spec, given) = match resolve(&name, true) {
            Ok(found) => found,
            Err(e) => return refused(libc::ENOENT, e.to_string()),
        };
        let given = value.as_deref().map_or(given, Given::Value);
        let mut changed = Settings { msg: settings.client.opts.clone(), ..Default::default() };
        if let Err(cause) = spec.set(&mut changed, given) {
            return refused(libc::EINVAL, cause);
        }
        if changed.command != Default::default() {
            return refused(libc::EINVAL, "it concerns the criu command alone".into());
        }
        settings.client.opts = changed.msg;
        Ok(())
    })
}
