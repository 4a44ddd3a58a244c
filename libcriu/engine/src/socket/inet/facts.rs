//! What getsockopt and ioctl tell of an internet socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};

use criu_images::messages::{IpOptsEntry, TcpOptsEntry};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::getsockname;
use rustix::time::Timespec;

use super::more_options::SocketKind;
use super::{INET6, MPTCP, STREAM, TCP};
use crate::sys::socket::{device_name, int_option, option, option_bytes, set_int_option};

const SO_PROTOCOL: i32 = 38;
const SO_DOMAIN: i32 = 39;
const SO_NETNS_COOKIE: i32 = 71;

/// The family, type and protocol.
pub(super) fn kind(fd: BorrowedFd<'_>) -> io::Result<SocketKind> {
    Ok(SocketKind {
        family: option(fd, SO_DOMAIN)? as u32,
        kind: option(fd, libc::SO_TYPE)? as u32,
        protocol: option(fd, SO_PROTOCOL)? as u32,
    })
}

/// A number that every network namespace has of its own. Linux 5.14.
pub(super) fn namespace(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    option_bytes(fd, libc::SOL_SOCKET, SO_NETNS_COOKIE, 8)
}

/// The parts of `struct tcp_info` that matter here.
#[derive(Clone, Copy, Debug)]
pub(super) struct TcpInfo {
    pub state: u32,
    /// In state LISTEN: connections waiting to be accepted, and how many may.
    pub waiting: u32,
    pub backlog: u32,
    /// Segments are this long, unless in state LISTEN.
    pub segment_bytes: u32,
}

pub(super) fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    let info = option_bytes(fd, libc::IPPROTO_TCP, libc::TCP_INFO, 32)?;
    let word = |at: usize| {
        let bytes = info.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map(u32::from_ne_bytes).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
    };
    let state = info.first().copied().unwrap_or_default();
    Ok(TcpInfo { state: state.into(), waiting: word(24)?, backlog: word(28)?, segment_bytes: word(16)? })
}

pub(super) fn local(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(getsockname(fd)?)?)
}

/// The peer's address, also of a connection that is being made; `None` for a socket without one.
pub(super) fn peer(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    let ask = |room| option_bytes(fd, libc::SOL_SOCKET, libc::SO_PEERNAME, room);
    // More room than the address takes is refused.
    match ask(28).or_else(|e| if e.raw_os_error() == Some(libc::EINVAL) { ask(16) } else { Err(e) }) {
        Ok(address) => Ok(parse_address(&address)),
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A `sockaddr_in` or `sockaddr_in6`.
pub(super) fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
    let [f0, f1, p0, p1] = word(0)?;
    let port = u16::from_be_bytes([p0, p1]);
    if i32::from(u16::from_ne_bytes([f0, f1])) == libc::AF_INET {
        return Some(SocketAddr::new(Ipv4Addr::from(word(4)?).into(), port));
    }
    let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?);
    Some(SocketAddrV6::new(ip, port, 0, u32::from_ne_bytes(word(24)?)).into())
}

/// Whether reading has come to an end, or was given up.
pub(super) fn receives_not(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(fds[0].revents().contains(PollFlags::RDHUP))
}

/// The name of what works on top of a connection (TLS in the kernel).
pub(super) fn upper_layer(fd: BorrowedFd<'_>) -> io::Result<Option<String>> {
    match option_bytes(fd, libc::IPPROTO_TCP, libc::TCP_ULP, 16) {
        Ok(name) => {
            let name = name.split(|b| *b == 0).next().unwrap_or_default();
            Ok((!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned()))
        }
        Err(e) if e.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether segments are signed with keys of the authentication option.
pub(super) fn has_ao_keys(fd: BorrowedFd<'_>) -> io::Result<bool> {
    const TCP_AO_INFO: i32 = 40;
    const INFO_BYTES: usize = 56;
    match option_bytes(fd, libc::IPPROTO_TCP, TCP_AO_INFO, INFO_BYTES) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOPROTOOPT | libc::EOPNOTSUPP)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The device a socket is bound to.
pub(super) fn device(fd: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let name = device_name(&option_bytes(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, libc::IFNAMSIZ)?)?;
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// A switch of `IpOptsEntry`: its field and its number for either family.
struct Switch {
    get: fn(&IpOptsEntry) -> Option<bool>,
    put: fn(&mut IpOptsEntry),
    ip: i32,
    ipv6: i32,
}

const FREEBIND: Switch =
    Switch { get: |o| o.freebind, put: |o| o.freebind = Some(true), ip: libc::IP_FREEBIND, ipv6: libc::IPV6_FREEBIND };
const PKTINFO: Switch =
    Switch { get: |o| o.pktinfo, put: |o| o.pktinfo = Some(true), ip: libc::IP_PKTINFO, ipv6: libc::IPV6_RECVPKTINFO };

impl Switch {
    fn at(&self, family: u32) -> (i32, i32) {
        if family == INET6 { (libc::IPPROTO_IPV6, self.ipv6) } else { (libc::IPPROTO_IP, self.ip) }
    }

    fn set(&self, fd: BorrowedFd<'_>, family: u32, opts: &IpOptsEntry) -> io::Result<()> {
        let (level, name) = self.at(family);
        if (self.get)(opts) == Some(true) { set_int_option(fd, level, name, 1) } else { Ok(()) }
    }
}

/// The options of IP that CRIU's message has fields for.
pub(super) fn ip_options(fd: BorrowedFd<'_>, kind: SocketKind) -> io::Result<IpOptsEntry> {
    let mut opts = IpOptsEntry::default();
    for switch in [FREEBIND, PKTINFO] {
        let (level, name) = switch.at(kind.family);
        if may_lack(int_option(fd, level, name))?.is_some_and(|on| on != 0) {
            (switch.put)(&mut opts);
        }
    }
    if kind.family != INET6 {
        let get =
            |name| Ok::<_, io::Error>(may_lack(int_option(fd, libc::IPPROTO_IP, name))?.map(|value| value as u32));
        opts.tos = get(libc::IP_TOS)?.filter(|&tos| tos != 0);
        opts.ttl = get(libc::IP_TTL)?;
    }
    Ok(opts)
}

/// MPTCP has but few of IP's options.
fn may_lack<T>(asked: io::Result<T>) -> io::Result<Option<T>> {
    match asked {
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        other => other.map(Some),
    }
}

/// What has to be set before the socket is bound.
pub(super) fn set_freebind(fd: BorrowedFd<'_>, family: u32, opts: &IpOptsEntry) -> io::Result<()> {
    FREEBIND.set(fd, family, opts)
}

pub(super) fn let_bind_anywhere(fd: BorrowedFd<'_>, family: u32) -> io::Result<()> {
    set_freebind(fd, family, &IpOptsEntry { freebind: Some(true), ..IpOptsEntry::default() })
}

/// All others.
pub(super) fn set_ip_options(fd: BorrowedFd<'_>, family: u32, opts: &IpOptsEntry, fresh: &Fresh) -> io::Result<()> {
    PKTINFO.set(fd, family, opts)?;
    for (name, value, usual) in [(libc::IP_TOS, opts.tos, Some(0)), (libc::IP_TTL, opts.ttl, fresh.ttl)] {
        let Some(value) = value.filter(|_| family != INET6 && value != usual) else { continue };
        set_int_option(fd, libc::IPPROTO_IP, name, value as i32)?;
    }
    Ok(())
}

/// What sockets of a kind have that nobody has set anything of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fresh {
    ttl: Option<u32>,
    /// As `TCP_KEEP`.
    keep: Option<[u32; 3]>,
}

impl Fresh {
    pub(super) fn of(fd: BorrowedFd<'_>, kind: SocketKind) -> io::Result<Self> {
        let mut fresh = Fresh::default();
        if kind.family != INET6 {
            fresh.ttl = may_lack(int_option(fd, libc::IPPROTO_IP, libc::IP_TTL))?.map(|ttl| ttl as u32);
        }
        if has_tcp_options(kind) {
            let mut keep = [0; 3];
            for (value, name) in keep.iter_mut().zip(TCP_KEEP) {
                *value = int_option(fd, libc::IPPROTO_TCP, name)? as u32;
            }
            fresh.keep = Some(keep);
        }
        Ok(fresh)
    }
}

pub(super) fn is_tcp(kind: SocketKind) -> bool {
    (kind.kind, kind.protocol) == (STREAM, TCP)
}

/// TCP and MPTCP.
pub(super) fn has_tcp_options(kind: SocketKind) -> bool {
    kind.kind == STREAM && matches!(kind.protocol, TCP | MPTCP)
}

const TCP_KEEP: [i32; 3] = [libc::TCP_KEEPCNT, libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL];

pub(super) fn tcp_options(fd: BorrowedFd<'_>) -> io::Result<TcpOptsEntry> {
    let get = |name| int_option(fd, libc::IPPROTO_TCP, name);
    let on = |value: i32| Some(value != 0).filter(|&on| on);
    Ok(TcpOptsEntry {
        cork: on(get(libc::TCP_CORK)?),
        nodelay: on(get(libc::TCP_NODELAY)?),
        keepcnt: Some(get(TCP_KEEP[0])? as u32),
        keepidle: Some(get(TCP_KEEP[1])? as u32),
        keepintvl: Some(get(TCP_KEEP[2])? as u32),
    })
}

pub(super) fn set_tcp_options(fd: BorrowedFd<'_>, opts: &TcpOptsEntry, fresh: &Fresh) -> io::Result<()> {
    let set = |name, value: u32| set_int_option(fd, libc::IPPROTO_TCP, name, value as i32);
    for (at, value) in [opts.keepcnt, opts.keepidle, opts.keepintvl].into_iter().enumerate() {
        let Some(value) = value else { continue };
        if fresh.keep.is_none_or(|usual| usual[at] != value) {
            set(TCP_KEEP[at], value)?;
        }
    }
    for (name, on) in [(libc::TCP_NODELAY, opts.nodelay()), (libc::TCP_CORK, opts.cork())] {
        if on {
            set(name, 1)?;
        }
    }
    Ok(())
}

/// Whether an IPv6 socket speaks IPv6 only.
pub(super) fn v6only(fd: BorrowedFd<'_>, kind: SocketKind) -> io::Result<Option<bool>> {
    if kind.family != INET6 {
        return Ok(None);
    }
    Ok(Some(int_option(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)? != 0))
}
