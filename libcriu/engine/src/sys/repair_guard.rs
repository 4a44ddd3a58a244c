//! A small process that takes sockets out of repair mode when the engine dies: a socket left in it would be of no use to
//! its owner, who goes on.

use std::io;
use std::os::fd::RawFd;

use super::guard::Guard;

const TCP_REPAIR: i32 = 19;
const TCP_REPAIR_OFF_NO_WP: i32 = -1;

/// Guards sockets until it is [dismissed](RepairGuard::dismiss).
#[derive(Debug)]
pub(crate) struct RepairGuard(Guard);

impl RepairGuard {
    /// Starts the process for sockets and what `SO_REUSEADDR` each of them has, which repair mode overwrites.
    ///
    /// # Errors
    /// Those of pipe(2) and fork(2).
    pub(crate) fn start(sockets: &[(RawFd, bool)]) -> io::Result<Self> {
        Self::begin(sockets, true)
    }

    fn begin(sockets: &[(RawFd, bool)], armed: bool) -> io::Result<Self> {
        Guard::start(sockets.iter().map(|s| s.0).collect(), armed, &|| undo(sockets)).map(RepairGuard)
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
        self.0.arm();
    }

    /// Ends the process; the sockets are out of repair mode by now.
    pub(crate) fn dismiss(self) {
        self.0.dismiss();
    }
}

fn undo(sockets: &[(RawFd, bool)]) {
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
