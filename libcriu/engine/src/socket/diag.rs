//! What netlink tells of unix sockets: names, peers, states, queues. One question for all of them.

use std::collections::HashMap;
use std::io;

use crate::sys::socket::unix_diag;

/// One unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnixSocket {
    /// SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_SEQPACKET 5.
    pub kind: u8,
    /// As of TCP: 1 established, 7 closed, 10 listening.
    pub state: u8,
    /// Absent for none, empty for one bound to nothing in particular.
    pub name: Option<Vec<u8>>,
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
const PEER: u16 = 2;
const RQLEN: u16 = 4;
const SHUTDOWN: u16 = 6;
const SHOW_NAME: u32 = 1;
const SHOW_PEER: u32 = 4;
const SHOW_RQLEN: u32 = 16;

/// Every unix socket of the engine's network namespace, by inode.
pub(crate) fn unix_sockets() -> io::Result<HashMap<u32, UnixSocket>> {
    let mut sockets = HashMap::new();
    unix_diag(SHOW_NAME | SHOW_PEER | SHOW_RQLEN, |body| {
        if let Some((ino, socket)) = parse(body) {
            sockets.insert(ino, socket);
        }
    })?;
    Ok(sockets)
}

fn parse(body: &[u8]) -> Option<(u32, UnixSocket)> {
    let mut socket = UnixSocket { kind: *body.get(1)?, state: *body.get(2)?, ..UnixSocket::default() };
    let ino = word(body, 4)?;
    let mut rest = body.get(16..)?;
    while let (Some(len), Some(kind)) = (half(rest, 0).map(usize::from), half(rest, 2)) {
        let Some(value) = rest.get(4..len) else { break };
        match kind {
            NAME => socket.name = Some(value.to_vec()),
            PEER => socket.peer = word(value, 0),
            RQLEN => (socket.rqueue, socket.wqueue) = (word(value, 0)?, word(value, 4)?),
            SHUTDOWN => socket.shutdown = *value.first()?,
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Some((ino, socket))
}

fn word(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

fn half(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(b.get(at..at + 2)?.try_into().ok()?))
}
