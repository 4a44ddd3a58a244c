//! A small process that takes sockets out of repair mode when the engine dies: a socket left in it would be of no use to
//! its owner, who goes on.

use std::io;
use std::os::fd::RawFd;

use criu_soccr::Paused;

use super::descriptor::borrow;
use super::guard::Guard;

const TCP_REPAIR: i32 = 19;

/// A socket and what `SO_REUSEADDR` it has, which repair mode overwrites.
pub(crate) type Reused = (RawFd, bool);

/// Guards sockets until it is [dismissed](RepairGuard::dismiss).
#[derive(Debug)]
pub(crate) struct RepairGuard(Guard);

impl RepairGuard {
    /// Starts the process.
    ///
    /// # Errors
    /// Those of pipe(2) and fork(2).
    pub(crate) fn start(sockets: &[Reused]) -> io::Result<Self> {
        Guard::start(sockets.iter().map(|s| s.0).collect(), &|| sockets.iter().for_each(undo)).map(RepairGuard)
    }

    /// Ends the process; the sockets are out of repair mode by now.
    pub(crate) fn dismiss(self) {
        self.0.dismiss();
    }
}

fn undo(&(fd, reuse): &Reused) {
    let mut mode = 0i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes an int to a local.
    unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, TCP_REPAIR, (&raw mut mode).cast(), &raw mut len) };
    if mode == 1 {
        let _ = Paused::take_over(borrow(fd), reuse).resume_quietly();
    }
}
