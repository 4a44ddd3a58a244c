//! Datagrams that nobody has read yet, peeked at the dump: with their senders and with what the kernel tells along with them
//! as the socket's options ask: time to live, type of service, destination. What else it would tell (the time they came at,
//! how they were put together) cannot be had again: then they are refused by name. `resend` brings them back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use criu_images::messages::{InetDatagramEntry, InetSkEntry, SkMoreOptEntry};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::{UDP, address, facts, hidden};
use crate::sys::look_guard::{LookGuard, Looked};
use crate::sys::message::{self, Peeked, Told};
use crate::sys::socket::{option, set_option};

/// The longest datagram there is.
const LONGEST: usize = 65535;
const UDP_HEADER_BYTES: usize = 8;
pub(super) const HINT: &str = "have them read before the dump";
/// Of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Why the queue of a socket could not be restored, as far as its first datagram shows; `None` when it is empty, or can be.
pub(super) fn refusal(fd: BorrowedFd<'_>, isk: &InetSkEntry) -> io::Result<Option<String>> {
    let is = events(fd)?;
    if is.contains(PollFlags::ERR) {
        return Ok(Some("an error that was not read yet cannot be saved".into()));
    }
    // Sockets of ICMP do not tell.
    let first_bytes = rustix::io::ioctl_fionread(fd).unwrap_or(0);
    if isk.proto != UDP {
        let waits = is.contains(PollFlags::IN) && (first_bytes > 0 || !is.contains(PollFlags::RDHUP));
        return Ok(waits.then(|| "datagrams that were not read yet cannot be saved".into()));
    }
    // Empty ones can be looked at only once.
    if first_bytes == 0 || option(fd, libc::SO_PEEK_OFF)? >= 0 {
        return Ok(None);
    }
    let mut buf = vec![0; LONGEST];
    Ok(match message::peek(fd, &mut buf) {
        Ok(first) => entry(&first, &buf[..first.bytes]).err(),
        Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => None,
        Err(e) => return Err(e),
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

/// Looks at all datagrams; the text says why they cannot be saved.
pub(super) fn peek(fd: BorrowedFd<'_>) -> io::Result<Result<Vec<InetDatagramEntry>, String>> {
    if !events(fd)?.contains(PollFlags::IN) {
        return Ok(Ok(Vec::new()));
    }
    let before = option(fd, libc::SO_PEEK_OFF)?;
    let guard = LookGuard::start(&[Looked { fd: fd.as_raw_fd(), peek_off: before, passes_credentials: None }])?;
    set_option(fd, libc::SO_PEEK_OFF, 0)?;
    // Before the look: others go on sending.
    let waiting = hidden::datagrams(fd);
    let found = peek_all(fd);
    set_option(fd, libc::SO_PEEK_OFF, before)?;
    guard.dismiss();
    let found = found?;
    if let Ok(queue) = &found
        && waiting.is_ok_and(|waiting| waiting > queue.len())
    {
        return Ok(Err("an empty datagram that was looked at (MSG_PEEK) and not read cannot be saved".into()));
    }
    Ok(found)
}

fn peek_all(fd: BorrowedFd<'_>) -> io::Result<Result<Vec<InetDatagramEntry>, String>> {
    let mut queue = Vec::new();
    let mut buf = vec![0; LONGEST];
    loop {
        let seen = match message::peek(fd, &mut buf) {
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => return Ok(Ok(queue)),
            other => other?,
        };
        match entry(&seen, &buf[..seen.bytes]) {
            Ok(entry) => queue.push(entry),
            Err(why) => return Ok(Err(why)),
        }
    }
}

fn entry(seen: &Peeked, data: &[u8]) -> Result<InetDatagramEntry, String> {
    let with = |what: &str| format!("datagrams that were not read yet, with {what}, cannot be saved");
    let from = facts::parse_address(&seen.sender).filter(|_| !seen.cut);
    let from = from.ok_or_else(|| with("more than there is room for"))?;
    if matches!(from, SocketAddr::V6(v6) if v6.scope_id() != 0) {
        return Err(with("a sender known by one device only"));
    }
    let mut entry = InetDatagramEntry {
        from_addr: address::words(from.ip()),
        from_port: from.port().into(),
        data: data.to_vec(),
        ..InetDatagramEntry::default()
    };
    seen.control.iter().try_for_each(|told| note(told, &mut entry)).map_err(|what| with(&what))?;
    Ok(entry)
}

/// Puts what is told along with a datagram into its entry, or names what has no place there.
fn note(told: &Told, entry: &mut InetDatagramEntry) -> Result<(), String> {
    const UDP_GRO: i32 = 104;
    let word = |at: usize| told.data.get(at..at + 4).and_then(|w| w.try_into().ok()).map(u32::from_ne_bytes);
    let number = || word(0).or(told.data.first().map(|&b| b.into())).unwrap_or(0);
    let mut to = |device: Option<u32>, ip: Option<IpAddr>| match ip.filter(|ip| is_own(ip.to_canonical())) {
        Some(ip) if device == Some(LOOPBACK_INDEX) => {
            entry.to_addr = address::words(ip);
            Ok(())
        }
        _ => Err("their destination (IP_PKTINFO)".into()),
    };
    match (told.level, told.kind) {
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => entry.ttl = Some(number()),
        (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => entry.tos = Some(number()),
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            return to(word(0), told.data.get(8..12).and_then(|b| b.first_chunk()).map(|b: &[u8; 4]| (*b).into()));
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            return to(word(16), told.data.first_chunk().map(|b: &[u8; 16]| (*b).into()));
        }
        (libc::IPPROTO_IP, 20) | (libc::IPPROTO_IPV6, 74) => {
            return Err("the destination they had at first (IP_RECVORIGDSTADDR)".into());
        }
        (libc::IPPROTO_UDP, UDP_GRO) => return Err("several of them merged to one (UDP_GRO)".into()),
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMP | libc::SCM_TIMESTAMPNS | libc::SCM_TIMESTAMPING | 63..=65) => {
            return Err("the time they came at (SO_TIMESTAMP)".into());
        }
        (level, kind) => return Err(format!("a control message (level {level}, type {kind})")),
    }
    Ok(())
}

/// Whether a packet to this address stays on this host.
fn is_own(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() && ip != Ipv4Addr::new(127, 255, 255, 255),
        IpAddr::V6(ip) => ip == Ipv6Addr::LOCALHOST,
    }
}

/// What of a queue in an image is none.
pub(super) fn check(isk: &InetSkEntry) -> Result<(), String> {
    for d in &isk.queue {
        let sender = address::ip(isk.family, &d.from_addr);
        if isk.proto != UDP || sender.is_none() || d.from_port > 65535 {
            return Err("a datagram without a sender".into());
        }
        if d.data.len() > LONGEST - UDP_HEADER_BYTES - 20 {
            return Err(format!("a datagram of {} bytes", d.data.len()));
        }
        let is_four = |ip: IpAddr| ip.to_canonical().is_ipv4();
        let to = address::ip(isk.family, &d.to_addr);
        let fits = to.is_some_and(|to| is_own(to.to_canonical()) && Some(is_four(to)) == sender.map(is_four));
        if !d.to_addr.is_empty() && !fits {
            return Err("a datagram to an address that is not the host's own".into());
        }
        if [d.ttl, d.tos].into_iter().flatten().any(|n| n > 255) {
            return Err("a datagram with a header that there is not".into());
        }
    }
    Ok(())
}
