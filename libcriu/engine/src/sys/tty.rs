//! Terminal settings as the kernel has them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many control characters the kernel's struct termios has.
pub(crate) const CONTROL_CHARACTERS: usize = 19;

/// The kernel's struct termios.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Termios {
    pub iflag: u32,
    pub oflag: u32,
    pub cflag: u32,
    pub lflag: u32,
    pub line: u8,
    pub cc: [u8; CONTROL_CHARACTERS],
}

/// Settings, or of which of them changes are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Settings,
    Locked,
}

fn check(ret: i32) -> io::Result<()> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// # Errors
/// ENOTTY: no terminal.
///
/// # References
/// ioctl_tty(2)
pub(crate) fn termios(fd: BorrowedFd<'_>, which: Which) -> io::Result<Termios> {
    let request = match which {
        Which::Settings => libc::TCGETS,
        Which::Locked => libc::TIOCGLCKTRMIOS,
    };
    let mut t = Termios::default();
    // SAFETY: the request writes one struct termios of the kernel, whose layout `Termios` has.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, &mut t) })?;
    Ok(t)
}

/// Sets what `termios` reads, at once.
pub(crate) fn set_termios(fd: BorrowedFd<'_>, t: &Termios) -> io::Result<()> {
    // SAFETY: the request reads one struct termios of the kernel, whose layout `Termios` has.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TCSETS, t) })
}

/// Makes a terminal the controlling one of this process, which leads a session without one.
#[cfg(test)]
pub(crate) fn take_as_controlling(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) })
}
