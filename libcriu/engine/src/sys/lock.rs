//! File locks and leases.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use super::descriptor::{forget_signal_owner, set_signal_owner, signal_owner};

/// A range of a file to lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// `F_RDLCK` or `F_WRLCK`.
    pub r#type: i32,
    /// First byte.
    pub start: i64,
    /// In bytes; 0: to the end, wherever that will be.
    pub len: i64,
}

fn check(ret: i32) -> io::Result<()> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Locks a range without waiting: for this process's table, or `of_description`.
///
/// # Errors
/// EAGAIN: somebody else has a lock in the way.
///
/// # References
/// fcntl(2), F_OFD_SETLK: Linux 3.15
pub(crate) fn set_range(fd: BorrowedFd<'_>, range: Range, of_description: bool) -> io::Result<()> {
    let lock = libc::flock {
        l_type: range.r#type as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: range.start,
        l_len: range.len,
        l_pid: 0,
    };
    let command = if of_description { libc::F_OFD_SETLK } else { libc::F_SETLK };
    // SAFETY: both commands read one struct flock.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw const lock) })
}

/// Locks a whole file for its description without waiting, shared (`F_RDLCK`) or not.
///
/// # References
/// flock(2)
pub(crate) fn flock(fd: BorrowedFd<'_>, r#type: i32) -> io::Result<()> {
    let how = if r#type == libc::F_RDLCK { libc::LOCK_SH } else { libc::LOCK_EX };
    // SAFETY: integers only.
    check(unsafe { libc::flock(fd.as_raw_fd(), how | libc::LOCK_NB) })
}

/// Takes a lease.
///
/// # Errors
/// EAGAIN: the file is open elsewhere.
///
/// # References
/// fcntl(2)
pub(crate) fn set_lease(fd: BorrowedFd<'_>, r#type: i32) -> io::Result<()> {
    // SAFETY: the command takes an integer.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, r#type) })
}

/// Takes a lease and has it broken, so that it is to become a `target` (`F_RDLCK`, `F_UNLCK`). Its owner gets no signal.
///
/// # Errors
/// EAGAIN: the file is open elsewhere.
///
/// # References
/// fcntl(2); open(2): `O_NONBLOCK` breaks a lease and does not wait for its end
pub(crate) fn broken_lease(fd: BorrowedFd<'_>, target: i32) -> io::Result<()> {
    // Only a write lease becomes a read lease. One that is to end was a read lease where the description can only read: such
    // a lease and a write lease are the same to their holder from here on.
    let reads = rustix::fs::fcntl_getfl(fd)?.intersection(OFlags::RWMODE) == OFlags::RDONLY;
    let owner = signal_owner(fd)?;
    set_lease(fd, if reads && target == libc::F_UNLCK { libc::F_RDLCK } else { libc::F_WRLCK })?;
    forget_signal_owner(fd)?;
    let access = if target == libc::F_RDLCK { OFlags::RDONLY } else { OFlags::WRONLY };
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let opened = rustix::fs::open(path, access | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    set_signal_owner(fd, owner)?;
    match opened {
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
        Err(e) => Err(e.into()),
        Ok(_) => Err(io::Error::other("opening the file did not break it")),
    }
}
