//! A copy of an infected process, made by clone: its memory stays as it was while the process itself runs on.
//!
//! The copy never runs code of the process: it is traced from its birth, gives up the table of descriptors and is held before its
//! exit. No signal tells of its end, wait(2) without `__WALL` or `__WCLONE` does not see it. It dies with its tracer. The
//! process is its parent all the same: in the end its entry has to be taken out of the table of processes by that parent
//! ([`Copy::end`]).

use criu_pie::abi::parasite::ENTRY_COPY;

use crate::affinity::Pin;
use crate::arch;
use crate::drive;
use crate::error::{Error, Kind, Result};
use crate::infect::Infected;
use crate::patience;
use crate::ptrace::{self, SeizeOptions, Stop};
use crate::seize::{Resume, SeizedTask};

/// A stopped copy of a process. Dropping it ends it, but leaves its entry in the table of processes to the parent.
#[derive(Debug)]
pub struct Copy {
    /// Of the copy, where the engine is.
    pid: i32,
    /// Of the copy, as its parent sees it.
    inner_pid: i32,
    /// The process it is a copy of.
    of: i32,
}

impl Infected {
    /// Copies the process. Its memory is copied on write, areas with MADV_DONTFORK or MADV_WIPEONFORK are not.
    ///
    /// # Errors
    /// [`Kind::Remote`] when the process may not be cloned (RLIMIT_NPROC, a pids cgroup, no memory); the infection goes on as
    /// before. With any other error the task is to be dropped.
    pub fn copy(&mut self) -> Result<Copy> {
        let _pin = Pin::here();
        let (pid, tid) = (self.hold.task.pid, self.hold.tid);
        let options = SeizeOptions { exit_kill: false, suspend_seccomp: self.hold.task.seccomp_suspended };
        drive::interrupt_all(pid, &[tid])?;
        ptrace::set_options(tid, options, true)?;
        let area = self.area()?;
        ptrace::set_regs(tid, &arch::jump_regs(&ptrace::regs(tid)?, area.base + ENTRY_COPY, area.control))?;
        drive::next_syscall_stop(pid, tid, "clone in the task")?;
        let born = exit_of_clone(pid, tid)?;
        let inner_pid = ptrace::regs(tid)?.rax as i64;
        ptrace::set_options(tid, options, false)?;
        let made = match born {
            Some(copy) => {
                let copy = Copy { pid: copy, inner_pid: inner_pid as i32, of: pid };
                copy.close_descriptors(options).and_then(|()| self.hold.show_room_as_it_was(copy.pid)).map(|()| copy)
            }
            None => Err(Error::remote(tid, "clone in the task", inner_pid)),
        };
        ptrace::cont(tid, 0)?;
        if made.is_err() && born.is_some() {
            self.forget(inner_pid as i32)?;
        }
        made
    }

    /// Takes an ended copy out of the table of processes.
    fn forget(&mut self, copy: i32) -> Result<()> {
        let flags = (libc::__WALL | libc::WNOHANG) as u64;
        let got = self.syscall(libc::SYS_wait4, [copy as u64, 0, flags, 0, 0, 0])?;
        if got == i64::from(copy) { Ok(()) } else { Err(Error::remote(self.hold.tid, "wait4 in the task", got)) }
    }
}

/// From the entry of clone to its exit; the copy, unless there is none.
fn exit_of_clone(pid: i32, tid: i32) -> Result<Option<i32>> {
    let mut born = None;
    let mut signal = 0;
    loop {
        ptrace::cont_to_syscall(tid, signal)?;
        signal = match patience::wait(pid, tid)? {
            Stop::Syscall => return Ok(born),
            Stop::Other(_) => {
                born = i32::try_from(ptrace::event_message(tid)?).ok();
                0
            }
            Stop::Event | Stop::Group(_) => 0,
            Stop::Signal(signal) => signal,
            Stop::Exited(_) | Stop::Killed(_) => return Err(Error::new(tid, Kind::Gone, "clone in the task")),
        };
    }
}

impl Copy {
    /// The copy, whose memory /proc/PID/mem shows.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    fn close_descriptors(&self, options: SeizeOptions) -> Result<()> {
        drive::wait_interrupted(self.pid, self.pid)?;
        ptrace::set_options(self.pid, SeizeOptions { exit_kill: true, ..options }, false)?;
        // Its return from clone may be the first stop.
        let closed = "close_range in the copy";
        for _ in 0..3 {
            drive::next_syscall_stop(self.pid, self.pid, closed)?;
            let regs = ptrace::regs(self.pid)?;
            if regs.orig_rax == libc::SYS_close_range as u64 && regs.rax as i64 != -i64::from(libc::ENOSYS) {
                return if regs.rax == 0 { Ok(()) } else { Err(Error::remote(self.pid, closed, regs.rax as i64)) };
            }
        }
        Err(Error::new(self.pid, Kind::Unexpected, closed))
    }

    /// Ends the copy and has its parent, stopped for it once more, take its entry out of the table of processes.
    ///
    /// # Errors
    /// Those of seizing, infecting and curing the parent; the copy is ended in any case. A parent that is gone is none.
    pub fn end(self) -> Result<()> {
        let (parent, inner_pid) = (self.of, self.inner_pid);
        let seized = match SeizedTask::seize(parent) {
            Err(e) if matches!(e.kind, Kind::Gone | Kind::Zombie) => return Ok(()),
            other => other?,
        };
        // Ended while nobody there can wait for it.
        drop(self);
        let mut infected = seized.infect()?;
        let forgotten = infected.forget(inner_pid);
        infected.cure()?.release(Resume::AsBefore)?;
        forgotten
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // SAFETY: integers only; the copy is this thread's tracee, so that its number is nobody else's.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        while !matches!(patience::wait(self.pid, self.pid), Ok(Stop::Exited(_) | Stop::Killed(_)) | Err(_)) {}
    }
}
