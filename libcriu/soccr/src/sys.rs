//! Socket options and ioctls of TCP that rustix does not wrap: this crate's only unsafe code.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Socket options by number: linux/tcp.h, asm-generic/socket.h.
pub(crate) const TCP_MAXSEG: i32 = 2;
pub(crate) const TCP_CORK: i32 = 3;
pub(crate) const TCP_INFO: i32 = 11;
pub(crate) const TCP_REPAIR: i32 = 19;
pub(crate) const TCP_REPAIR_QUEUE: i32 = 20;
pub(crate) const TCP_QUEUE_SEQ: i32 = 21;
pub(crate) const TCP_REPAIR_OPTIONS: i32 = 22;
pub(crate) const TCP_TIMESTAMP: i32 = 24;
pub(crate) const TCP_REPAIR_WINDOW: i32 = 29;
pub(crate) const TCP_ULP: i32 = 31;
pub(crate) const SO_REUSEADDR: i32 = 2;
pub(crate) const SO_SNDBUF: i32 = 7;
pub(crate) const SO_RCVBUF: i32 = 8;
pub(crate) const SO_OOBINLINE: i32 = 10;
pub(crate) const SO_BINDTODEVICE: i32 = 25;
pub(crate) const SO_PEERNAME: i32 = 28;
pub(crate) const SO_SNDBUFFORCE: i32 = 32;
pub(crate) const SO_RCVBUFFORCE: i32 = 33;
pub(crate) const SO_MARK: i32 = 36;
pub(crate) const SO_PEEK_OFF: i32 = 42;
pub(crate) const SO_BUF_LOCK: i32 = 72;

pub(crate) const EPERM: i32 = libc::EPERM;
pub(crate) const SOL_SOCKET: i32 = libc::SOL_SOCKET;
pub(crate) const SOL_TCP: i32 = libc::IPPROTO_TCP;

/// `struct tcp_repair_window`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RepairWindow {
    pub snd_wl1: u32,
    pub snd_wnd: u32,
    pub max_window: u32,
    pub rcv_wnd: u32,
    pub rcv_wup: u32,
}

/// `struct tcp_repair_opt`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RepairOption {
    pub code: u32,
    pub value: u32,
}

/// The first eight bytes of `struct tcp_info`: all that is needed; the kernel copies as much as is asked for.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct InfoHead {
    pub state: u8,
    pub ca_state: u8,
    pub retransmits: u8,
    pub probes: u8,
    pub backoff: u8,
    pub options: u8,
    /// Low half: the peer's scale (of what we send); high half: ours.
    pub wscales: u8,
    pub rate_limited: u8,
}

/// The first part of `struct tcp_info` up to the counters of bytes and segments, in words of 32 bits.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Progress {
    pub head: InfoHead,
    /// Timeouts, windows, clocks: they may move.
    measured: [u32; 24],
    pacing: [u32; 4],
    /// Bytes acknowledged and received, segments out and in, bytes not sent: Linux 4.6.
    counted: [u32; 7],
}

impl Progress {
    /// Has nothing come or gone between two looks?
    pub(crate) fn is_same(&self, other: &Progress) -> bool {
        (self.head.state, self.counted) == (other.head.state, other.counted)
    }
}

/// Plain old data without padding: any bytes are a value.
///
/// # Safety
/// Implemented only for integers, arrays of them and `repr(C)` structs of one integer type.
pub(crate) unsafe trait Plain: Copy {}
// SAFETY: integers and their arrays have no invalid values and no padding.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for [u8; 16] {}
// SAFETY: as above.
unsafe impl Plain for [u8; 28] {}
// SAFETY: repr(C), five u32.
unsafe impl Plain for RepairWindow {}
// SAFETY: repr(C), two u32.
unsafe impl Plain for RepairOption {}
// SAFETY: repr(C), eight u8.
unsafe impl Plain for InfoHead {}
// SAFETY: repr(C), eight u8 and then only u32, of which none is misaligned.
unsafe impl Plain for Progress {}

/// getsockopt; what the kernel does not fill reads as zero.
///
/// # Errors
/// Those of getsockopt(2).
pub(crate) fn get<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes; the descriptor is borrowed for the call.
    let r = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    if r != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, then partly overwritten: initialised, and any bytes are a T.
    Ok(unsafe { value.assume_init() })
}

/// setsockopt of one value.
///
/// # Errors
/// Those of setsockopt(2).
pub(crate) fn set<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32, value: T) -> io::Result<()> {
    set_all(fd, level, name, &[value])
}

/// setsockopt of an array; an empty one is a zero-length option.
///
/// # Errors
/// Those of setsockopt(2).
pub(crate) fn set_all<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32, values: &[T]) -> io::Result<()> {
    let len = size_of_val(values) as libc::socklen_t;
    // SAFETY: `values` is readable for `len` bytes; the descriptor is borrowed for the call.
    let r = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, values.as_ptr().cast(), len) };
    if r != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn length(fd: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the three requests used below write one int.
    let r = unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut bytes) };
    if r != 0 {
        return Err(io::Error::last_os_error());
    }
    u32::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EIO))
}

/// `SIOCINQ`: bytes received and not read, up to urgent data; a FIN is not counted.
pub(crate) fn received_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    length(fd, libc::FIONREAD)
}

/// `SIOCOUTQ`: sequence numbers not acknowledged; a FIN counts.
pub(crate) fn unacknowledged_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    length(fd, libc::TIOCOUTQ)
}

/// `SIOCOUTQNSD`: sequence numbers not sent; a FIN counts.
pub(crate) fn unsent_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const SIOCOUTQNSD: libc::Ioctl = 0x894B;
    length(fd, SIOCOUTQNSD)
}
