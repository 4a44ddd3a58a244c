//! Options of IP, IPv6, TCP, UDP and raw sockets, one row for each. What differs from a fresh socket of the same kind is
//! kept; a row that a kernel or a kind of socket does not know costs nothing.
//!
//! Not here: what `SkOptsEntry`, `IpOptsEntry` and `TcpOptsEntry` have fields for, and what cannot be asked for (`hidden`).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use criu_images::messages::SkMoreOptEntry;
use rustix::net::{AddressFamily, Protocol, RawProtocol, SocketFlags, SocketType, socket_with};

use super::{INET, INET6, STREAM, facts};
use crate::sys::socket::{option_bytes, set_option_bytes};

/// When an option means something that is worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// Has to be there before the socket is bound.
    Early,
    /// In a connection the kernel's own number is seen instead.
    Unconnected,
    /// In a connection the kernel notes something of its own there.
    Datagram,
    DatagramFamily(u32),
    /// Only in sockets of this family; the other one has a field of CRIU's for it.
    Family(u32),
    EarlyFamily(u32),
}

#[derive(Clone, Copy, Debug)]
struct Row {
    level: i32,
    name: i32,
    room: usize,
    when: When,
}

impl Row {
    /// TCP_MAXSEG as nobody has set it: options of IP (IP_OPTIONS) take their room from it before there is a route, and a
    /// connection that was taken back (connect to AF_UNSPEC) leaves its own.
    fn is_the_kernels(&self, fd: BorrowedFd<'_>, value: &[u8]) -> bool {
        const TCP_MIN_MSS: u32 = 88;
        let number = value.try_into().map(u32::from_ne_bytes);
        let is_used = |n| facts::tcp_info(fd).is_ok_and(|info| info.segment_bytes == n);
        (self.level, self.name) == (SOL_TCP, libc::TCP_MAXSEG) && number.is_ok_and(|n| n < TCP_MIN_MSS || is_used(n))
    }
}

const fn rows<const N: usize>(level: i32, when: When, names: [i32; N]) -> [Row; N] {
    let mut all = [Row { level, name: 0, room: 4, when }; N];
    let mut i = 0;
    while i < N {
        all[i].name = names[i];
        i += 1;
    }
    all
}

const fn bytes(level: i32, name: i32, room: usize, when: When) -> Row {
    Row { level, name, room, when }
}

const SOL_IP: i32 = libc::IPPROTO_IP;
const SOL_IPV6: i32 = libc::IPPROTO_IPV6;
const SOL_TCP: i32 = libc::IPPROTO_TCP;
const SOL_UDP: i32 = libc::IPPROTO_UDP;
const SOL_UDPLITE: i32 = 136;
const SOL_RAW: i32 = 255;
const SOL_ICMPV6: i32 = libc::IPPROTO_ICMPV6;

/// By number, as in asm-generic/socket.h: SO_DEBUG, SO_RXQ_OVFL, SO_WIFI_STATUS, SO_SELECT_ERR_QUEUE, SO_BUSY_POLL,
/// SO_ZEROCOPY, SO_PREFER_BUSY_POLL, SO_BUSY_POLL_BUDGET, SO_RESERVE_MEM, SO_TXREHASH, SO_RCVMARK, SO_RCVPRIORITY;
/// SO_TIMESTAMP, SO_TIMESTAMPNS and their forms with 64 bits.
const SOCKET: [Row; 16] =
    rows(libc::SOL_SOCKET, When::Always, [1, 40, 41, 45, 46, 60, 69, 70, 73, 74, 75, 82, 29, 35, 63, 64]);
/// SO_MAX_PACING_RATE; SO_TIMESTAMPING in both forms; SO_TXTIME.
const SOCKET_LONG: [Row; 4] = [
    bytes(libc::SOL_SOCKET, 47, 8, When::Always),
    bytes(libc::SOL_SOCKET, 37, 8, When::Always),
    bytes(libc::SOL_SOCKET, 65, 8, When::Always),
    bytes(libc::SOL_SOCKET, 61, 8, When::Always),
];
/// RECVOPTS, RETOPTS, MTU_DISCOVER, RECVERR, RECVTTL, RECVTOS, PASSSEC, RECVORIGDSTADDR, MINTTL, RECVFRAGSIZE,
/// RECVERR_RFC4884, UNICAST_IF.
const IP: [Row; 12] = rows(SOL_IP, When::Always, [6, 7, 10, 11, 12, 13, 18, 20, 21, 25, 26, 50]);
/// MULTICAST_TTL, MULTICAST_LOOP, MULTICAST_ALL, MULTICAST_IF (an address).
const IP_MULTICAST: [Row; 4] = rows(SOL_IP, When::Datagram, [33, 34, 49, 32]);
/// TRANSPARENT, BIND_ADDRESS_NO_PORT, LOCAL_PORT_RANGE.
const IP_EARLY: [Row; 3] = rows(SOL_IP, When::Early, [19, 24, 51]);
/// TOS, TTL, PKTINFO of an IPv6 socket that speaks IPv4.
const IP_OF_IPV6: [Row; 3] = rows(SOL_IP, When::Family(INET6), [1, 2, 8]);
const IP_FREEBIND_OF_IPV6: [Row; 1] = rows(SOL_IP, When::EarlyFamily(INET6), [15]);
/// IP_OPTIONS.
const IP_LONG: [Row; 1] = [bytes(SOL_IP, 4, 40, When::Family(INET))];
/// 2292PKTINFO, 2292HOPOPTS, 2292DSTOPTS, 2292RTHDR, 2292HOPLIMIT; CHECKSUM, UNICAST_HOPS, MTU_DISCOVER, RECVERR,
/// RECVERR_RFC4884.
const IPV6: [Row; 10] = rows(SOL_IPV6, When::Family(INET6), [2, 3, 4, 5, 8, 7, 16, 23, 25, 31]);
/// MULTICAST_IF, MULTICAST_HOPS, MULTICAST_LOOP, MULTICAST_ALL.
const IPV6_MULTICAST: [Row; 4] = rows(SOL_IPV6, When::DatagramFamily(INET6), [17, 18, 19, 29]);
/// FLOWINFO_SEND, HDRINCL, RECVHOPLIMIT, RECVHOPOPTS, RECVRTHDR, RECVDSTOPTS, RECVPATHMTU, DONTFRAG, RECVTCLASS, TCLASS,
/// AUTOFLOWLABEL, ADDR_PREFERENCES, MINHOPCOUNT, ORIGDSTADDR, UNICAST_IF, RECVFRAGSIZE, FLOWINFO.
const IPV6_MORE: [Row; 17] =
    rows(SOL_IPV6, When::Family(INET6), [33, 36, 51, 53, 56, 58, 60, 62, 66, 67, 70, 72, 73, 74, 76, 77, 11]);
/// IPV6_TRANSPARENT.
const IPV6_EARLY: [Row; 1] = rows(SOL_IPV6, When::EarlyFamily(INET6), [75]);
/// Extension headers: HOPOPTS, RTHDRDSTOPTS, RTHDR, DSTOPTS.
const IPV6_LONG: [Row; 4] = [
    bytes(SOL_IPV6, 54, 2048, When::Family(INET6)),
    bytes(SOL_IPV6, 55, 2048, When::Family(INET6)),
    bytes(SOL_IPV6, 57, 2048, When::Family(INET6)),
    bytes(SOL_IPV6, 59, 2048, When::Family(INET6)),
];
/// SYNCNT, LINGER2, DEFER_ACCEPT, THIN_LINEAR_TIMEOUTS, USER_TIMEOUT, NOTSENT_LOWAT, SAVE_SYN, FASTOPEN_NO_COOKIE, INQ,
/// TX_DELAY, RTO_MAX_MS, RTO_MIN_US, DELACK_MAX_US.
const TCP: [Row; 13] = rows(SOL_TCP, When::Always, [7, 8, 9, 16, 18, 25, 27, 34, 36, 37, 44, 45, 46]);
/// MAXSEG, WINDOW_CLAMP, FASTOPEN, FASTOPEN_CONNECT.
const TCP_UNCONNECTED: [Row; 4] = rows(SOL_TCP, When::Unconnected, [2, 10, 23, 30]);
/// CONGESTION, FASTOPEN_KEY.
const TCP_LONG: [Row; 2] = [bytes(SOL_TCP, 13, 16, When::Always), bytes(SOL_TCP, 33, 32, When::Unconnected)];
/// CORK, ENCAP, NO_CHECK6_TX, NO_CHECK6_RX, SEGMENT, GRO.
const UDP: [Row; 6] = rows(SOL_UDP, When::Always, [1, 100, 101, 102, 103, 104]);
/// UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV.
const UDPLITE: [Row; 2] = rows(SOL_UDPLITE, When::Always, [10, 11]);
/// ICMPV6_FILTER; of IPv4 IP_HDRINCL, IP_NODEFRAG and ICMP_FILTER.
const RAW: [Row; 4] = [
    bytes(SOL_ICMPV6, 1, 32, When::Family(INET6)),
    bytes(SOL_IP, 3, 4, When::Always),
    bytes(SOL_IP, 22, 4, When::Family(INET)),
    bytes(SOL_RAW, 1, 4, When::Family(INET)),
];

const TABLE: &[&[Row]] = &[
    &SOCKET,
    &SOCKET_LONG,
    &IP,
    &IP_MULTICAST,
    &IP_EARLY,
    &IP_OF_IPV6,
    &IP_FREEBIND_OF_IPV6,
    &IP_LONG,
    &IPV6,
    &IPV6_MULTICAST,
    &IPV6_MORE,
    &IPV6_EARLY,
    &IPV6_LONG,
    &TCP,
    &TCP_UNCONNECTED,
    &TCP_LONG,
    &UDP,
    &UDPLITE,
    &RAW,
];

/// What decides which options a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SocketKind {
    pub family: u32,
    pub kind: u32,
    pub protocol: u32,
}

impl SocketKind {
    /// A fresh socket, close-on-exec.
    pub(super) fn socket(self) -> io::Result<std::os::fd::OwnedFd> {
        let family = AddressFamily::from_raw(self.family as u16);
        let protocol = RawProtocol::new(self.protocol).map(Protocol::from_raw);
        Ok(socket_with(family, SocketType::from_raw(self.kind), SocketFlags::CLOEXEC, protocol)?)
    }

    fn has(self, row: &Row) -> bool {
        match row.when {
            When::Family(family) | When::EarlyFamily(family) => family == self.family,
            When::Datagram => self.kind != STREAM,
            When::DatagramFamily(family) => family == self.family && self.kind != STREAM,
            When::Always | When::Early | When::Unconnected => true,
        }
    }
}

/// Values of fresh sockets, which are not worth keeping.
#[derive(Debug, Default)]
pub(super) struct Usual {
    values: HashMap<SocketKind, Vec<(Row, Vec<u8>)>>,
}

impl Usual {
    /// The options of `fd` that differ from those of a fresh socket of its kind.
    pub(super) fn differing(
        &mut self,
        fd: BorrowedFd<'_>,
        kind: SocketKind,
        connected: bool,
    ) -> io::Result<Vec<SkMoreOptEntry>> {
        let usual = match self.values.entry(kind) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let fresh = kind.socket()?;
                let rows = TABLE.iter().copied().flatten().filter(|r| kind.has(r));
                // An option that a fresh socket does not answer is none of its kind.
                let values =
                    rows.filter_map(|r| Some((*r, option_bytes(fresh.as_fd(), r.level, r.name, r.room).ok()?)));
                new.insert(values.collect())
            }
        };
        let mut found = Vec::new();
        for (row, fresh) in usual.iter().filter(|(row, _)| !(connected && row.when == When::Unconnected)) {
            let value = option_bytes(fd, row.level, row.name, row.room)?;
            if value != *fresh && !row.is_the_kernels(fd, &value) {
                found.push(SkMoreOptEntry { level: row.level as u32, name: row.name as u32, value });
            }
        }
        Ok(found)
    }
}

fn row(option: &SkMoreOptEntry) -> Option<&'static Row> {
    let same = |r: &&Row| (r.level as u32, r.name as u32) == (option.level, option.name);
    TABLE.iter().copied().flatten().find(same)
}

/// Refuses options of an image that are none of the table's.
pub(super) fn check(options: &[SkMoreOptEntry]) -> Result<(), String> {
    let wrong = options.iter().find(|o| row(o).is_none_or(|r| o.value.len() > r.room));
    match wrong {
        None => Ok(()),
        Some(o) => Err(format!("option {} of level {} ({} bytes) is not known", o.name, o.level, o.value.len())),
    }
}

/// Sets those that have to be there before the socket is bound, or the others.
///
/// # Errors
/// The level and name of the option, and what the kernel said.
pub(super) fn set(fd: BorrowedFd<'_>, options: &[SkMoreOptEntry], early: bool) -> Result<(), (String, io::Error)> {
    let is_early = |o: &&SkMoreOptEntry| row(o).is_some_and(|r| matches!(r.when, When::Early | When::EarlyFamily(_)));
    for o in options.iter().filter(|o| is_early(o) == early) {
        set_option_bytes(fd, o.level as i32, o.name as i32, &o.value)
            .map_err(|e| (format!("setsockopt level {} option {}", o.level, o.name), e))?;
    }
    Ok(())
}
