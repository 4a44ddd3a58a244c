use std::ffi::{c_char, c_int};

use criu_client::Transport;

use crate::ffi::{ConstantText, optional_text};
use crate::state::{self, Target, configure};
use crate::types::{criu_notify_arg_t, criu_opts};

/// The version of the library as text.
#[unsafe(no_mangle)]
pub static criu_lib_version: ConstantText = ConstantText::new(c"4.2");

/// Makes new options. Options in `opts` (it must be NULL, or hold some) are freed.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_init_opts(opts: *mut *mut criu_opts) -> c_int {
    state::create(opts)
}

/// Frees options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_free_opts(opts: *mut criu_opts) {
    state::free(opts);
}

/// Makes new global options, in place of older ones. It comes first.
#[unsafe(no_mangle)]
pub extern "C" fn criu_init_opts() -> c_int {
    state::create_global();
    0
}

/// Frees the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_free_opts() {
    state::free_global();
}

/// Uses the service that listens at `path`; NULL: ./criu_service.socket.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_service_address(opts: *mut criu_opts, path: *const c_char) -> c_int {
    service_address(Target::Local(opts), path)
}

/// As criu_local_set_service_address, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_service_address(path: *const c_char) -> c_int {
    service_address(Target::Global, path)
}

/// Uses a connection to a service. It stays the caller's.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_service_fd(opts: *mut criu_opts, fd: c_int) {
    service_fd(Target::Local(opts), fd);
}

/// As criu_local_set_service_fd, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_service_fd(fd: c_int) {
    service_fd(Target::Global, fd);
}

/// Executes `path` (looked up in PATH; NULL: criu) with the arguments `swrk FD` for each operation.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_service_binary(opts: *mut criu_opts, path: *const c_char) -> c_int {
    service_binary(Target::Local(opts), path)
}

/// As criu_local_set_service_binary, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_service_binary(path: *const c_char) -> c_int {
    service_binary(Target::Global, path)
}

/// Back to the library's own worker.
#[unsafe(no_mangle)]
pub extern "C" fn criu_free_service(opts: *mut criu_opts) {
    configure(Target::Local(opts), |s| {
        s.transport = None;
        Ok(())
    });
}

/// Calls `cb` at every stage of an operation (NULL: no more). What it returns other than 0 fails the operation.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_notify_cb(
    opts: *mut criu_opts,
    cb: Option<extern "C" fn(action: *mut c_char, na: criu_notify_arg_t) -> c_int>,
) {
    configure(Target::Local(opts), |s| {
        s.functions.notify = cb;
        Ok(())
    });
}

/// As criu_local_set_notify_cb, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_notify_cb(cb: Option<extern "C" fn(action: *mut c_char, na: criu_notify_arg_t) -> c_int>) {
    configure(Target::Global, |s| {
        s.functions.notify = cb;
        Ok(())
    });
}

fn service_address(target: Target, path: *const c_char) -> c_int {
    configure(target, |s| {
        let path = optional_text(path)?.unwrap_or_else(|| "./criu_service.socket".to_owned());
        s.transport = Some(Transport::Address(path.into()));
        Ok(())
    })
}

fn service_fd(target: Target, fd: c_int) {
    configure(target, |s| {
        s.transport = Some(Transport::Fd(fd));
        Ok(())
    });
}

fn service_binary(target: Target, path: *const c_char) -> c_int {
    configure(target, |s| {
        let path = optional_text(path)?.unwrap_or_else(|| "criu".to_owned());
        s.transport = Some(Transport::Binary(path.into()));
        Ok(())
    })
}
