//! Calls about processes: waiting for a worker, killing it, letting it trace us, the environment it gets.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Variables that would load foreign code into the worker.
const NOT_FOR_THE_WORKER: [&[u8]; 2] = [b"LD_PRELOAD=", b"LD_AUDIT="];

/// A copy of this process's environment for the worker, which is this library and nothing preloaded.
pub(crate) fn environment() -> Vec<CString> {
    let mut all = Vec::new();
    // SAFETY: `environ` is NULL or a NULL-terminated array of strings. A host that changes its environment in another
    // thread at this moment races with it as it would with posix_spawn(environ).
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let entry = CStr::from_ptr(*at);
            if !NOT_FOR_THE_WORKER.iter().any(|p| entry.to_bytes().starts_with(p)) {
                all.push(entry.to_owned());
            }
            at = at.add(1);
        }
    }
    all
}

/// Collects `pid` if it has ended: `Some(status)` once it is gone (also when somebody else collected it).
pub(crate) fn reap(pid: i32) -> Option<Option<i32>> {
    wait(pid, libc::WNOHANG)
}

/// Collects `pid`, waiting for its end.
pub(crate) fn wait_blocking(pid: i32) {
    wait(pid, 0);
}

fn wait(pid: i32, flags: i32) -> Option<Option<i32>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call. __WALL also finds children that send no signal at their end.
        let r = unsafe { libc::waitpid(pid, &mut status, flags | libc::__WALL) };
        match r {
            0 => return None,
            r if r == pid => return Some(Some(status)),
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // ECHILD: collected by a wait(-1) of the host, by the kernel (SIGCHLD ignored), or never ours.
            _ => return Some(None),
        }
    }
}

/// Whether `pid` is a child of this process, ended or not.
pub(crate) fn is_child(pid: i32) -> bool {
    // SAFETY: an all-zero siginfo_t is valid, and it outlives the call; WNOWAIT leaves the child as it is.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, flags) == 0
    }
}

/// Whether the process is gone, or waits to be collected.
pub(crate) fn has_ended(pid: i32) -> bool {
    // SAFETY: an all-zero siginfo_t is valid, and it outlives the call; WNOWAIT leaves the child as it is. Signal 0 is none.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        if libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, flags) == 0 {
            return info.si_pid() == pid;
        }
        if libc::kill(pid, 0) == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) {
            return true;
        }
    }
    waits_for_another(pid)
}

/// Whether the process is a zombie that waits to be collected by somebody else, maybe for ever.
fn waits_for_another(pid: i32) -> bool {
    let Some(id) = rustix::process::Pid::from_raw(pid) else { return false };
    // Readable as soon as the last thread has ended. Kernels before 5.3 cannot tell.
    let Ok(fd) = rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty()) else { return false };
    let mut ends = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut ends, Some(&rustix::event::Timespec::default())).is_ok_and(|n| n > 0)
}

/// SIGKILL.
pub(crate) fn kill(pid: i32) {
    if pid > 0 {
        // SAFETY: touches no memory.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Lets `pid` trace this process where Yama asks for a declaration; `None` takes it back.
pub(crate) fn allow_tracer(pid: Option<i32>) {
    // SAFETY: touches no memory. EINVAL (no Yama) means that nothing had to be declared.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, pid.unwrap_or(0) as libc::c_ulong, 0, 0, 0) };
}

/// A descriptor whose owner keeps it open while it is used here. A negative number becomes one that is never open.
pub(crate) fn lent<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: not -1. The owner is the caller of the library, who lent it for the operation, or a registered connection,
    // which is closed only after it was taken off the register (see `cancel`). Were it closed, the call that uses it
    // would fail; no memory depends on it.
    unsafe { BorrowedFd::borrow_raw(if fd < 0 { RawFd::MAX } else { fd }) }
}

/// Forks a worker that runs `serve` on `connection` with default signal dispositions and exits with its result.
pub(crate) fn fork_worker(connection: OwnedFd, new_session: bool, serve: fn(OwnedFd) -> i32) -> io::Result<i32> {
    // SAFETY: glibc makes malloc usable in the child of a fork, also of a threaded program; nothing else of the host's is
    // used there. The child ends by _exit, so no handler or destructor of the host's runs in it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            super::spawn::become_worker(&connection);
            if new_session {
                let _ = rustix::process::setsid();
            }
            let code = std::panic::catch_unwind(|| serve(connection)).unwrap_or(1);
            // SAFETY: does not return.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(pid),
    }
}
