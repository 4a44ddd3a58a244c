//! A socket in repair mode, by the names of what is read and set there.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::BorrowedFd;

use rustix::net::getsockname;

use crate::error::Doing;
use crate::sys::{self, InfoHead, Progress, RepairOption, RepairWindow, SOL_SOCKET, SOL_TCP};
use crate::{Result, State};

/// `TCP_REPAIR_QUEUE`: what sending and peeking are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Queue {
    None = 0,
    Receive = 1,
    Send = 2,
}

/// Values of `TCP_REPAIR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Repair {
    On = 1,
    /// Off, and ask the peer for its window.
    Off = 0,
    /// Off, without a packet.
    OffQuietly = -1,
}

pub(crate) fn repair(fd: BorrowedFd<'_>, mode: Repair) -> Result<()> {
    let what = if mode == Repair::On { "entering repair mode" } else { "leaving repair mode" };
    sys::set(fd, SOL_TCP, sys::TCP_REPAIR, mode as i32).doing(what, "setsockopt TCP_REPAIR")
}

pub(crate) fn info(fd: BorrowedFd<'_>) -> Result<InfoHead> {
    sys::get(fd, SOL_TCP, sys::TCP_INFO).doing("asking for the state", "getsockopt TCP_INFO")
}

/// Whatever moves when a segment comes or goes.
pub(crate) fn progress(fd: BorrowedFd<'_>) -> Result<Progress> {
    sys::get(fd, SOL_TCP, sys::TCP_INFO).doing("asking for the state", "getsockopt TCP_INFO")
}

pub(crate) fn state(fd: BorrowedFd<'_>) -> Result<State> {
    State::from_number(info(fd)?.state.into())
}

pub(crate) fn select(fd: BorrowedFd<'_>, queue: Queue) -> Result<()> {
    sys::set(fd, SOL_TCP, sys::TCP_REPAIR_QUEUE, queue as i32).doing("selecting a queue", "setsockopt TCP_REPAIR_QUEUE")
}

/// Sequence number behind the last byte of `queue`.
pub(crate) fn sequence(fd: BorrowedFd<'_>, queue: Queue) -> Result<u32> {
    select(fd, queue)?;
    sys::get(fd, SOL_TCP, sys::TCP_QUEUE_SEQ).doing("asking for a sequence number", "getsockopt TCP_QUEUE_SEQ")
}

pub(crate) fn set_sequence(fd: BorrowedFd<'_>, queue: Queue, sequence: u32) -> Result<()> {
    select(fd, queue)?;
    sys::set(fd, SOL_TCP, sys::TCP_QUEUE_SEQ, sequence).doing("setting a sequence number", "setsockopt TCP_QUEUE_SEQ")
}

pub(crate) fn window(fd: BorrowedFd<'_>) -> Result<RepairWindow> {
    sys::get(fd, SOL_TCP, sys::TCP_REPAIR_WINDOW).doing("asking for the windows", "getsockopt TCP_REPAIR_WINDOW")
}

pub(crate) fn set_window(fd: BorrowedFd<'_>, window: RepairWindow) -> Result<()> {
    sys::set(fd, SOL_TCP, sys::TCP_REPAIR_WINDOW, window).doing("setting the windows", "setsockopt TCP_REPAIR_WINDOW")
}

pub(crate) fn set_options(fd: BorrowedFd<'_>, options: &[RepairOption]) -> Result<()> {
    sys::set_all(fd, SOL_TCP, sys::TCP_REPAIR_OPTIONS, options)
        .doing("setting the negotiated options", "setsockopt TCP_REPAIR_OPTIONS")
}

/// Number that a `SOL_SOCKET` option has.
pub(crate) fn option(fd: BorrowedFd<'_>, name: i32, call: &'static str) -> Result<i32> {
    sys::get(fd, SOL_SOCKET, name).doing("asking for a socket option", call)
}

pub(crate) fn set_option(fd: BorrowedFd<'_>, name: i32, value: i32, call: &'static str) -> Result<()> {
    sys::set(fd, SOL_SOCKET, name, value).doing("setting a socket option", call)
}

pub(crate) fn local(fd: BorrowedFd<'_>) -> Result<SocketAddr> {
    let address = getsockname(fd).doing("asking for the local address", "getsockname")?;
    SocketAddr::try_from(address).doing("asking for the local address", "getsockname")
}

/// The peer's address; `None` where there never was one. `SO_PEERNAME` tells it in states SYN_SENT and CLOSE too, where
/// getpeername does not.
pub(crate) fn peer(fd: BorrowedFd<'_>, local: &SocketAddr) -> Result<Option<SocketAddr>> {
    let bytes = match local {
        SocketAddr::V4(_) => sys::get::<[u8; 16]>(fd, SOL_SOCKET, sys::SO_PEERNAME).map(|b| b.to_vec()),
        SocketAddr::V6(_) => sys::get::<[u8; 28]>(fd, SOL_SOCKET, sys::SO_PEERNAME).map(|b| b.to_vec()),
    };
    match bytes {
        Ok(bytes) => Ok(parse_address(&bytes)),
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => Ok(None),
        Err(e) => Err(e).doing("asking for the peer's address", "getsockopt SO_PEERNAME"),
    }
}

/// A `sockaddr_in` or `sockaddr_in6`; `None` for anything else.
fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let field = |at: usize| bytes.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
    let [f0, f1, p0, p1] = field(0)?;
    let port = u16::from_be_bytes([p0, p1]);
    match i32::from(u16::from_ne_bytes([f0, f1])) {
        libc::AF_INET => Some(SocketAddr::new(Ipv4Addr::from(field(4)?).into(), port)),
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?);
            let flow = u32::from_be_bytes(field(4)?);
            Some(SocketAddrV6::new(ip, port, flow, u32::from_ne_bytes(field(24)?)).into())
        }
        _ => None,
    }
}
