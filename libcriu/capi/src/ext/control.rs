use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use crate::outcome::{Record, operate_recording};
use crate::state::{Target, configure};
use crate::types::criu_opts;

/// Would a dump with these options work? Changes nothing.
///
/// 0: yes. Positive: the number of obstacles, which criu_local_blocker tells. Negative: it could not be found out.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_preflight(opts: *mut criu_opts) -> c_int {
    preflight(Target::Local(opts))
}

/// As criu_local_preflight, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_preflight() -> c_int {
    preflight(Target::Global)
}

/// Stops the operations that run with these options in other threads. A target is put back, what was restored so far is
/// removed, and the operation returns -EBADE with errno ECANCELED (or succeeds, when it was through already).
///
/// 0: they were told. -ESRCH: none is running. Not for signal handlers.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_cancel(opts: *mut criu_opts) -> c_int {
    cancel(Target::Local(opts))
}

/// As criu_local_cancel, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_cancel() -> c_int {
    cancel(Target::Global)
}

/// The longest that each whole operation may take; 0: no limit. One that takes longer is undone as if it had been cancelled, and
/// returns -EBADE with errno ETIMEDOUT.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_deadline(opts: *mut criu_opts, milliseconds: u64) -> c_int {
    deadline(Target::Local(opts), milliseconds)
}

/// As criu_local_set_deadline, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_deadline(milliseconds: u64) -> c_int {
    deadline(Target::Global, milliseconds)
}

/// Calls `cb` at every stage of an operation, in the thread that runs it (NULL: no more). `pid` is the root task's, 0 at stages
/// without one; `fd` is the terminal's master at orphan-pts-master, else -1, and lives as long as the call. What `cb` returns
/// other than 0 fails the operation.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_stage_cb(
    opts: *mut criu_opts,
    cb: Option<extern "C" fn(stage: *const c_char, pid: c_int, fd: c_int, user: *mut c_void) -> c_int>,
    user: *mut c_void,
) -> c_int {
    configure(Target::Local(opts), |s| {
        s.functions.stage = cb.map(|cb| (cb, user.expose_provenance()));
        Ok(())
    })
}

/// As criu_local_set_stage_cb, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_stage_cb(
    cb: Option<extern "C" fn(stage: *const c_char, pid: c_int, fd: c_int, user: *mut c_void) -> c_int>,
    user: *mut c_void,
) -> c_int {
    configure(Target::Global, |s| {
        s.functions.stage = cb.map(|cb| (cb, user.expose_provenance()));
        Ok(())
    })
}

/// Calls `cb` while an operation advances, in the thread that runs it (NULL: no more). `total` is 0 while it is not known; the
/// unit is bytes in the phases that move memory, objects in the others.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_progress_cb(
    opts: *mut criu_opts,
    cb: Option<extern "C" fn(phase: *const c_char, done: u64, total: u64, user: *mut c_void)>,
    user: *mut c_void,
) -> c_int {
    configure(Target::Local(opts), |s| {
        s.functions.progress = cb.map(|cb| (cb, user.expose_provenance()));
        Ok(())
    })
}

/// As criu_local_set_progress_cb, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_progress_cb(
    cb: Option<extern "C" fn(phase: *const c_char, done: u64, total: u64, user: *mut c_void)>,
    user: *mut c_void,
) -> c_int {
    configure(Target::Global, |s| {
        s.functions.progress = cb.map(|cb| (cb, user.expose_provenance()));
        Ok(())
    })
}

/// Calls `cb` with the lines that the engine logs, up to `level` (CRIU_LOG_*), in the thread that runs the operation (NULL: no
/// more). The log file gets them all the same.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_log_cb(
    opts: *mut criu_opts,
    cb: Option<extern "C" fn(level: c_int, line: *const c_char, user: *mut c_void)>,
    user: *mut c_void,
    level: c_int,
) -> c_int {
    configure(Target::Local(opts), |s| {
        s.functions.log = cb.map(|cb| (cb, user.expose_provenance(), level));
        Ok(())
    })
}

/// As criu_local_set_log_cb, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_log_cb(
    cb: Option<extern "C" fn(level: c_int, line: *const c_char, user: *mut c_void)>,
    user: *mut c_void,
    level: c_int,
) -> c_int {
    configure(Target::Global, |s| {
        s.functions.log = cb.map(|cb| (cb, user.expose_provenance(), level));
        Ok(())
    })
}

fn preflight(target: Target) -> c_int {
    operate_recording(target, |_, client, called| {
        let blockers = client.preflight(called)?;
        let count = c_int::try_from(blockers.len()).unwrap_or(c_int::MAX);
        Ok((count, (count > 0).then(|| Record::found(&blockers))))
    })
}

fn cancel(target: Target) -> c_int {
    match target.find() {
        None => -libc::EINVAL,
        Some(opts) => {
            let canceller = opts.settings().client.canceller();
            if canceller.cancel() { 0 } else { -libc::ESRCH }
        }
    }
}

fn deadline(target: Target, milliseconds: u64) -> c_int {
    configure(target, |s| {
        s.client.deadline = (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
        Ok(())
    })
}
