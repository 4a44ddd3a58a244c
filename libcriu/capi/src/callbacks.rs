//! The client's callbacks as calls of C functions.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::ptr;

use criu_client::{Callbacks, Notification};

use crate::ffi;
use crate::ffi::rpc::{CriuNotify, ProtobufCMessage, criu_notify__descriptor};
use crate::outcome::c_string;
use crate::state::Functions;

thread_local! {
    /// The terminal of the last `orphan-pts-master` notification of this thread, and whether the program asked for it:
    /// then it is the program's to close.
    static TERMINAL: Cell<(RawFd, bool)> = const { Cell::new((-1, false)) };
}

/// Calls the functions that were set when the operation began.
#[derive(Debug)]
pub(crate) struct Called {
    functions: Functions,
}

impl Called {
    pub(crate) fn new(functions: Functions) -> Self {
        keep_terminal(None);
        Called { functions }
    }
}

/// The terminal's descriptor, -1 when none came; from now on it is the caller's.
pub(crate) fn terminal() -> RawFd {
    let (fd, _) = TERMINAL.get();
    TERMINAL.set((fd, true));
    fd
}

fn keep_terminal(fd: Option<OwnedFd>) {
    let new = fd.map_or(-1, IntoRawFd::into_raw_fd);
    let (old, given) = TERMINAL.replace((new, false));
    if !given {
        ffi::close(old);
    }
}

fn user(address: usize) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address)
}

impl Callbacks for Called {
    fn wants_notifications(&self) -> bool {
        self.functions.notify.is_some() || self.functions.stage.is_some()
    }

    fn wants_progress(&self) -> bool {
        self.functions.progress.is_some()
    }

    fn log_level(&self) -> Option<i32> {
        self.functions.log.map(|(_, _, level)| level)
    }

    fn notify(&mut self, notification: Notification<'_>) -> bool {
        let mut fd = -1;
        if let Some(passed) = notification.fd {
            keep_terminal(Some(passed));
            fd = TERMINAL.get().0;
        }
        let stage = c_string(notification.stage);
        let pid = notification.pid;
        if let Some((call, address)) = self.functions.stage
            && call(stage.as_ptr(), pid.unwrap_or(0), fd, user(address)) != 0
        {
            return false;
        }
        let Some(call) = self.functions.notify else { return true };
        let mut script = stage.into_bytes_with_nul();
        let script: *mut c_char = script.as_mut_ptr().cast();
        let base = ProtobufCMessage {
            descriptor: &criu_notify__descriptor,
            n_unknown_fields: 0,
            unknown_fields: ptr::null_mut(),
        };
        let has_pid = c_int::from(pid.is_some());
        let mut message = CriuNotify { base, script, has_pid, pid: pid.unwrap_or(0) };
        call(script, &mut message) == 0
    }

    fn progress(&mut self, phase: &str, done: u64, total: u64) {
        if let Some((call, address)) = self.functions.progress {
            call(c_string(phase).as_ptr(), done, total, user(address));
        }
    }

    fn log(&mut self, level: i32, line: &str) {
        if let Some((call, address, wanted)) = self.functions.log
            && level <= wanted
        {
            call(level, c_string(line).as_ptr(), user(address));
        }
    }
}
