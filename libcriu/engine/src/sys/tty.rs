//! Terminal settings as the kernel has them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// How many control characters the kernel's struct termios has.
pub(crate) const CONTROL_CHARACTERS: usize = 19;

/// The kernel's struct termios2. The older struct termios is its beginning, without the speeds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Termios {
    pub iflag: u32,
    pub oflag: u32,
    pub cflag: u32,
    pub lflag: u32,
    pub line: u8,
    pub cc: [u8; CONTROL_CHARACTERS],
    /// In bits per second where they are no standard ones (`BOTHER`), otherwise 0.
    pub ispeed: u32,
    pub ospeed: u32,
}

/// In `cflag`, the speed in bits per second is told apart.
const BOTHER: u32 = 0o010000;
const CBAUD: u32 = 0o010017;
/// The input's speed is this much further up.
const IBSHIFT: u32 = 16;

impl Termios {
    fn has_other_speed(&self) -> bool {
        [0, IBSHIFT].iter().any(|shift| self.cflag >> shift & CBAUD == BOTHER)
    }
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
        Which::Settings => libc::TCGETS2,
        Which::Locked => libc::TIOCGLCKTRMIOS,
    };
    let mut t = Termios::default();
    // SAFETY: the request writes one struct termios2 of the kernel, or its beginning, whose layout `Termios` has.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, &mut t) })?;
    if !t.has_other_speed() {
        (t.ispeed, t.ospeed) = (0, 0);
    }
    Ok(t)
}

/// Sets what `termios` reads, at once.
pub(crate) fn set_termios(fd: BorrowedFd<'_>, t: &Termios) -> io::Result<()> {
    // Without speeds (in images that have none) the terminal keeps its own.
    let request = if t.has_other_speed() && t.ospeed != 0 { libc::TCSETS2 } else { libc::TCSETS };
    // SAFETY: the request reads one struct termios2 of the kernel, or its beginning, whose layout `Termios` has.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, t) })
}

/// Sets which settings cannot be changed by the unprivileged.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub(crate) fn set_locked(fd: BorrowedFd<'_>, t: &Termios) -> io::Result<()> {
    // SAFETY: as in `set_termios`.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSLCKTRMIOS, t) })
}

/// Makes a terminal the controlling one of this process, which leads a session without one.
pub(crate) fn take_as_controlling(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) })
}

/// What is on or off at one end of a pseudo terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// The slave cannot be opened; of a master.
    Locked,
    /// Reads are headed by a byte of status; of a master.
    Packet,
    /// Nobody can open it again.
    Exclusive,
}

fn get_number(fd: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<i32> {
    let mut n: libc::c_int = 0;
    // SAFETY: callers name requests that write one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, &mut n) })?;
    Ok(n)
}

/// # References
/// ioctl_tty(2); TIOCGPKT, TIOCGPTLCK and TIOCGEXCL: Linux 3.8
pub(crate) fn switch(fd: BorrowedFd<'_>, which: Switch) -> io::Result<bool> {
    let request = match which {
        Switch::Locked => libc::TIOCGPTLCK,
        Switch::Packet => libc::TIOCGPKT,
        Switch::Exclusive => libc::TIOCGEXCL,
    };
    Ok(get_number(fd, request)? != 0)
}

pub(crate) fn set_switch(fd: BorrowedFd<'_>, which: Switch, on: bool) -> io::Result<()> {
    let n = libc::c_int::from(on);
    let request = match which {
        Switch::Locked => libc::TIOCSPTLCK,
        Switch::Packet => libc::TIOCPKT,
        Switch::Exclusive => {
            let request = if on { libc::TIOCEXCL } else { libc::TIOCNXCL };
            // SAFETY: no argument.
            return check(unsafe { libc::ioctl(fd.as_raw_fd(), request) });
        }
    };
    // SAFETY: both requests read one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, &n) })
}

/// The number below /dev/pts of a master.
pub(crate) fn pty_index(master: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(get_number(master, libc::TIOCGPTN)? as u32)
}

/// The device behind a description, also one of /dev/tty: 12 bits major above 20 bits minor.
///
/// # Errors
/// EIO: it was hung up.
pub(crate) fn device(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let n = get_number(fd, libc::TIOCGDEV)? as u32;
    Ok(((n >> 8) & 0xfff) << 20 | (n >> 12) & 0xf_ff00 | n & 0xff)
}

/// The number of the line discipline; 0 is that of ordinary terminals.
pub(crate) fn discipline(fd: BorrowedFd<'_>) -> io::Result<i32> {
    get_number(fd, libc::TIOCGETD)
}

/// Opens the slave of a master that is not locked, close-on-exec. (With O_CLOEXEC among the flags the kernel would keep it
/// as one of the description's.)
///
/// # References
/// ioctl_tty(2), TIOCGPTPEER (Linux 4.13)
pub(crate) fn open_peer(master: BorrowedFd<'_>, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: the request takes open(2) flags.
    let fd = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    check(fd)?;
    let fd = super::descriptor::adopt(fd);
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}
