use std::ffi::{c_char, c_int, c_uint};

use crate::ffi::{self, text};
use crate::state::{Target, set, try_set};
use crate::types::criu_opts;

/// The root of the tree to dump; without one the calling process dumps itself.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_pid(opts: *mut criu_opts, pid: c_int) {
    set(Target::Local(opts), |o| o.pid = Some(pid));
}

/// As criu_local_set_pid, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_pid(pid: c_int) {
    set(Target::Global, |o| o.pid = Some(pid));
}

/// The directory of the images, as an open descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_images_dir_fd(opts: *mut criu_opts, fd: c_int) {
    set(Target::Local(opts), |o| o.images_dir_fd = fd);
}

/// As criu_local_set_images_dir_fd, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_images_dir_fd(fd: c_int) {
    set(Target::Global, |o| o.images_dir_fd = fd);
}

/// The images of the previous dump or pre-dump, relative to the images directory.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_parent_images(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.parent_img = Some(text(path)?);
        Ok(())
    })
}

/// As criu_local_set_parent_images, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_parent_images(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.parent_img = Some(text(path)?);
        Ok(())
    })
}

/// The directory of logs and statistics, as an open descriptor; else they go to the images directory.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_work_dir_fd(opts: *mut criu_opts, fd: c_int) {
    set(Target::Local(opts), |o| o.work_dir_fd = Some(fd));
}

/// As criu_local_set_work_dir_fd, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_work_dir_fd(fd: c_int) {
    set(Target::Global, |o| o.work_dir_fd = Some(fd));
}

/// Leaves the tree running after the dump.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_leave_running(opts: *mut criu_opts, leave_running: bool) {
    set(Target::Local(opts), |o| o.leave_running = Some(leave_running));
}

/// As criu_local_set_leave_running, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_leave_running(leave_running: bool) {
    set(Target::Global, |o| o.leave_running = Some(leave_running));
}

/// Allows a session or terminal that the tree shares with others.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_shell_job(opts: *mut criu_opts, shell_job: bool) {
    set(Target::Local(opts), |o| o.shell_job = Some(shell_job));
}

/// As criu_local_set_shell_job, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_shell_job(shell_job: bool) {
    set(Target::Global, |o| o.shell_job = Some(shell_job));
}

/// How much is logged: one of CRIU_LOG_*.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_log_level(opts: *mut criu_opts, log_level: c_int) {
    set(Target::Local(opts), |o| o.log_level = Some(log_level));
}

/// As criu_local_set_log_level, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_log_level(log_level: c_int) {
    set(Target::Global, |o| o.log_level = Some(log_level));
}

/// The name of the log file in the work directory.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_log_file(opts: *mut criu_opts, log_file: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.log_file = Some(text(log_file)?);
        Ok(())
    })
}

/// As criu_local_set_log_file, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_log_file(log_file: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.log_file = Some(text(log_file)?);
        Ok(())
    })
}

/// Which differences of CPUs are checked (bits: 1 fpu, 2 cpu, 4 ins; 0 none).
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_cpu_cap(opts: *mut criu_opts, cap: c_uint) {
    set(Target::Local(opts), |o| o.cpu_cap = Some(cap));
}

/// As criu_local_set_cpu_cap, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_cpu_cap(cap: c_uint) {
    set(Target::Global, |o| o.cpu_cap = Some(cap));
}

/// Seconds that collecting the state of tasks may take.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_timeout(opts: *mut criu_opts, timeout: c_uint) {
    set(Target::Local(opts), |o| o.timeout = Some(timeout));
}

/// As criu_local_set_timeout, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_timeout(timeout: c_uint) {
    set(Target::Global, |o| o.timeout = Some(timeout));
}

/// What the engine executes after a restore, as the parent of the restored tree.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_exec_cmd(opts: *mut criu_opts, argc: c_int, argv: *mut *mut c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.exec_cmd = ffi::texts(argc, argv)?;
        Ok(())
    })
}

/// As criu_local_set_exec_cmd, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_exec_cmd(argc: c_int, argv: *mut *mut c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.exec_cmd = ffi::texts(argc, argv)?;
        Ok(())
    })
}

/// A configuration file whose options go before those set here.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_config_file(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.config_file = Some(text(path)?);
        Ok(())
    })
}

/// As criu_local_set_config_file, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_config_file(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.config_file = Some(text(path)?);
        Ok(())
    })
}

/// Works with CAP_CHECKPOINT_RESTORE alone.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_unprivileged(opts: *mut criu_opts, unprivileged: bool) {
    set(Target::Local(opts), |o| o.unprivileged = Some(unprivileged));
}

/// As criu_local_set_unprivileged, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_unprivileged(unprivileged: bool) {
    set(Target::Global, |o| o.unprivileged = Some(unprivileged));
}

/// Accepts at restore that a file's permissions have changed.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_skip_file_rwx_check(opts: *mut criu_opts, skip_file_rwx_check: bool) {
    set(Target::Local(opts), |o| o.skip_file_rwx_check = Some(skip_file_rwx_check));
}

/// As criu_local_set_skip_file_rwx_check, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_skip_file_rwx_check(skip_file_rwx_check: bool) {
    set(Target::Global, |o| o.skip_file_rwx_check = Some(skip_file_rwx_check));
}
