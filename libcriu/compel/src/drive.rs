//! Steps of single threads that are stopped by ptrace: one system call, one event stop. For a tracer that looks after the
//! registers itself: what it leaves behind in a thread when it dies is its own business (PTRACE_O_EXITKILL).

use crate::arch;
use crate::error::{Error, Kind, Result};
use crate::patience;
use crate::ptrace::{self, Regs, Stop};

/// Waits until the thread stops as PTRACE_INTERRUPT has asked it to. A signal that was on its way is delivered first: the thread
/// then stops at its handler, as if the signal had come earlier. Returns [`Stop::Event`] or [`Stop::Group`].
///
/// # Errors
/// [`Kind::Gone`] when it ended, [`Kind::InVfork`], [`Kind::Unresponsive`].
pub fn wait_interrupted(pid: i32, tid: i32) -> Result<Stop> {
    loop {
        let signal = match patience::wait(pid, tid)? {
            stop @ (Stop::Event | Stop::Group(_)) => return Ok(stop),
            Stop::Signal(signal) => signal,
            Stop::Syscall | Stop::Other(_) => 0,
            Stop::Exited(_) | Stop::Killed(_) => return Err(Error::new(tid, Kind::Gone, "stopping")),
        };
        ptrace::interrupt(tid)?;
        ptrace::cont(tid, signal)?;
    }
}

/// Interrupts all these threads, then waits for all.
///
/// # Errors
/// Those of [`wait_interrupted`], of the first thread that fails.
pub fn interrupt_all(pid: i32, tids: &[i32]) -> Result<()> {
    for &tid in tids {
        ptrace::interrupt(tid)?;
    }
    for &tid in tids {
        wait_interrupted(pid, tid)?;
    }
    Ok(())
}

/// From any stop to an event stop without an instruction in between: only from there does the kernel restart a system call
/// that registers set now describe as interrupted.
///
/// # Errors
/// Those of [`wait_interrupted`].
pub fn to_event_stop(pid: i32, tid: i32) -> Result<Stop> {
    ptrace::interrupt(tid)?;
    ptrace::cont(tid, 0)?;
    wait_interrupted(pid, tid)
}

/// Has the stopped thread make one system call by the `syscall` instruction at `address` ([`crate::syscall_instruction`]). Other
/// registers are taken from `regs`. It then stands at the exit of the call, with registers to be set by the caller. Signals should
/// be blocked.
///
/// # Errors
/// When the call was not made; what the call says is the result.
pub fn syscall_at(pid: i32, tid: i32, address: u64, regs: &Regs, nr: i64, args: [u64; 6]) -> Result<i64> {
    ptrace::set_regs(tid, &arch::call_regs(regs, address, nr, args))?;
    run_call(pid, tid, "system call in the task")
}

/// Runs the thread to the end of its next system call and returns what that gave.
pub(crate) fn run_call(pid: i32, tid: i32, what: &'static str) -> Result<i64> {
    next_syscall_stop(pid, tid, what)?;
    next_syscall_stop(pid, tid, what)?;
    Ok(ptrace::regs(tid)?.rax as i64)
}

pub(crate) fn next_syscall_stop(pid: i32, tid: i32, what: &'static str) -> Result<()> {
    let mut signal = 0;
    loop {
        ptrace::cont_to_syscall(tid, signal)?;
        signal = match patience::wait(pid, tid)? {
            Stop::Syscall => return Ok(()),
            Stop::Event | Stop::Group(_) => 0,
            // All that can be blocked is: it goes on waiting, and SIGSTOP stops those who look.
            Stop::Signal(signal) if signal != libc::SIGSEGV => signal,
            Stop::Signal(_) | Stop::Other(_) => return Err(Error::new(tid, Kind::Unexpected, what)),
            Stop::Exited(_) | Stop::Killed(_) => return Err(Error::new(tid, Kind::Gone, what)),
        };
    }
}
