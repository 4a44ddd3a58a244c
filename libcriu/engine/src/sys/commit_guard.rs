//! A small process that makes one moment of the commit of tasks: each is let live without the engine by a call of its own, and
//! an engine that is killed between two of these would leave a part of the tree; or all of it, and what others see of it half done.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::descriptor::{read_word, write_word};
use super::{guard, spawn};

/// The word that the tasks live.
const COMMITTED: u8 = b'c';
/// The word that there is nothing more to do.
const DONE: u8 = b'd';

/// What others see of the tasks, and the engine does in parts around the commit. Both halves are called in the guard: they make
/// system calls only, on memory that was made before.
pub(crate) trait Unfinished: std::fmt::Debug {
    /// What it needs.
    fn descriptors(&self) -> Vec<RawFd>;
    /// The engine has died before the commit, and the tasks are killed.
    fn undo(&self);
    /// The engine has died behind the commit.
    fn complete(&self);
}

/// Until it hears that the tasks are [committed](CommitGuard::committed) it kills them all when the engine dies; from then on, until it
/// is [dismissed](CommitGuard::dismiss), it completes what others see of them.
#[derive(Debug)]
pub(crate) struct CommitGuard {
    child: i32,
    word: Option<OwnedFd>,
}

impl CommitGuard {
    /// Starts the process for these tasks, which must not be reaped meanwhile, and what is unfinished about them.
    ///
    /// # Errors
    /// Those of pipe(2) and fork(2); UnexpectedEof: it cannot hold on to so many tasks.
    pub(crate) fn start(pids: &[i32], unfinished: &[Box<dyn Unfinished>]) -> io::Result<Self> {
        let (end, word) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (ready, tells) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut tasks = Vec::with_capacity(pids.len());
        let mut kept: Vec<RawFd> = unfinished.iter().flat_map(|u| u.descriptors()).collect();
        kept.extend([end.as_raw_fd(), tells.as_raw_fd()]);
        let child = guard::fork(kept, || watch([end.as_raw_fd(), tells.as_raw_fd()], pids, &mut tasks, unfinished))?;
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
    pub(crate) fn committed(&self) -> io::Result<()> {
        if let Some(word) = &self.word {
            rustix::io::retry_on_intr(|| rustix::io::write(word, &[COMMITTED]))?;
        }
        Ok(())
    }

    /// Everything is complete.
    pub(crate) fn dismiss(self) {
        if let Some(word) = &self.word {
            // Without the word it does once more what has been done.
            let _ = rustix::io::write(word, &[DONE]);
        }
    }
}

impl Drop for CommitGuard {
    fn drop(&mut self) {
        self.word = None;
        spawn::reap(self.child);
    }
}

/// The child.
fn watch([end, tells]: [RawFd; 2], pids: &[i32], tasks: &mut Vec<OwnedFd>, unfinished: &[Box<dyn Unfinished>]) {
    // SAFETY: limits are this process's own.
    unsafe {
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
    if read_word(end) == Some(COMMITTED) {
        if read_word(end) != Some(DONE) {
            unfinished.iter().for_each(|u| u.complete());
        }
    } else {
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
        unfinished.iter().for_each(|u| u.undo());
    }
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
            drop(CommitGuard::start(&tasks, &[]).unwrap());
            assert!(tasks.into_iter().all(ends_by_kill));

            let tasks = [sleeper(), sleeper()];
            CommitGuard::start(&tasks, &[]).unwrap().committed().unwrap();
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
            let e = CommitGuard::start(&[i32::MAX], &[]).unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof);
        });
        child.finish().unwrap();
    }

    /// Writes down which half was called.
    #[derive(Debug)]
    struct Told(OwnedFd);

    impl Unfinished for Told {
        fn descriptors(&self) -> Vec<RawFd> {
            vec![self.0.as_raw_fd()]
        }

        fn undo(&self) {
            assert!(write_word(self.0.as_raw_fd(), b'u'));
        }

        fn complete(&self) {
            assert!(write_word(self.0.as_raw_fd(), b'c'));
        }
    }

    #[test]
    fn what_is_unfinished_is_undone_before_the_commit_and_completed_behind_it() {
        let told = |until: &dyn Fn(CommitGuard)| {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            let unfinished: [Box<dyn Unfinished>; 1] = [Box::new(Told(writer))];
            until(CommitGuard::start(&[], &unfinished).unwrap());
            drop(unfinished);
            read_word(reader.as_raw_fd())
        };
        let child = trial::fork(|| {
            assert_eq!(told(&drop), Some(b'u'));
            assert_eq!(told(&|guard| guard.committed().unwrap()), Some(b'c'));
            let dismissed = told(&|guard| {
                guard.committed().unwrap();
                guard.dismiss();
            });
            assert_eq!(dismissed, None);
        });
        child.finish().unwrap();
    }
}
