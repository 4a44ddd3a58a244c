//! Processes of the service, and what a program inherited.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// The two sides of a fork.
#[derive(Debug)]
pub enum Forked {
    Parent { child: i32 },
    Child,
}

/// fork(2), for a single-threaded process: the child may go on with everything.
///
/// # Errors
/// Those of fork; `Unsupported` when this process has other threads (their locks would stay locked in the child).
pub fn fork() -> io::Result<Forked> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the process has more than one thread"));
    }
    // SAFETY: this process has a single thread (seen just above, and only this thread could make more), so that no lock
    // is held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        child => Ok(Forked::Parent { child }),
    }
}

/// The process group of a process, this one if `None`; `None`: it is outside this pid namespace, where the kernel calls it 0,
/// which a [`Pid`] cannot be.
///
/// # Errors
/// ESRCH: there is no such process.
pub fn group_of(process: Option<Pid>) -> io::Result<Option<Pid>> {
    // SAFETY: touches no memory.
    match unsafe { libc::getpgid(Pid::as_raw(process)) } {
        -1 => Err(io::Error::last_os_error()),
        group => Ok(Pid::from_raw(group)),
    }
}

/// How the process of a pidfd has ended, as wait(2) tells. `None`: the kernel does not tell.
///
/// # References
/// PIDFD_GET_INFO with PIDFD_INFO_EXIT of `linux/pidfd.h`, Linux 6.15
pub(crate) fn exit_status(pidfd: BorrowedFd<'_>) -> Option<u32> {
    /// `_IOWR(0xFF, 11, struct pidfd_info)`, of its first 64 bytes.
    const PIDFD_GET_INFO: libc::Ioctl = 0xc040_ff0b;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let mut info = [0u64; 8];
    info[0] = PIDFD_INFO_EXIT;
    // SAFETY: the request reads and writes as many bytes as its number says, which `info` has.
    let ret = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, info.as_mut_ptr()) };
    // The status is the last of sixteen words of 32 bits.
    (ret == 0 && info[0] & PIDFD_INFO_EXIT != 0).then_some((info[7] >> 32) as u32)
}

/// Takes a descriptor that this program inherited by number and nothing else in it owns: not 0-2, which belong to the
/// standard streams. It is made close-on-exec.
///
/// # Errors
/// EBADF: it is not open, or one of the first three.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    let bad = || io::Error::from_raw_os_error(libc::EBADF);
    if fd <= 2 {
        return Err(bad());
    }
    // SAFETY: fcntl with F_SETFD touches nothing but the descriptor's flag, or fails with EBADF.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(bad());
    }
    // SAFETY: it is open (just seen), and by this function's contract nobody else in the program owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
