//! What netlink tells of sockets: of unix sockets names, peers, states, queues; of internet sockets what was shut down, and
//! keys. One question for all of a kind.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use criu_images::messages::PacketRing;

use crate::numbers::ByNumber;
use crate::sys::socket::{inet_diag, packet_diag, unix_diag};

/// One unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnixSocket {
    /// SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_SEQPACKET 5.
    pub kind: u8,
    /// As of TCP: 1 established, 7 closed, 10 listening.
    pub state: u8,
    /// Absent for none, empty for one bound to nothing in particular.
    pub name: Option<Vec<u8>>,
    /// Inode number and file system of the file it is bound to.
    pub file: Option<(u32, u32)>,
    /// Of a listening one: inodes of the clients that wait to be accepted, in that order; 0 for a client that is gone.
    pub waiting: Vec<u32>,
    /// Inode of the peer; 0 when the peer has no descriptor: closed, or not accepted yet.
    pub peer: Option<u32>,
    /// Unread bytes (of datagrams: of the first), or connections waiting to be accepted.
    pub rqueue: u32,
    /// Memory of what it has sent and nobody read, or the backlog of a listening one.
    pub wqueue: u32,
    /// 1: does not receive, 2: does not send.
    pub shutdown: u8,
}

const NAME: u16 = 0;
const VFS: u16 = 1;
const PEER: u16 = 2;
const ICONS: u16 = 3;
const RQLEN: u16 = 4;
const SHUTDOWN: u16 = 6;
const SHOW_NAME: u32 = 1;
const SHOW_VFS: u32 = 2;
const SHOW_PEER: u32 = 4;
const SHOW_ICONS: u32 = 8;
const SHOW_RQLEN: u32 = 16;

/// Every unix socket of the engine's network namespace, by inode.
pub(crate) fn unix_sockets() -> io::Result<ByNumber<u32, UnixSocket>> {
    let mut sockets = ByNumber::default();
    unix_diag(SHOW_NAME | SHOW_VFS | SHOW_PEER | SHOW_ICONS | SHOW_RQLEN, |body| {
        if let Some((ino, socket)) = parse(body) {
            sockets.insert(ino, socket);
        }
    })?;
    Ok(sockets)
}

pub(super) fn parse(body: &[u8]) -> Option<(u32, UnixSocket)> {
    let mut socket = UnixSocket { kind: *body.get(1)?, state: *body.get(2)?, ..UnixSocket::default() };
    let ino = word(body, 4)?;
    let mut rest = body.get(16..)?;
    while let (Some(len), Some(kind)) = (half(rest, 0).map(usize::from), half(rest, 2)) {
        let Some(value) = rest.get(4..len) else { break };
        match kind {
            NAME => socket.name = Some(value.to_vec()),
            VFS => socket.file = word(value, 0).zip(word(value, 4)),
            ICONS => socket.waiting = value.chunks_exact(4).filter_map(|w| word(w, 0)).collect(),
            PEER => socket.peer = word(value, 0),
            RQLEN => (socket.rqueue, socket.wqueue) = (word(value, 0)?, word(value, 4)?),
            SHUTDOWN => socket.shutdown = *value.first()?,
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Some((ino, socket))
}

/// One packet socket.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PacketSocket {
    /// SOCK_RAW 3, SOCK_DGRAM 2, SOCK_PACKET 10.
    pub kind: u8,
    pub protocol: u16,
    /// Of the device it is bound to; 0 for any.
    pub index: u32,
    pub copy_thresh: u32,
    pub members: Vec<PacketMember>,
    /// Sizes alone.
    pub rx_ring: Option<PacketRing>,
    pub tx_ring: Option<PacketRing>,
    /// Number and type (from bit 16 on) of its group.
    pub fanout: Option<u32>,
}

/// A membership (PACKET_ADD_MEMBERSHIP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PacketMember {
    pub index: u32,
    /// How often it was asked for.
    pub count: u32,
    pub kind: u32,
    pub address: Vec<u8>,
}

const PACKET_INFO: u16 = 0;
const PACKET_MEMBERS: u16 = 1;
const PACKET_RX_RING: u16 = 2;
const PACKET_TX_RING: u16 = 3;
const PACKET_FANOUT: u16 = 4;
/// Info, members, rings, fanout.
const SHOW_OF_PACKET: u32 = 1 | 2 | 4 | 8;
/// `struct packet_diag_mclist`.
const MEMBER_BYTES: usize = 44;

/// Every packet socket of the engine's network namespace, by inode.
pub(crate) fn packet_sockets() -> io::Result<HashMap<u32, PacketSocket>> {
    let mut sockets = HashMap::new();
    packet_diag(SHOW_OF_PACKET, |body| {
        if let Some((ino, socket)) = parse_packet(body) {
            sockets.insert(ino, socket);
        }
    })?;
    Ok(sockets)
}

fn parse_packet(body: &[u8]) -> Option<(u32, PacketSocket)> {
    let mut socket = PacketSocket { kind: *body.get(1)?, protocol: half(body, 2)?, ..PacketSocket::default() };
    let ino = word(body, 4)?;
    let mut rest = body.get(16..)?;
    while let (Some(len), Some(kind)) = (half(rest, 0).map(usize::from), half(rest, 2)) {
        let Some(value) = rest.get(4..len) else { break };
        match kind {
            PACKET_INFO => (socket.index, socket.copy_thresh) = (word(value, 0)?, word(value, 12)?),
            PACKET_MEMBERS => socket.members = value.chunks_exact(MEMBER_BYTES).filter_map(member).collect(),
            PACKET_RX_RING => socket.rx_ring = ring(value),
            PACKET_TX_RING => socket.tx_ring = ring(value),
            PACKET_FANOUT => socket.fanout = word(value, 0),
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Some((ino, socket))
}

/// `struct packet_diag_ring`
fn ring(r: &[u8]) -> Option<PacketRing> {
    Some(PacketRing {
        block_size: word(r, 0)?,
        block_nr: word(r, 4)?,
        frame_size: word(r, 8)?,
        frame_nr: word(r, 12)?,
        retire_tmo: word(r, 16)?,
        sizeof_priv: word(r, 20)?,
        features: word(r, 24)?,
        ..PacketRing::default()
    })
}

fn member(m: &[u8]) -> Option<PacketMember> {
    let len = usize::from(half(m, 10)?);
    Some(PacketMember {
        index: word(m, 0)?,
        count: word(m, 4)?,
        kind: half(m, 8)?.into(),
        address: m.get(12..12 + len)?.to_vec(),
    })
}

fn word(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

fn half(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(b.get(at..at + 2)?.try_into().ok()?))
}

/// What netlink tells of internet sockets, asked for once for each protocol when the first of its sockets is met.
#[derive(Debug, Default)]
pub(crate) struct InetSockets {
    tcp: Option<TcpSockets>,
    /// By protocol and inode: as `UnixSocket::shutdown`.
    shutdown: HashMap<u32, HashMap<u32, u8>>,
}

/// One TCP socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpSocket {
    pub state: u32,
    pub local: SocketAddr,
    /// All zero without one.
    pub peer: SocketAddr,
    /// As `UnixSocket::shutdown`.
    pub shutdown: u8,
    /// Keys sign its segments.
    pub has_md5_keys: bool,
}

#[derive(Debug, Default)]
struct TcpSockets {
    /// By inode.
    known: HashMap<u32, TcpSocket>,
    /// Local addresses of connections whose handshake is not complete.
    half_open: Vec<SocketAddr>,
}

const SHUTDOWN_OF_INET: u16 = 8;
const V6ONLY: u16 = 11;
const MD5_KEYS: u16 = 18;
const SYN_RECV: u8 = 3;
const LISTEN: u8 = 10;
const TIME_WAIT: u32 = 6;
const NEW_SYN_RECV: u32 = 12;
/// Keys come along with this.
const INFO: u16 = 2;
const EXTENSIONS: u8 = 1 << (SHUTDOWN_OF_INET - 1) | 1 << (INFO - 1);

impl InetSockets {
    /// The TCP socket with this inode; `None` for one that netlink does not know (not bound).
    pub(crate) fn tcp_socket(&mut self, ino: u32) -> io::Result<Option<TcpSocket>> {
        Ok(self.tcp()?.known.get(&ino).copied())
    }

    /// How many handshakes with the socket that listens at `local` are not complete.
    pub(crate) fn half_open(&mut self, local: SocketAddr) -> io::Result<u32> {
        Ok(self.tcp()?.half_open.iter().filter(|at| is_for(local, at)).count() as u32)
    }

    /// What was shut down of a socket of `protocol`; 0 for one that netlink does not know (not bound).
    pub(crate) fn shutdown(&mut self, protocol: u32, ino: u32) -> io::Result<u8> {
        if let Some(known) = self.shutdown.get(&protocol) {
            return Ok(known.get(&ino).copied().unwrap_or(0));
        }
        let mut known = HashMap::new();
        ask(protocol, u32::MAX, 0, |m| {
            known.insert(m.ino, m.shutdown);
        })?;
        let found = known.get(&ino).copied().unwrap_or(0);
        self.shutdown.insert(protocol, known);
        Ok(found)
    }

    fn tcp(&mut self) -> io::Result<&TcpSockets> {
        if self.tcp.is_none() {
            let mut found = TcpSockets::default();
            ask(libc::IPPROTO_TCP as u32, !(1 << TIME_WAIT) & ((1 << (NEW_SYN_RECV + 1)) - 1), 0, |m| {
                if m.state == SYN_RECV {
                    found.half_open.push(m.local);
                    return;
                }
                let InetMessage { state, local, peer, ino, shutdown, md5, .. } = m;
                let socket = TcpSocket { state: state.into(), local, peer, shutdown, has_md5_keys: md5 };
                found.known.insert(ino, socket);
            })?;
            self.tcp = Some(found);
        }
        self.tcp.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))
    }
}

/// A TCP socket that listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub local: SocketAddr,
    /// Those that wait to be accepted, and those whose handshake is not complete.
    pub connections: u32,
}

/// Those of `sockets` (inodes) that listen.
pub(crate) fn waiting_for(sockets: &HashSet<u32>) -> io::Result<Vec<Waiting>> {
    let (mut found, mut half_open) = (Vec::new(), Vec::new());
    ask(libc::IPPROTO_TCP as u32, 1 << LISTEN | 1 << SYN_RECV | 1 << NEW_SYN_RECV, 0, |m| match m.state {
        LISTEN if sockets.contains(&m.ino) => found.push(Waiting { local: m.local, connections: m.rqueue }),
        LISTEN => {}
        _ => half_open.push(m.local),
    })?;
    for listener in &mut found {
        listener.connections += half_open.iter().filter(|a| is_for(listener.local, a)).count() as u32;
    }
    Ok(found)
}

/// A TCP socket, or what is left of one, among those of a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbour {
    /// 0: no process has it.
    pub ino: u32,
    pub state: u8,
    pub local: SocketAddr,
    /// Index of the device that it is bound to; 0 for any.
    pub device: u32,
    /// Known of sockets that are not connected.
    pub v6only: bool,
}

/// All that are bound to a port of this network namespace. Linux before 6.8 leaves out those that do nothing else.
pub(super) fn neighbours(port: u16) -> io::Result<Vec<Neighbour>> {
    let mut found = Vec::new();
    ask(libc::IPPROTO_TCP as u32, u32::MAX, port, |m| {
        let InetMessage { ino, state, local, device, v6only, .. } = m;
        // Of sockets that are merely bound the kernel tells those of all ports.
        if local.port() == port {
            found.push(Neighbour { ino, state, local, device, v6only });
        }
    })?;
    Ok(found)
}

/// Whether what came to the address `at` is for a socket that listens at `local`.
fn is_for(local: SocketAddr, at: &SocketAddr) -> bool {
    let same = local.ip().is_unspecified() || local.ip().to_canonical() == at.ip().to_canonical();
    at.port() == local.port() && same
}

/// One internet socket.
pub(super) struct InetMessage {
    state: u8,
    local: SocketAddr,
    peer: SocketAddr,
    ino: u32,
    /// Of one that listens: connections waiting to be accepted.
    rqueue: u32,
    device: u32,
    shutdown: u8,
    md5: bool,
    v6only: bool,
}

fn ask(protocol: u32, states: u32, port: u16, mut each: impl FnMut(InetMessage)) -> io::Result<()> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        let asked = inet_diag(family, protocol as i32, EXTENSIONS, states, port, |body| {
            if let Some(message) = parse_inet(body) {
                each(message);
            }
        });
        match asked {
            // A kernel without diagnostics of this protocol, or without IPv6.
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

pub(super) fn parse_inet(body: &[u8]) -> Option<InetMessage> {
    let (family, state) = (*body.first()?, *body.get(1)?);
    let address = |port_at: usize, at: usize| {
        let port = u16::from_be_bytes(body.get(port_at..port_at + 2)?.try_into().ok()?);
        let ip = if i32::from(family) == libc::AF_INET6 {
            IpAddr::from(<[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?)
        } else {
            IpAddr::from(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?)
        };
        Some(SocketAddr::new(ip, port))
    };
    let (local, peer) = (address(4, 8)?, address(6, 24)?);
    let mut message = InetMessage {
        state,
        local,
        peer,
        ino: word(body, 68)?,
        rqueue: word(body, 56)?,
        device: word(body, 40)?,
        shutdown: 0,
        md5: false,
        v6only: false,
    };
    let mut rest = body.get(72..)?;
    while let (Some(len), Some(kind)) = (half(rest, 0).map(usize::from), half(rest, 2)) {
        let Some(value) = rest.get(4..len) else { break };
        match kind {
            SHUTDOWN_OF_INET => message.shutdown = *value.first()?,
            V6ONLY => message.v6only = *value.first()? != 0,
            MD5_KEYS => message.md5 = !value.is_empty(),
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Some(message)
}
