//! A small process that takes sockets out of repair mode when the engine dies: a socket left in it would be of no use to
//! its owner, who goes on.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::descriptor::read_word;
use super::spawn;

const TCP_REPAIR: i32 = 19;
const TCP_REPAIR_OFF_NO_WP: i32 = -1;
/// The word by which a guard is armed.
const ARMED: u8 = b'a';

/// Guards sockets until it is [dismissed](RepairGuard::dismiss).
#[derive(Debug)]
pub(crate) struct RepairGuard {
    child: i32,
    word: Option<OwnedFd>,
}

impl RepairGuard {
    /// Starts the process for sockets and what `SO_REUSEADDR` each of them has, which repair mode overwrites.
    ///
    /// # Errors
    /// Those of pipe(2) and fork(2).
    pub(crate) fn start(sockets: &[(RawFd, bool)]) -> io::Result<Self> {
        Self::begin(sockets, true)
    }

    fn begin(sockets: &[(RawFd, bool)], armed: bool) -> io::Result<Self> {
        let (end, word) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut keep: Vec<RawFd> = sockets.iter().map(|s| s.0).chain([end.as_raw_fd()]).collect();
        keep.sort_unstable();
        let mask = spawn::block_signals();
        // SAFETY: the child makes system calls only, on memory that was made before: no lock of another thread is needed.
        let child = unsafe { libc::fork() };
        if child == 0 {
            watch(&keep, end.as_raw_fd(), sockets, armed);
        }
        let failed = io::Error::last_os_error();
        spawn::set_signal_mask(mask);
        if child < 0 { Err(failed) } else { Ok(RepairGuard { child, word: Some(word) }) }
    }

    /// The same, but until it is [armed](RepairGuard::arm) sockets stay as they are when the engine dies: their tasks die with it, and
    /// closed in repair mode they say nothing to their peers.
    ///
    /// # Errors
    /// Those of pipe(2) and fork(2).
    pub(crate) fn start_unarmed(sockets: &[(RawFd, bool)]) -> io::Result<Self> {
        Self::begin(sockets, false)
    }

    /// From now on the tasks outlive the engine.
    pub(crate) fn arm(&self) {
        if let Some(word) = &self.word {
            let _ = rustix::io::write(word, &[ARMED]);
        }
    }

    /// Ends the process; the sockets are out of repair mode by now.
    pub(crate) fn dismiss(mut self) {
        if let Some(word) = self.word.take() {
            // Without the word it looks at the sockets and finds nothing to do.
            let _ = rustix::io::write(&word, b"x");
        }
        spawn::reap(self.child);
        self.child = 0;
    }
}

impl Drop for RepairGuard {
    fn drop(&mut self) {
        if self.child > 0 {
            self.word = None;
            spawn::reap(self.child);
        }
    }
}

/// The child: all signals are blocked, nothing but its sockets is open.
fn watch(keep: &[RawFd], end: RawFd, sockets: &[(RawFd, bool)], mut armed: bool) -> ! {
    let mut first = 0;
    for &fd in keep {
        if fd > first {
            close(first, fd - 1);
        }
        first = fd + 1;
    }
    close(first, i32::MAX);
    // SAFETY: a session of its own keeps the terminal's signals away.
    unsafe { libc::setsid() };
    let last = loop {
        match read_word(end) {
            Some(ARMED) => armed = true,
            last => break last,
        }
    };
    if last.is_none() && armed {
        for &(fd, reuse) in sockets {
            let mut mode = 0i32;
            let mut len = size_of::<i32>() as libc::socklen_t;
            // SAFETY: the kernel writes an int to a local, and reads ints from locals.
            unsafe {
                libc::getsockopt(fd, libc::IPPROTO_TCP, TCP_REPAIR, (&raw mut mode).cast(), &raw mut len);
                if mode == 1 {
                    let (off, reuse) = (TCP_REPAIR_OFF_NO_WP, i32::from(reuse));
                    libc::setsockopt(fd, libc::IPPROTO_TCP, TCP_REPAIR, (&raw const off).cast(), len);
                    libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const reuse).cast(), len);
                }
            }
        }
    }
    spawn::exit_now(0)
}

fn close(first: RawFd, last: RawFd) {
    // SAFETY: descriptors of a process that uses none of them.
    unsafe { libc::syscall(libc::SYS_close_range, first as u32, last as u32, 0) };
}
