//! Datagrams that nobody has read yet: peeked at the dump with their senders; at the restore sent to the socket again, in the
//! sender's name, over the loopback device.
//!
//! Where the destination matters (a socket for every address that asks for it) or the packet was put together from several
//! (UDP_GRO), a queue that is not empty is refused by name.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use criu_images::messages::{InetDatagramEntry, InetSkEntry, SkMoreOptEntry};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags, SocketFlags, SocketType, ipproto, recvmsg,
    sendto, socket_with,
};
use rustix::time::Timespec;

use super::address::{self, Addresses};
use super::{UDP, facts};
use crate::sys::socket::{int_option, option, option_bytes, set_option};

/// The longest datagram there is.
const LONGEST: usize = 65535;
const UDP_HEADER_BYTES: usize = 8;
/// As libsoccr's: passes a network lock.
const MARK: i32 = 0xC114;
const HOP_LIMIT: u8 = 255;
/// How long a packet may take over the loopback device.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why the queue of a socket could not be restored; `None` when it is empty, or can be.
pub(super) fn refusal(fd: BorrowedFd<'_>, isk: &InetSkEntry) -> io::Result<Option<&'static str>> {
    let is = events(fd)?;
    if is.contains(PollFlags::ERR) {
        return Ok(Some("an error that was not read yet cannot be saved"));
    }
    if !is.contains(PollFlags::IN) || is.contains(PollFlags::RDHUP) {
        return Ok(None);
    }
    const UDP_GRO: i32 = 104;
    let is_merged = int_option(fd, libc::IPPROTO_UDP, UDP_GRO).is_ok_and(|on| on != 0);
    let wildcard = facts::local(fd)?.ip().is_unspecified();
    let tells_destination = isk.ip_opts.as_ref().is_some_and(|o| o.pktinfo());
    Ok(match isk {
        _ if isk.proto != UDP => Some("datagrams that were not read yet cannot be saved"),
        _ if isk.ifname.is_some() => Some("datagrams that were not read yet, from one device, cannot be saved"),
        _ if is_merged => Some("merged datagrams (UDP_GRO) that were not read yet cannot be saved"),
        _ if wildcard && tells_destination => {
            Some("the destination of datagrams that were not read yet cannot be saved")
        }
        _ => None,
    })
}

/// Why a connection's queue of errors cannot be saved. Notifications and times of what it has sent wait there.
pub(super) fn refusal_of_stream(fd: BorrowedFd<'_>, isk: &InetSkEntry) -> io::Result<Option<&'static str>> {
    const FILLED_BY: [(i32, i32); 5] = [
        (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPING),
        (libc::SOL_SOCKET, 65), // SO_TIMESTAMPING_NEW
        (libc::IPPROTO_IP, libc::IP_RECVERR),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    ];
    let fills = |o: &SkMoreOptEntry| FILLED_BY.contains(&(o.level as i32, o.name as i32));
    if !isk.more_opts.iter().any(fills) || !has_error(fd)? {
        return Ok(None);
    }
    Ok(Some("its queue of errors (MSG_ERRQUEUE), which was not read yet, cannot be saved"))
}

/// Whether an error waits to be told.
pub(super) fn has_error(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(events(fd)?.contains(PollFlags::ERR))
}

fn events(fd: BorrowedFd<'_>) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN | PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(fds[0].revents())
}

/// Looks at all datagrams.
pub(super) fn peek(fd: BorrowedFd<'_>) -> io::Result<Vec<InetDatagramEntry>> {
    let is = events(fd)?;
    if !is.contains(PollFlags::IN) || is.contains(PollFlags::RDHUP) {
        return Ok(Vec::new());
    }
    let before = option(fd, libc::SO_PEEK_OFF)?;
    set_option(fd, libc::SO_PEEK_OFF, 0)?;
    let found = peek_all(fd);
    set_option(fd, libc::SO_PEEK_OFF, before)?;
    found
}

fn peek_all(fd: BorrowedFd<'_>) -> io::Result<Vec<InetDatagramEntry>> {
    let mut queue = Vec::new();
    let mut buf = vec![0; LONGEST];
    loop {
        let mut none = RecvAncillaryBuffer::default();
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let seen = match recvmsg(fd, &mut [IoSliceMut::new(&mut buf)], &mut none, flags) {
            Ok(seen) => seen,
            Err(rustix::io::Errno::AGAIN) => return Ok(queue),
            Err(e) => return Err(e.into()),
        };
        let from = seen.address.map(SocketAddr::try_from).transpose()?;
        let (Some(from), false) = (from, seen.flags.contains(ReturnFlags::TRUNC)) else {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        };
        let data = buf[..seen.bytes].to_vec();
        queue.push(InetDatagramEntry { from_addr: address::words(from.ip()), from_port: from.port().into(), data });
    }
}

/// What of a queue in an image is none.
pub(super) fn check(isk: &InetSkEntry) -> Result<(), String> {
    for d in &isk.queue {
        if isk.proto != UDP || address::ip(isk.family, &d.from_addr).is_none() || d.from_port > 65535 {
            return Err("a datagram without a sender".into());
        }
        if d.data.len() > LONGEST - UDP_HEADER_BYTES - 20 {
            return Err(format!("a datagram of {} bytes", d.data.len()));
        }
    }
    Ok(())
}

/// Has the socket receive its datagrams again.
pub(super) fn fill(fd: BorrowedFd<'_>, isk: &InetSkEntry, addresses: &Addresses) -> io::Result<()> {
    for d in &isk.queue {
        let ip = address::ip(isk.family, &d.from_addr).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let from = SocketAddr::new(ip, d.from_port as u16);
        let before = held_bytes(fd)?;
        send(&from, &addresses.local, &d.data)?;
        let end = Instant::now() + PATIENCE;
        while held_bytes(fd)? == before {
            if Instant::now() > end {
                return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    Ok(())
}

/// Memory of the receive queue.
fn held_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const SO_MEMINFO: i32 = 55;
    let info = option_bytes(fd, libc::SOL_SOCKET, SO_MEMINFO, 36)?;
    let first = info.get(..4).and_then(|b| b.try_into().ok());
    first.map(u32::from_ne_bytes).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
}

fn send(from: &SocketAddr, local: &SocketAddr, data: &[u8]) -> io::Result<()> {
    let (packet, to) = match from.ip().to_canonical() {
        IpAddr::V4(source) => {
            let to = match local.ip().to_canonical() {
                IpAddr::V4(ip) if !ip.is_unspecified() => ip,
                _ => Ipv4Addr::LOCALHOST,
            };
            (ipv4(source, to, from.port(), local.port(), data), SocketAddr::new(to.into(), 0))
        }
        IpAddr::V6(source) => {
            let to = match local {
                SocketAddr::V6(v6) if !v6.ip().is_unspecified() => *v6.ip(),
                _ => Ipv6Addr::LOCALHOST,
            };
            let mut target = *local;
            target.set_ip(to.into());
            target.set_port(0);
            (ipv6(source, to, from.port(), local.port(), data), target)
        }
    };
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let raw = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?;
    set_option(raw.as_fd(), libc::SO_MARK, MARK)?;
    sendto(&raw, &packet, SendFlags::empty(), &to)?;
    Ok(())
}

fn udp(from: u16, to: u16, sum: u16, data: &[u8]) -> Vec<u8> {
    let mut udp = Vec::with_capacity(UDP_HEADER_BYTES + data.len());
    udp.extend(from.to_be_bytes());
    udp.extend(to.to_be_bytes());
    udp.extend(((UDP_HEADER_BYTES + data.len()) as u16).to_be_bytes());
    udp.extend(sum.to_be_bytes());
    udp.extend(data);
    udp
}

fn ipv4(source: Ipv4Addr, to: Ipv4Addr, from_port: u16, to_port: u16, data: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(((20 + UDP_HEADER_BYTES + data.len()) as u16).to_be_bytes());
    // Identification, flags and offset, then the checksum, which the kernel fills in.
    packet.extend([0, 0, 0x40, 0, HOP_LIMIT, UDP as u8, 0, 0]);
    packet.extend(source.octets());
    packet.extend(to.octets());
    // Over IPv4 a datagram may do without a checksum.
    packet.extend(udp(from_port, to_port, 0, data));
    packet
}

fn ipv6(source: Ipv6Addr, to: Ipv6Addr, from_port: u16, to_port: u16, data: &[u8]) -> Vec<u8> {
    let length = (UDP_HEADER_BYTES + data.len()) as u16;
    let bare = udp(from_port, to_port, 0, data);
    let mut summed = [source.octets(), to.octets()].concat();
    summed.extend(u32::from(length).to_be_bytes());
    summed.extend([0, 0, 0, UDP as u8]);
    summed.extend(&bare);
    // Zero would mean none.
    let sum = match checksum(&summed) {
        0 => 0xffff,
        sum => sum,
    };
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([UDP as u8, HOP_LIMIT]);
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(udp(from_port, to_port, sum, data));
    packet
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |w: &[u8]| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
