//! A small process that makes one moment of the commit of several tasks: each is let live without the engine by a call of its own,
//! and an engine that is killed between two of these would leave a part of the tree.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::descriptor::{close_all_but, read_word, write_word};
use super::spawn;

/// The word that all is done.
const COMMITTED: u8 = b'c';

/// Until it hears that the tasks are [committed](CommitGuard::committed) it kills them all when the engine dies.
#[derive(Debug)]
pub(crate) struct CommitGuard {
    child: i32,
    word: Option<OwnedFd>,
}

impl CommitGuard {
    /// Starts the process for these tasks, which must not be reaped meanwhile.
    ///
    /// # Errors
    /// Those of pipe(2) and fork(2); UnexpectedEof: it cannot hold on to so many tasks.
    pub(crate) fn start(pids: &[i32]) -> io::Result<Self> {
        let (end, word) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (ready, tells) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut tasks = Vec::with_capacity(pids.len());
        let mask = spawn::block_signals();
        // SAFETY: the child makes system calls only, on memory that was made before: no lock of another thread is needed.
        let child = unsafe { libc::fork() };
        if child == 0 {
            watch([end.as_raw_fd(), tells.as_raw_fd()], pids, &mut tasks);
        }
        let failed = io::Error::last_os_error();
        spawn::set_signal_mask(mask);
        if child < 0 {
            return Err(failed);
        }
        let guard = CommitGuard { child, word: Some(word) };
        drop((end, tells));
        // A guard that is dropped before it is ready has ended already.
        match rustix::io::retry_on_intr(|| rustix::io::read(&ready, &mut [0u8; 1]))? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(guard),
        }
    }

    /// The moment: from now on the tasks outlive the engine.
    ///
    /// # Errors
    /// EPIPE: the guard was killed.
    pub(crate) fn committed(mut self) -> io::Result<()> {
        if let Some(word) = self.word.take() {
            rustix::io::retry_on_intr(|| rustix::io::write(&word, &[COMMITTED]))?;
        }
        Ok(())
    }
}

impl Drop for CommitGuard {
    fn drop(&mut self) {
        self.word = None;
        spawn::reap(self.child);
    }
}

/// The child: all signals are blocked, nothing but the pipes and its tasks is open.
fn watch([end, tells]: [RawFd; 2], pids: &[i32], tasks: &mut Vec<OwnedFd>) -> ! {
    close_all_but(&mut [end, tells]);
    // SAFETY: a session of its own keeps the terminal's signals away; limits are this process's own.
    unsafe {
        libc::setsid();
        let mut files = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files) == 0 {
            files.rlim_cur = files.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
        }
    }
    for pid in pids {
        // SAFETY: integers only; the descriptor is new and nobody else's.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, *pid, 0) };
        if fd < 0 {
            spawn::exit_now(1);
        }
        // SAFETY: as above. There is room: nothing is allocated.
        tasks.push(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
    }
    // Who waits for it would wait for ever.
    if !write_word(tells, COMMITTED) {
        spawn::exit_now(1);
    }
    if read_word(end) != Some(COMMITTED) {
        for task in tasks {
            // SAFETY: no information is given along.
            unsafe {
                libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    task.as_raw_fd(),
                    libc::SIGKILL,
                    std::ptr::null::<libc::siginfo_t>(),
                    0,
                )
            };
        }
    }
    spawn::exit_now(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::trial;

    fn ends_by_kill(pid: i32) -> bool {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let status = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap().unwrap().1;
        status.terminating_signal() == Some(libc::SIGKILL)
    }

    fn sleeper() -> i32 {
        let pid = spawn::fork_plain(|| {
            loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            }
        });
        pid.unwrap()
    }

    #[test]
    fn all_tasks_or_none_outlive_the_engine() {
        // In a process of its own: its children are nobody else's.
        let child = trial::fork(|| {
            let tasks = [sleeper(), sleeper(), sleeper()];
            drop(CommitGuard::start(&tasks).unwrap());
            assert!(tasks.into_iter().all(ends_by_kill));

            let tasks = [sleeper(), sleeper()];
            CommitGuard::start(&tasks).unwrap().committed().unwrap();
            for task in tasks {
                // The guard has ended, and nobody was killed.
                assert!(spawn::has_task(task));
                rustix::process::kill_process(
                    rustix::process::Pid::from_raw(task).unwrap(),
                    rustix::process::Signal::TERM,
                )
                .unwrap();
                assert!(!ends_by_kill(task));
            }
            // Nobody has this number: it cannot be held on to.
            let e = CommitGuard::start(&[i32::MAX]).unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof);
        });
        child.finish().unwrap();
    }
}
