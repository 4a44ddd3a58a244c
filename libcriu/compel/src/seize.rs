//! Stopping every thread of a process, in two steps so that many processes can be stopped at once: [`Seizing::start`]
//! tells all threads to stop, [`Seizing::finish`] waits for them and looks for new ones until there are none.
//!
//! If the tracer dies at any time, the kernel detaches the threads, and they run on (or stay stopped by job control) as if
//! nothing had been.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::arch;
use crate::drive::wait_interrupted;
use crate::error::{Error, Kind, Result};
use crate::patience;
use crate::ptrace::{self, Regs, SeizeOptions, Stop};
use crate::status::{self, ThreadStatus};

/// One stopped thread.
#[derive(Clone, Debug)]
pub struct SeizedThread {
    pub tid: i32,
    /// `rax` and `orig_rax` show an interrupted system call that is going to be restarted: see [`crate::arch::restart_of`].
    pub regs: Regs,
    /// Blocked signals, bit 0 for signal 1.
    pub sigmask: u64,
}

/// What the threads do after [`SeizedTask::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// As they did before: a task stopped by job control stays stopped.
    AsBefore,
    /// All stop (SIGSTOP).
    Stopped,
}

/// A process whose threads have been told to stop.
#[derive(Debug)]
pub struct Seizing {
    pid: i32,
    pidfd: OwnedFd,
    threads: Vec<Told>,
    stopped_by: Option<i32>,
    leader_is_dead: bool,
    suspend_seccomp: bool,
    not_send: PhantomData<*const ()>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    tid: i32,
    stopped: bool,
}

/// A process all of whose threads are stopped. Dropping it releases them, as a last resort; [`SeizedTask::release`] is the
/// normal way and tells of errors. It must stay in the thread that made it.
#[derive(Debug)]
pub struct SeizedTask {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) threads: Vec<SeizedThread>,
    /// Stopped like the others.
    workers: Vec<i32>,
    stopped_by: Option<i32>,
    leader_is_dead: bool,
    pub(crate) seccomp_suspended: bool,
    released: bool,
    not_send: PhantomData<*const ()>,
}

/// pidfd_open(2) (Linux 5.3).
fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(Error::last(pid, "pidfd_open"));
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// What this thread may do as a tracer.
#[derive(Clone, Copy, Debug)]
pub struct TracerRights {
    /// PTRACE_O_SUSPEND_SECCOMP is open to it.
    suspend_seccomp: bool,
}

impl TracerRights {
    /// Those that the calling thread has now.
    pub fn own() -> TracerRights {
        const CAP_SYS_ADMIN: u32 = 21;
        const VERSION_3: u32 = 0x2008_0522;
        let header = [VERSION_3, 0];
        // Effective, permitted, inheritable: the lower halves, then the upper ones.
        let mut sets = [0_u32; 6];
        // SAFETY: header and sets have the sizes of version 3.
        let known = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) } == 0;
        // SAFETY: no pointers; a thread under strict seccomp could not be here.
        let filtered = unsafe { libc::prctl(libc::PR_GET_SECCOMP) } > 0;
        TracerRights { suspend_seccomp: known && sets[0] >> CAP_SYS_ADMIN & 1 == 1 && !filtered }
    }
}

impl Seizing {
    /// Seizes and interrupts every thread that there is now.
    ///
    /// # Errors
    /// [`Kind::Gone`], [`Kind::Zombie`], [`Kind::Traced`], [`Kind::NotPermitted`]; threads seized so far are released.
    pub fn start(pid: i32, rights: TracerRights) -> Result<Seizing> {
        let mut this = Seizing {
            pid,
            pidfd: pidfd_open(pid)?,
            threads: Vec::new(),
            stopped_by: None,
            leader_is_dead: false,
            suspend_seccomp: rights.suspend_seccomp,
            not_send: PhantomData,
        };
        this.tell_new_threads()?;
        Ok(this)
    }

    /// Tells threads that are not known yet; returns how many.
    fn tell_new_threads(&mut self) -> Result<usize> {
        let before = self.threads.len();
        if before + usize::from(self.leader_is_dead) == status::thread_count(self.pid) && before > 0 {
            return Ok(0);
        }
        let tids = status::threads(self.pid).map_err(|e| Error::os(self.pid, "reading /proc/PID/task", e))?;
        let known: std::collections::HashSet<i32> = self.threads.iter().map(|t| t.tid).collect();
        for tid in tids.into_iter().filter(|tid| !known.contains(tid)) {
            match self.tell(tid) {
                Ok(()) => self.threads.push(Told { tid, stopped: false }),
                Err(e) if e.kind == Kind::Zombie && tid == self.pid => self.leader_is_dead = true,
                Err(e) if matches!(e.kind, Kind::Gone | Kind::Zombie) => {}
                Err(e) => return Err(e),
            }
        }
        if self.threads.is_empty() {
            let kind = if self.leader_is_dead { Kind::Zombie } else { Kind::Gone };
            return Err(Error::new(self.pid, kind, "seizing"));
        }
        Ok(self.threads.len() - before)
    }

    /// Seccomp stays in force as long as the thread runs: it is suspended when it has stopped.
    fn tell(&self, tid: i32) -> Result<()> {
        match ptrace::seize(tid, SeizeOptions::default()) {
            Ok(()) => {}
            Err(e) if e.errno() == libc::EPERM => {
                let now = ThreadStatus::read(self.pid, tid).ok_or(Error::new(tid, Kind::Gone, "PTRACE_SEIZE"))?;
                if now.is_dead() {
                    return Err(Error::new(tid, Kind::Zombie, "PTRACE_SEIZE"));
                }
                // SAFETY: the call has no arguments.
                let own = unsafe { libc::gettid() };
                if now.tracer != 0 && now.tracer != own {
                    return Err(Error::new(tid, Kind::Traced { tracer: now.tracer }, "PTRACE_SEIZE"));
                }
                if now.tracer == 0 {
                    return Err(Error::new(tid, Kind::NotPermitted, "PTRACE_SEIZE"));
                }
            }
            Err(e) => return Err(e),
        }
        ptrace::interrupt(tid)
    }

    /// Waits until every thread is stopped, those included that were created meanwhile.
    ///
    /// # Errors
    /// [`Kind::InVfork`] (let the tree run on for a moment, then try again), [`Kind::Unresponsive`], [`Kind::Gone`]; all
    /// threads are released.
    pub fn finish(mut self) -> Result<SeizedTask> {
        loop {
            for at in 0..self.threads.len() {
                if !self.threads[at].stopped {
                    self.wait_for(at)?;
                }
            }
            self.threads.retain(|t| t.tid != 0);
            if self.tell_new_threads()? == 0 {
                break;
            }
        }
        let (mut threads, mut workers) = (Vec::with_capacity(self.threads.len()), Vec::new());
        for &Told { tid, .. } in &self.threads {
            match look_at(self.pid, tid)? {
                Some(thread) => threads.push(thread),
                None => workers.push(tid),
            }
        }
        self.threads.clear();
        let pidfd = self.pidfd.try_clone().map_err(|e| Error::os(self.pid, "dup of the pidfd", e))?;
        Ok(SeizedTask {
            pid: self.pid,
            pidfd,
            threads,
            workers,
            stopped_by: self.stopped_by,
            leader_is_dead: self.leader_is_dead,
            seccomp_suspended: self.suspend_seccomp,
            released: false,
            not_send: PhantomData,
        })
    }

    /// A thread that ended meanwhile gets the tid 0.
    fn wait_for(&mut self, at: usize) -> Result<()> {
        let tid = self.threads[at].tid;
        match wait_interrupted(self.pid, tid) {
            Ok(stop) => {
                self.threads[at].stopped = true;
                if self.suspend_seccomp {
                    let suspended = SeizeOptions { exit_kill: false, suspend_seccomp: true };
                    match ptrace::set_options(tid, suspended, false) {
                        Err(e) if e.errno() == libc::EPERM => self.suspend_seccomp = false,
                        // One that is killed meanwhile is found out where it is looked at.
                        _ => {}
                    }
                }
                if let Stop::Group(signal) = stop {
                    self.stopped_by = Some(signal);
                }
                Ok(())
            }
            Err(e) if e.kind == Kind::Gone => {
                self.threads[at].tid = 0;
                Ok(())
            }
            Err(e) => Err(e),
        }
    }
}

/// `None`: it is a worker of the kernel's.
fn look_at(pid: i32, tid: i32) -> Result<Option<SeizedThread>> {
    let mut regs = ptrace::regs(tid)?;
    if arch::is_nowhere(&regs) && status::is_io_worker(pid, tid) {
        return Ok(None);
    }
    if arch::restart_instead_of_eintr(&mut regs) {
        ptrace::set_regs(tid, &regs)?;
    }
    Ok(Some(SeizedThread { tid, regs, sigmask: ptrace::sigmask(tid)? }))
}

impl Drop for Seizing {
    fn drop(&mut self) {
        for &Told { tid, stopped } in self.threads.iter().filter(|t| t.tid != 0) {
            // One that cannot stop now stays attached until it can or this process ends.
            if stopped || matches!(ptrace::try_wait(tid, false), Ok(Some(_))) || patience::wait(self.pid, tid).is_ok() {
                let _ = ptrace::detach(tid);
            }
        }
    }
}

impl SeizedTask {
    /// Stops every thread of the process: [`Seizing::start`] and [`Seizing::finish`] in one.
    ///
    /// # Errors
    /// Those of both.
    pub fn seize(pid: i32) -> Result<SeizedTask> {
        Seizing::start(pid, TracerRights::own())?.finish()
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Every living thread, the leader first unless it is dead.
    pub fn threads(&self) -> &[SeizedThread] {
        &self.threads
    }

    /// Threads that the kernel has made for io_uring: they run no code of the program's, and are among no [`SeizedTask::threads`].
    pub fn workers(&self) -> &[i32] {
        &self.workers
    }

    /// The signal that had stopped the process before it was seized.
    pub fn stopped_by(&self) -> Option<i32> {
        self.stopped_by
    }

    /// The thread-group leader has exited, other threads live on.
    pub fn leader_is_dead(&self) -> bool {
        self.leader_is_dead
    }

    /// The extended state of the thread `at` in [`SeizedTask::threads`].
    ///
    /// # Errors
    /// Those of [`ptrace::xstate`].
    pub fn xstate(&self, at: usize) -> Result<Vec<u8>> {
        let thread = self.threads.get(at).ok_or(Error::new(self.pid, Kind::Gone, "PTRACE_GETREGSET"))?;
        ptrace::xstate(thread.tid)
    }

    /// Lets the threads go.
    ///
    /// # Errors
    /// Of the first thread that could not be detached; the others are.
    pub fn release(mut self, resume: Resume) -> Result<()> {
        let signalled = match resume {
            Resume::AsBefore => Ok(()),
            Resume::Stopped => self.signal(libc::SIGSTOP),
        };
        self.detach_all().and(signalled)
    }

    /// Kills the process and waits until every thread is dead. The parent gets to know.
    ///
    /// # Errors
    /// [`Kind::Unresponsive`] when it does not die.
    pub fn kill(mut self) -> Result<()> {
        self.released = true;
        self.signal(libc::SIGKILL).or_else(|_| self.signal(libc::SIGKILL))?;
        // The leader's end is reported when all others have been waited for.
        for tid in self.workers.iter().copied().chain(self.threads.iter().rev().map(|t| t.tid)) {
            loop {
                match patience::wait(self.pid, tid) {
                    Ok(Stop::Exited(_) | Stop::Killed(_)) => break,
                    Ok(_) => {}
                    Err(e) if e.kind == Kind::Gone => break,
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    fn signal(&self, signal: i32) -> Result<()> {
        use std::os::fd::AsRawFd;
        let (fd, none) = (self.pidfd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: no siginfo is passed, the rest are integers.
        let ret = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) };
        if ret < 0 { Err(Error::last(self.pid, "pidfd_send_signal")) } else { Ok(()) }
    }

    fn detach_all(&mut self) -> Result<()> {
        self.released = true;
        let mut first = Ok(());
        for tid in self.threads.iter().map(|t| t.tid).chain(self.workers.iter().copied()) {
            match detach(self.pid, tid) {
                Err(e) if e.kind != Kind::Gone && first.is_ok() => first = Err(e),
                _ => {}
            }
        }
        first
    }
}

/// Detaches a thread, stopped or not.
fn detach(pid: i32, tid: i32) -> Result<()> {
    match ptrace::detach(tid) {
        Err(e) if e.kind == Kind::Gone => {
            ptrace::interrupt(tid)?;
            wait_interrupted(pid, tid)?;
            ptrace::detach(tid)
        }
        other => other,
    }
}

impl Drop for SeizedTask {
    fn drop(&mut self) {
        if !self.released
            && let Err(e) = self.detach_all()
        {
            log::warn!("{e}");
        }
    }
}
