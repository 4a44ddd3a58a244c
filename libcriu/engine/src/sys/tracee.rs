//! Threads of restored tasks under ptrace: seized in the restorer, given their final registers, let go.

use std::io;

use criu_compel::ptrace::ThreadArea;
use libc::{c_void, user_regs_struct};

/// Note type of the extended processor state.
const NT_X86_XSTATE: i32 = 0x202;
const PTRACE_EVENT_STOP: i32 = 128;
/// PTRACE_O_SUSPEND_SECCOMP (Linux 4.3).
pub const SUSPEND_SECCOMP: i32 = 1 << 21;

/// A thread this process traces; by number only, for it never outlives the coordinator's work on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracee {
    pub tid: i32,
}

fn request(request: libc::c_uint, tid: i32, addr: usize, data: usize) -> io::Result<i64> {
    // SAFETY: every caller passes either numbers or the address of a live value of the size the request has.
    match unsafe { libc::ptrace(request, tid, addr as *mut c_void, data as *mut c_void) } {
        -1 => Err(io::Error::last_os_error()),
        n => Ok(n),
    }
}

/// Of a thread under construction.
fn options(suspend_seccomp: bool, clones: bool) -> usize {
    let more = if suspend_seccomp { SUSPEND_SECCOMP } else { 0 } | if clones { libc::PTRACE_O_TRACECLONE } else { 0 };
    (libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD | more) as usize
}

impl Tracee {
    /// Traces the thread without stopping it. Death of this process kills it. With `clones`, threads it creates are
    /// traced from their birth with the same options; see [`Tracee::adopt`].
    ///
    /// # References
    /// ptrace(2), PTRACE_SEIZE, PTRACE_O_EXITKILL (Linux 3.8), PTRACE_O_TRACECLONE.
    pub fn seize(tid: i32, suspend_seccomp: bool, clones: bool) -> io::Result<Tracee> {
        request(libc::PTRACE_SEIZE, tid, 0, options(suspend_seccomp, clones))?;
        Ok(Tracee { tid })
    }

    /// As `clones` of [`Tracee::seize`], for a thread that is traced already.
    pub fn trace_clones(self, suspend_seccomp: bool) -> io::Result<()> {
        self.interrupt()?;
        self.wait_stopped()?;
        request(libc::PTRACE_SETOPTIONS, self.tid, 0, options(suspend_seccomp, true))?;
        request(libc::PTRACE_CONT, self.tid, 0, 0).map(drop)
    }

    /// Waits until the thread creates another one, and lets both go on. Gives the new one.
    ///
    /// # Errors
    /// ESRCH when one of them ended instead.
    pub fn adopt(self) -> io::Result<Tracee> {
        while self.wait()? >> 16 != libc::PTRACE_EVENT_CLONE {
            request(libc::PTRACE_CONT, self.tid, 0, 0)?;
        }
        let mut tid: libc::c_ulong = 0;
        request(libc::PTRACE_GETEVENTMSG, self.tid, 0, &raw mut tid as usize)?;
        let new = Tracee { tid: tid as i32 };
        request(libc::PTRACE_CONT, self.tid, 0, 0)?;
        new.wait_stopped()?;
        request(libc::PTRACE_CONT, new.tid, 0, 0)?;
        Ok(new)
    }

    /// Asks the thread to stop; `wait_stopped` tells when it has.
    pub fn interrupt(self) -> io::Result<()> {
        request(libc::PTRACE_INTERRUPT, self.tid, 0, 0).map(drop)
    }

    /// Waits for the stop that `interrupt` asked for; signals that come first are put off by being sent again when the
    /// thread is let go.
    pub fn wait_stopped(self) -> io::Result<()> {
        loop {
            let status = self.wait()?;
            if libc::WSTOPSIG(status) == libc::SIGTRAP && status >> 16 == PTRACE_EVENT_STOP {
                return Ok(());
            }
            if status >> 16 == PTRACE_EVENT_STOP {
                // A group stop: somebody sent a stop signal meanwhile. The thread is stopped all the same.
                return Ok(());
            }
            request(libc::PTRACE_CONT, self.tid, 0, 0)?;
        }
    }

    /// Stops the process, whose leader this stopped thread is, as job control does, by the signal `signo`, or by SIGSTOP if that one
    /// does not stop it (as in an orphaned group). Signals that wait go on waiting. The other threads have to
    /// [join](Tracee::join_group_stop).
    pub fn enter_group_stop(self, mut signo: i32) -> io::Result<()> {
        const STOP: i32 = libc::SIGSTOP;
        let send = || {
            self.set_signal_mask(u64::MAX)?;
            // SAFETY: integers only.
            if unsafe { libc::kill(self.tid, STOP) } != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        };
        send()?;
        request(libc::PTRACE_CONT, self.tid, 0, 0)?;
        loop {
            let status = self.wait()?;
            match (status >> 16, libc::WSTOPSIG(status)) {
                (PTRACE_EVENT_STOP, libc::SIGTRAP) if signo != STOP => {
                    signo = STOP;
                    send()?;
                    request(libc::PTRACE_CONT, self.tid, 0, 0)?;
                }
                (PTRACE_EVENT_STOP, stop) if stop != libc::SIGTRAP => return Ok(()),
                (0, STOP) => {
                    if signo != STOP {
                        // It stops in any case, and for this signal if it does what it is for.
                        self.set_signal_mask(!(1 << (signo - 1)))?;
                        self.interrupt()?;
                    }
                    request(libc::PTRACE_CONT, self.tid, 0, signo as usize)?;
                }
                _ => {
                    request(libc::PTRACE_CONT, self.tid, 0, 0)?;
                }
            }
        }
    }

    /// Takes part in the stop of its process.
    pub fn join_group_stop(self) -> io::Result<()> {
        request(libc::PTRACE_CONT, self.tid, 0, 0)?;
        loop {
            let status = self.wait()?;
            if status >> 16 == PTRACE_EVENT_STOP && libc::WSTOPSIG(status) != libc::SIGTRAP {
                return Ok(());
            }
            request(libc::PTRACE_CONT, self.tid, 0, 0)?;
        }
    }

    /// Waits for the next stop of whatever kind.
    ///
    /// # Errors
    /// ESRCH when the thread ended instead.
    fn wait(self) -> io::Result<i32> {
        let mut status = 0;
        loop {
            // SAFETY: the status is a live local.
            let ret = unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL) };
            if ret == self.tid {
                return if libc::WIFSTOPPED(status) {
                    Ok(status)
                } else {
                    Err(io::Error::from_raw_os_error(libc::ESRCH))
                };
            }
            let e = io::Error::last_os_error();
            if e.kind() != io::ErrorKind::Interrupted {
                return Err(e);
            }
        }
    }

    /// Lets it go on from every stop there is now, without the signals.
    pub fn swallow_stops(self) {
        let mut status = 0;
        // SAFETY: the status is a live local.
        while unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL | libc::WNOHANG) } == self.tid
            && libc::WIFSTOPPED(status)
        {
            if request(libc::PTRACE_CONT, self.tid, 0, 0).is_err() {
                return;
            }
        }
    }

    /// Makes the stopped thread execute one system call by the `syscall` instruction at `instruction`, in three steps, so that
    /// many threads can take each of them side by side. It ends in an event stop, before it goes on in user space: so the call
    /// may unmap the instruction itself, and from there the kernel restarts a system call that registers set then describe
    /// as interrupted.
    pub fn begin_call(self, instruction: u64, nr: u64, args: [u64; 6]) -> io::Result<()> {
        let mut regs = self.registers()?;
        regs.rip = instruction;
        regs.rax = nr;
        regs.orig_rax = u64::MAX;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        self.set_registers(&regs)?;
        request(libc::PTRACE_SYSCALL, self.tid, 0, 0).map(drop)
    }

    /// The second step: from the call's entry to its end.
    pub fn enter_call(self) -> io::Result<()> {
        while libc::WSTOPSIG(self.wait()?) != libc::SIGTRAP | 0x80 {
            request(libc::PTRACE_SYSCALL, self.tid, 0, 0)?;
        }
        self.interrupt()?;
        request(libc::PTRACE_CONT, self.tid, 0, 0).map(drop)
    }

    /// The last step; what the call returned.
    pub fn end_call(self) -> io::Result<i64> {
        self.wait_stopped()?;
        Ok(self.registers()?.rax as i64)
    }

    /// All three steps.
    pub fn call(self, instruction: u64, nr: u64, args: [u64; 6]) -> io::Result<i64> {
        self.begin_call(instruction, nr, args)?;
        self.enter_call()?;
        self.end_call()
    }

    /// Takes a blocked signal that waits, if it does, out of the queue. What the thread has on its stack is lost.
    pub fn take_signal(self, instruction: u64, signo: i32) -> io::Result<()> {
        let at = self.registers()?.rsp & !7;
        // The set, and no time to wait.
        for (n, word) in [1 << (signo - 1), 0, 0].into_iter().enumerate() {
            request(libc::PTRACE_POKEDATA, self.tid, at as usize + 8 * n, word)?;
        }
        self.call(instruction, libc::SYS_rt_sigtimedwait as u64, [at, 0, at + 8, 8, 0, 0]).map(drop)
    }

    /// Sends its own process, or (`tid`) a thread of it, a signal with all that is to be known of it. What the thread has on its stack is lost.
    pub fn send(self, instruction: u64, pid: i32, tid: Option<i32>, info: &[u8; 128]) -> io::Result<()> {
        let at = (self.registers()?.rsp & !7) - info.len() as u64;
        let (words, _) = info.as_chunks::<8>();
        for (n, word) in words.iter().enumerate() {
            request(libc::PTRACE_POKEDATA, self.tid, at as usize + 8 * n, u64::from_le_bytes(*word) as usize)?;
        }
        let signo = u64::from(u32::from_le_bytes([info[0], info[1], info[2], info[3]]));
        let (pid, info) = (pid as u64, at);
        let ret = match tid {
            None => self.call(instruction, libc::SYS_rt_sigqueueinfo as u64, [pid, signo, info, 0, 0, 0])?,
            Some(tid) => {
                self.call(instruction, libc::SYS_rt_tgsigqueueinfo as u64, [pid, tid as u64, signo, info, 0, 0])?
            }
        };
        if ret < 0 { Err(io::Error::from_raw_os_error(-ret as i32)) } else { Ok(()) }
    }

    /// Makes the stopped thread exit by the `syscall` instruction at `instruction`, and lets it go when it is past its last
    /// instruction, with the signal mask `mask`.
    ///
    /// # References
    /// ptrace(2), PTRACE_O_TRACEEXIT.
    pub fn exit_at(self, instruction: u64, status: i32, mask: u64) -> io::Result<()> {
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACEEXIT | SUSPEND_SECCOMP;
        // Without the right to suspend filters there are none.
        request(libc::PTRACE_SETOPTIONS, self.tid, 0, options as usize)
            .or_else(|_| request(libc::PTRACE_SETOPTIONS, self.tid, 0, (options & !SUSPEND_SECCOMP) as usize))?;
        let mut regs = self.registers()?;
        (regs.rip, regs.rax, regs.rdi, regs.orig_rax) = (instruction, libc::SYS_exit as u64, status as u64, u64::MAX);
        self.set_registers(&regs)?;
        request(libc::PTRACE_CONT, self.tid, 0, 0)?;
        while self.wait()? >> 16 != libc::PTRACE_EVENT_EXIT {
            request(libc::PTRACE_CONT, self.tid, 0, 0)?;
        }
        // Not before: it must not take a signal that waits for the process.
        self.set_signal_mask(mask)?;
        self.detach()
    }

    pub fn registers(self) -> io::Result<user_regs_struct> {
        // SAFETY: all zeroes is a valid register set.
        let mut regs: user_regs_struct = unsafe { std::mem::zeroed() };
        request(libc::PTRACE_GETREGS, self.tid, 0, &raw mut regs as usize)?;
        Ok(regs)
    }

    /// Sets one of its segments (PTRACE_SET_THREAD_AREA).
    ///
    /// # Errors
    /// EINVAL for one that set_thread_area(2) would not take.
    pub fn set_thread_area(self, area: &ThreadArea) -> io::Result<()> {
        const PTRACE_SET_THREAD_AREA: libc::c_uint = 26;
        request(PTRACE_SET_THREAD_AREA, self.tid, area[0] as usize, area.as_ptr() as usize).map(drop)
    }

    pub fn set_registers(self, regs: &user_regs_struct) -> io::Result<()> {
        request(libc::PTRACE_SETREGS, self.tid, 0, &raw const *regs as usize).map(drop)
    }

    /// The extended processor state, in the form `set_xstate` takes.
    pub fn xstate(self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0_u8; 16384];
        let mut vec = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        request(libc::PTRACE_GETREGSET, self.tid, NT_X86_XSTATE as usize, &raw mut vec as usize)?;
        bytes.truncate(vec.iov_len);
        Ok(bytes)
    }

    pub fn set_xstate(self, bytes: &[u8]) -> io::Result<()> {
        let vec = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        request(libc::PTRACE_SETREGSET, self.tid, NT_X86_XSTATE as usize, &raw const vec as usize).map(drop)
    }

    pub fn set_signal_mask(self, mask: u64) -> io::Result<()> {
        request(libc::PTRACE_SETSIGMASK, self.tid, 8, &raw const mask as usize).map(drop)
    }

    /// Lets the thread live when this process dies. Filters stay suspended until it is detached.
    pub fn lift_exit_kill(self, suspend_seccomp: bool) -> io::Result<()> {
        let options = if suspend_seccomp { SUSPEND_SECCOMP } else { 0 };
        request(libc::PTRACE_SETOPTIONS, self.tid, 0, options as usize).map(drop)
    }

    /// Lets the thread go on, untraced.
    pub fn detach(self) -> io::Result<()> {
        request(libc::PTRACE_DETACH, self.tid, 0, 0).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, setpgid, setsid, waitpid};

    use super::*;
    use crate::sys::trial::{fork, fork_sleeper};

    /// Whose group is orphaned is not stopped by SIGTSTP.
    #[test]
    fn stops_by_a_signal_that_stops() {
        let stop = |alone: bool| {
            let child = fork_sleeper(|| if alone { setsid().map(|_| ()) } else { setpgid(None, None) }.unwrap());
            let tracee = Tracee::seize(child, false, false).unwrap();
            tracee.interrupt().unwrap();
            tracee.wait_stopped().unwrap();
            tracee.enter_group_stop(libc::SIGTSTP).unwrap();
            tracee.detach().unwrap();
            let pid = Pid::from_raw(child).unwrap();
            let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
            kill_process(pid, Signal::KILL).unwrap();
            status.stopping_signal()
        };
        let test = fork(|| {
            assert_eq!(stop(false), Some(libc::SIGTSTP));
            assert_eq!(stop(true), Some(libc::SIGSTOP));
        });
        test.finish().unwrap();
    }
}
