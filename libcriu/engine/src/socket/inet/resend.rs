//! Datagrams that were not read yet are sent to a fresh socket in their senders' names, over the loopback device.
//!
//! That is the first thing that happens to it, at a port that the kernel has chosen: so it does not matter what the socket is
//! bound and connected to later, with whom it shares its port, and what its filters let through. It gives the port up and
//! keeps what it has got.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use criu_images::messages::{InetDatagramEntry, InetSkEntry};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, connect_unspec, ipproto, sendto, socket_with};

use super::{INET6, UDP, address, facts};
use crate::sys::socket::{attach_filter, option_bytes, set_int_option, set_option};

const UDP_HEADER_BYTES: usize = 8;
/// As libsoccr's: passes a network lock.
const MARK: i32 = 0xC114;
const HOP_LIMIT: u8 = 64;
/// How long a packet may take over the loopback device.
const PATIENCE: Duration = Duration::from_secs(2);

/// Has a fresh socket receive its datagrams again.
pub(super) fn fill(fd: BorrowedFd<'_>, isk: &InetSkEntry) -> io::Result<()> {
    if isk.queue.is_empty() {
        return Ok(());
    }
    if isk.family == INET6 {
        set_int_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    }
    // Both may be refused: then as many have to fit in as usually do.
    let room = i32::MAX / 2;
    let _ = set_option(fd, libc::SO_RCVBUFFORCE, room).or_else(|_| set_option(fd, libc::SO_RCVBUF, room));
    hear_marked(fd)?;
    // What comes in while nobody asks for destinations does not have them.
    let asks = isk.queue.iter().any(|d| !d.to_addr.is_empty());
    let (level, destinations) = match isk.family {
        INET6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        _ => (libc::IPPROTO_IP, libc::IP_PKTINFO),
    };
    set_int_option(fd, level, destinations, asks.into())?;
    let port = choose_port(fd)?;
    for d in &isk.queue {
        let before = held_bytes(fd)?;
        send(d, isk.family, port)?;
        let end = Instant::now() + PATIENCE;
        while held_bytes(fd)? == before {
            if Instant::now() > end {
                return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    connect_unspec(fd)?;
    set_int_option(fd, level, destinations, 0)?;
    set_option(fd, libc::SO_DETACH_FILTER, 0)
}

/// Nothing but what has the mark is to come in meanwhile.
fn hear_marked(fd: BorrowedFd<'_>) -> io::Result<()> {
    const PACKET_MARK: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_MARK) as u32;
    let code = |bits: u32| bits as u16;
    attach_filter(
        fd,
        &mut [
            libc::sock_filter { code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), jt: 0, jf: 0, k: PACKET_MARK },
            libc::sock_filter { code: code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), jt: 0, jf: 1, k: MARK as u32 },
            libc::sock_filter { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k: u32::MAX },
            libc::sock_filter { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k: 0 },
        ],
    )
}

/// A socket that sends has a port, one of the kernel's choice, which is given up with its peer. Nothing can be sent to port 0.
fn choose_port(fd: BorrowedFd<'_>) -> io::Result<u16> {
    let nobody = SocketAddr::new(loopback(facts::local(fd)?.is_ipv4()), 0);
    match sendto(fd, &[], SendFlags::empty(), &nobody) {
        Err(rustix::io::Errno::INVAL) => Ok(facts::local(fd)?.port()),
        Err(e) => Err(e.into()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

fn loopback(v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// Memory of the receive queue.
fn held_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const SO_MEMINFO: i32 = 55;
    let info = option_bytes(fd, libc::SOL_SOCKET, SO_MEMINFO, 36)?;
    let first = info.get(..4).and_then(|b| b.try_into().ok());
    first.map(u32::from_ne_bytes).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
}

fn send(d: &InetDatagramEntry, family: u32, port: u16) -> io::Result<()> {
    let wrong = || io::Error::from_raw_os_error(libc::EINVAL);
    let from = address::ip(family, &d.from_addr).ok_or_else(wrong)?.to_canonical();
    let to = address::ip(family, &d.to_addr).map_or_else(|| loopback(from.is_ipv4()), |to| to.to_canonical());
    let (family, packet) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (AddressFamily::INET, ipv4(from, to, port, d)),
        (IpAddr::V6(from), IpAddr::V6(to)) => (AddressFamily::INET6, ipv6(from, to, port, d)),
        _ => return Err(wrong()),
    };
    let raw = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?;
    set_option(raw.as_fd(), libc::SO_MARK, MARK)?;
    sendto(&raw, &packet, SendFlags::empty(), &SocketAddr::new(to, 0))?;
    Ok(())
}

fn udp(d: &InetDatagramEntry, to_port: u16, sum: u16) -> Vec<u8> {
    let mut udp = Vec::with_capacity(UDP_HEADER_BYTES + d.data.len());
    udp.extend((d.from_port as u16).to_be_bytes());
    udp.extend(to_port.to_be_bytes());
    udp.extend(((UDP_HEADER_BYTES + d.data.len()) as u16).to_be_bytes());
    udp.extend(sum.to_be_bytes());
    udp.extend(&d.data);
    udp
}

/// Hops left, and type of service.
fn header(d: &InetDatagramEntry) -> (u8, u8) {
    (d.ttl.map_or(HOP_LIMIT, |ttl| ttl as u8), d.tos.unwrap_or(0) as u8)
}

fn ipv4(source: Ipv4Addr, to: Ipv4Addr, port: u16, d: &InetDatagramEntry) -> Vec<u8> {
    let (ttl, tos) = header(d);
    let mut packet = vec![0x45, tos];
    packet.extend(((20 + UDP_HEADER_BYTES + d.data.len()) as u16).to_be_bytes());
    // Identification, flags and offset, then the checksum, which the kernel fills in.
    packet.extend([0, 0, 0x40, 0, ttl, UDP as u8, 0, 0]);
    packet.extend(source.octets());
    packet.extend(to.octets());
    // Over IPv4 a datagram may do without a checksum.
    packet.extend(udp(d, port, 0));
    packet
}

fn ipv6(source: Ipv6Addr, to: Ipv6Addr, port: u16, d: &InetDatagramEntry) -> Vec<u8> {
    let (ttl, tos) = header(d);
    let length = (UDP_HEADER_BYTES + d.data.len()) as u16;
    let mut summed = [source.octets(), to.octets()].concat();
    summed.extend(u32::from(length).to_be_bytes());
    summed.extend([0, 0, 0, UDP as u8]);
    summed.extend(udp(d, port, 0));
    // Zero would mean none.
    let sum = match checksum(&summed) {
        0 => 0xffff,
        sum => sum,
    };
    let mut packet = vec![0x60 | tos >> 4, tos << 4, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([UDP as u8, ttl]);
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(udp(d, port, sum));
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
