//! A small process that outlives the engine, to undo what a killed engine cannot.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::descriptor::{close_all_but, read_word};
use super::spawn;

/// Watches over descriptors until it is [dismissed](Guard::dismiss).
#[derive(Debug)]
pub(super) struct Guard {
    child: i32,
    word: Option<OwnedFd>,
}

impl Guard {
    /// Starts the process; it keeps the descriptors `keep`, and runs `undo` when this one dies. `undo` makes system calls only, on
    /// memory that was made before.
    ///
    /// # Errors
    /// Those of pipe(2) and fork(2).
    pub fn start(mut keep: Vec<RawFd>, undo: &dyn Fn()) -> io::Result<Self> {
        let (end, word) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        keep.push(end.as_raw_fd());
        let child = fork(keep, || {
            if read_word(end.as_raw_fd()).is_none() {
                undo();
            }
        })?;
        Ok(Guard { child, word: Some(word) })
    }

    /// Ends the process; there is nothing to undo.
    pub fn dismiss(mut self) {
        if let Some(word) = self.word.take() {
            // Without the word it undoes what is as it was.
            let _ = rustix::io::write(&word, b"x");
        }
        spawn::reap(self.child);
        self.child = 0;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.child > 0 {
            self.word = None;
            spawn::reap(self.child);
        }
    }
}

/// Forks a process that has nothing open but `keep`, lets no signal interrupt it, runs `body` and ends. `body` makes system calls
/// only, on memory that was made before: no lock of another thread is needed.
///
/// # Errors
/// Those of fork(2).
pub(super) fn fork(mut keep: Vec<RawFd>, body: impl FnOnce()) -> io::Result<i32> {
    let mask = spawn::block_signals();
    // SAFETY: the child makes system calls only, as `body` does.
    let child = unsafe { libc::fork() };
    if child == 0 {
        close_all_but(&mut keep);
        // SAFETY: a session of its own keeps the terminal's signals away.
        unsafe { libc::setsid() };
        body();
        spawn::exit_now(0);
    }
    let failed = io::Error::last_os_error();
    spawn::set_signal_mask(mask);
    if child < 0 { Err(failed) } else { Ok(child) }
}
