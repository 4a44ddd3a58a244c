//! Processes for tests: forked, reporting what failed in them, gone when the test is.

use std::cell::Cell;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Once, PoisonError, RwLock, RwLockWriteGuard};

/// A forked process. Killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    pub pid: i32,
    report: std::fs::File,
    reaped: bool,
}

/// Where a trial process writes what failed; high enough to be in nobody's way, kept across an install.
pub(crate) const REPORT_FD: RawFd = 901;

/// Whether this process is a trial's.
static IN_TRIAL: AtomicBool = AtomicBool::new(false);

/// What a panic prints is under a lock of the standard library, and another thread may have panicked while a trial was
/// forked: the lock would be held for ever in the trial. Panics of trials are told to who waits for them, and print nothing.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IN_TRIAL.load(Relaxed) {
                others(panic);
            }
        }));
    });
}

/// Taken while a trial is forked; for writing by who has descriptors that no trial may inherit.
static FORKING: RwLock<()> = RwLock::new(());

/// While this exists no other thread forks a trial.
#[derive(Debug)]
pub(crate) struct Alone {
    _forking: Option<RwLockWriteGuard<'static, ()>>,
}

/// For a thread that is about to have descriptors of another process: a trial that inherits one keeps what it refers to, a port
/// say, when that process is gone. In a trial there is no other thread.
pub(crate) fn alone() -> Alone {
    let others = || FORKING.write().unwrap_or_else(PoisonError::into_inner);
    ALONE.set(true);
    Alone { _forking: (!IN_TRIAL.load(Relaxed)).then(others) }
}

impl Drop for Alone {
    fn drop(&mut self) {
        ALONE.set(false);
    }
}

thread_local! {
    /// Whether this thread is [`alone`].
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Forks a process that runs `f`; a panic in it becomes the text of `Child::finish`.
pub(crate) fn fork(f: impl FnOnce()) -> Child {
    quiet_panics();
    let parent = std::process::id() as i32;
    let (out, into) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe2");
    let may_fork = || FORKING.read().unwrap_or_else(PoisonError::into_inner);
    let forking = (!ALONE.get() && !IN_TRIAL.load(Relaxed)).then(may_fork);
    // SAFETY: the child only runs `f` and exits without returning; it uses no lock of other threads but the allocator's,
    // which the C library makes usable after fork.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            IN_TRIAL.store(true, Relaxed);
            drop(forking);
            // SAFETY: integers only.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() != parent {
                    libc::_exit(0);
                }
                libc::dup3(into.as_raw_fd(), REPORT_FD, libc::O_CLOEXEC);
            }
            std::mem::forget((out, into));
            let caught = std::sync::Mutex::new(String::new());
            let result = catch_unwind(AssertUnwindSafe(f));
            if let Err(panic) = &result {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or(panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or("panic".into());
                *caught.lock().expect("own lock") = text.clone();
                // SAFETY: the descriptor was made above, and installs keep it.
                let mut report = unsafe { std::fs::File::from_raw_fd(REPORT_FD) };
                let _ = report.write_all(text.as_bytes());
                std::mem::forget(report);
            }
            // SAFETY: leaves without running anything of the parent's.
            unsafe { libc::_exit(i32::from(result.is_err())) }
        }
        pid => Child { pid, report: std::fs::File::from(out), reaped: false },
    }
}

impl Child {
    /// Waits for the end; the error is what the process said.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        let status = self.reap();
        let mut text = String::new();
        let _ = std::io::Read::read_to_string(&mut self.report, &mut text);
        if status == 0 { Ok(()) } else { Err(format!("status {status:#x}: {text}")) }
    }

    pub(crate) fn kill(&self) {
        // SAFETY: integers only; the process is our own unreaped child.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    fn reap(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: writes one int.
        unsafe { libc::waitpid(self.pid, &mut status, 0) };
        self.reaped = true;
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            self.reap();
        }
    }
}

/// Gives a trial mounts of its own.
pub(crate) fn own_mounts() {
    use rustix::mount::{MountPropagationFlags, mount_change};
    // SAFETY: a trial has one thread; nothing but paths is looked up differently afterwards.
    assert!(unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0);
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).expect("private mounts");
}

/// Gives a trial a /dev/pts of its own, where every number of a pseudo terminal is free.
pub(crate) fn own_terminals() {
    own_mounts();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("devpts", "/dev/pts", "devpts", flags, Some(c"ptmxmode=666")).expect("mount /dev/pts");
}

/// Puts a descriptor at a number of one's choice.
pub(crate) fn put(fd: OwnedFd, number: RawFd) {
    // SAFETY: integers only; trial processes own all their numbers.
    assert!(unsafe { libc::dup2(fd.as_raw_fd(), number) } == number);
}

/// Forks a process within a trial that runs `f` and then only sleeps; answers when `f` has run.
pub(crate) fn fork_sleeper(f: impl FnOnce()) -> i32 {
    let parent = std::process::id() as i32;
    let (ready, done) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe2");
    // SAFETY: as in `fork`.
    match unsafe { libc::fork() } {
        -1 => panic!("fork"),
        0 => {
            // SAFETY: integers only. The parent may be gone before the signal is asked for.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() != parent {
                    libc::_exit(0);
                }
            }
            f();
            drop((ready, done));
            loop {
                // SAFETY: no arguments.
                unsafe { libc::pause() };
            }
        }
        pid => {
            drop(done);
            let _ = rustix::io::read(&ready, &mut [0u8]);
            pid
        }
    }
}

/// Forks a process that is nobody's child, and holds what was open until this process has ended.
pub(crate) fn fork_orphan() {
    let me =
        rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).expect("pidfd");
    let mut ended = libc::pollfd { fd: me.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: as in `fork`; the middle process exits at once and is waited for.
    unsafe {
        match libc::fork() {
            0 => {
                if libc::fork() == 0 {
                    while libc::poll(&mut ended, 1, -1) < 0 {}
                }
                libc::_exit(0)
            }
            middle => {
                libc::waitpid(middle, std::ptr::null_mut(), 0);
            }
        }
    }
}

/// Maps shared anonymous memory and writes `bytes` at an offset.
pub(crate) fn shared_memory(size: usize, offset: usize, bytes: &[u8]) {
    assert!(offset + bytes.len() <= size);
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping; the copy stays within it.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), size, prot, flags, -1, 0);
        assert!(at != libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast::<u8>().add(offset), bytes.len());
    }
}
