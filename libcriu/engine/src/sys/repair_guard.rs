//! Repair mode by bare system calls, for processes that outlive the engine; and a small one that takes sockets out of it when
//! the engine dies: a socket left in it would be of no use to its owner, who goes on.

use std::io;
use std::os::fd::RawFd;

use super::guard::Guard;

const TCP_REPAIR: i32 = 19;
const TCP_REPAIR_ON: i32 = 1;
const TCP_REPAIR_OFF: i32 = 0;
const TCP_REPAIR_OFF_NO_WP: i32 = -1;

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

fn undo(socket: &Reused) {
    if get(socket.0, libc::IPPROTO_TCP, TCP_REPAIR) == Some(TCP_REPAIR_ON) {
        leave(socket, TCP_REPAIR_OFF_NO_WP);
    }
}

/// Closed from now on, the connection says nothing to its peer.
pub(crate) fn pause(fd: RawFd) {
    set(fd, libc::IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
}

/// What is left of a [resumption](criu_soccr::Paused::resume) that began quietly.
pub(crate) fn call_peer(socket: &Reused) {
    // The kernel asks the peer for its window also where repair mode is off by now.
    leave(socket, TCP_REPAIR_OFF);
    if get(socket.0, libc::IPPROTO_TCP, libc::TCP_CORK) == Some(0) {
        set(socket.0, libc::IPPROTO_TCP, libc::TCP_CORK, 0);
    }
}

fn leave(&(fd, reuse): &Reused, how: i32) {
    set(fd, libc::IPPROTO_TCP, TCP_REPAIR, how);
    set(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, reuse.into());
}

fn get(fd: RawFd, level: i32, name: i32) -> Option<i32> {
    let (mut value, mut len) = (0i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: the kernel writes an int to a local.
    (unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) } == 0).then_some(value)
}

fn set(fd: RawFd, level: i32, name: i32, value: i32) {
    // SAFETY: the kernel reads an int from a local.
    unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<i32>() as libc::socklen_t) };
}
