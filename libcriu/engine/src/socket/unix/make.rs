//! Makes the sockets of one group: bound, connected and listening as they were.
//!
//! Of a connected pair one end may have the name of a listening socket: it was accepted by that, so it is connected to
//! that one and accepted again. Where the listening socket is gone, one is made for the moment. Other ends get their own
//! names by bind.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use criu_images::messages::{SkPeerEntry, UnixSentEntry, UnixSkEntry};
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, socket_with};

use super::bind::{Address, Files};
use super::fill::{Route, deliver};
use super::makers::Makers;
use super::saved::{Saved, Sockets};
use super::{DGRAM, is_widowed, named, state};
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::numbers::ByNumber;
use crate::socket::options;
use crate::sys::stand_in::Call;
use crate::sys::unix;

/// As many as the kernel allows.
const MOST_WAITING: i32 = i32::MAX;

/// What becomes of a group: descriptors of its members, and the other ends of those whose peer is gone.
#[derive(Debug)]
pub(super) struct Making<'a> {
    group: &'a [&'a UnixSkEntry],
    sockets: &'a Sockets,
    files: &'a mut Files,
    makers: &'a mut Makers,
    pub fds: ByNumber<FileId, OwnedFd>,
    pub others: ByNumber<FileId, OwnedFd>,
    /// Those just as socketpair has made them.
    pub pairs: Vec<FileId>,
}

impl<'a> Making<'a> {
    pub(super) fn new(
        group: &'a [&'a UnixSkEntry],
        sockets: &'a Sockets,
        files: &'a mut Files,
        makers: &'a mut Makers,
        inherited: ByNumber<FileId, OwnedFd>,
    ) -> Self {
        Making { group, sockets, files, makers, fds: inherited, others: HashMap::default(), pairs: Vec::new() }
    }

    /// Makes all that is not there yet.
    pub(super) fn make(&mut self) -> Result<()> {
        let group = self.group;
        let mut listeners: Accepting<'a> = HashMap::default();
        for usk in group.iter().filter(|s| s.state == state::LISTEN) {
            if self.fds.contains_key(&usk.id) {
                continue;
            }
            let fd = self.listening(usk)?;
            let address = Address::of(usk, fd.as_fd())?;
            self.fds.insert(usk.id, fd.try_clone().map_err(|e| failed(usk, "dup", e))?);
            listeners.insert((usk.r#type, &usk.name), Listening { fd, address, by: None });
        }
        let by_ino: ByNumber<u32, &'a UnixSkEntry> = group.iter().map(|s| (s.ino, *s)).collect();
        for usk in group.iter().filter(|s| s.r#type == DGRAM && s.name.is_empty()) {
            self.reached_without_name(usk, &by_ino)?;
        }
        for usk in group {
            if self.fds.contains_key(&usk.id) {
                continue;
            }
            let peer = by_ino.get(&usk.peer).copied().filter(|_| usk.peer != 0);
            match peer {
                Some(peer) if peer.state == state::LISTEN => {}
                Some(peer) if peer.peer == usk.ino && peer.ino != usk.ino => self.pair(usk, peer, &mut listeners)?,
                None if is_widowed(usk) && (usk.r#type != DGRAM || usk.name.is_empty()) => {
                    self.widowed(usk, &mut listeners)?;
                }
                // Datagram sockets are connected when they have what others had sent them before.
                _ => {
                    let fd = socket(usk)?;
                    self.bind_and_keep(usk, fd)?;
                }
            }
        }
        self.waiting(&mut listeners)
    }

    fn listening(&mut self, usk: &UnixSkEntry) -> Result<OwnedFd> {
        let fd = socket(usk)?;
        self.files.bind(usk, fd.as_fd())?;
        self.listen(usk, None, fd.as_fd())?;
        Ok(fd)
    }

    fn listen(&mut self, usk: &UnixSkEntry, by: Option<&SkPeerEntry>, fd: BorrowedFd<'_>) -> Result<()> {
        let listen = Call::Listen(fd, MOST_WAITING);
        self.makers.call(usk, by, listen).map(drop).map_err(|e| failed(usk, "listen", e))
    }

    /// Two sockets as a process makes them that they name as their peer.
    fn pair_of(&mut self, usk: &UnixSkEntry) -> Result<(OwnedFd, OwnedFd)> {
        pair(self.makers, usk)
    }

    fn bind_and_keep(&mut self, usk: &UnixSkEntry, fd: OwnedFd) -> Result<()> {
        self.files.bind(usk, fd.as_fd())?;
        self.fds.insert(usk.id, fd);
        Ok(())
    }

    /// Two that are connected to each other.
    fn pair(&mut self, a: &'a UnixSkEntry, b: &'a UnixSkEntry, listeners: &mut Accepting<'a>) -> Result<()> {
        let both_named = !a.name.is_empty() && !b.name.is_empty();
        if a.r#type == DGRAM && both_named {
            // Connected when they have what others had sent them before.
            let (fd_a, fd_b) = (socket(a)?, socket(b)?);
            self.bind_and_keep(a, fd_a)?;
            return self.bind_and_keep(b, fd_b);
        }
        if a.r#type == DGRAM || (a.name.is_empty() && b.name.is_empty()) {
            let (fd_a, fd_b) = self.pair_of(a)?;
            self.pairs.extend([a.id, b.id]);
            self.bind_and_keep(a, fd_a)?;
            return self.bind_and_keep(b, fd_b);
        }
        let is_accepted = |usk: &UnixSkEntry| listeners.contains_key(&(usk.r#type, usk.name.as_slice()));
        // Without a listening socket to tell by: the end that was made later, as accepted ones are.
        let a_accepted = match (is_accepted(a), is_accepted(b)) {
            _ if !both_named => b.name.is_empty(),
            (a_is, b_is) if a_is != b_is => a_is,
            _ => a.ino > b.ino,
        };
        let (accepted, client) = if a_accepted { (a, b) } else { (b, a) };
        let client_fd = socket(client)?;
        if !client.name.is_empty() {
            self.files.bind(client, client_fd.as_fd())?;
        }
        let accepted_fd = self.accepted(accepted, Some(client), &client_fd, listeners)?;
        self.fds.insert(client.id, client_fd);
        self.fds.insert(accepted.id, accepted_fd);
        Ok(())
    }

    /// Has a socket of that name accept `client`, which is the end `other`.
    fn accepted(
        &mut self,
        usk: &'a UnixSkEntry,
        other: Option<&UnixSkEntry>,
        client: &OwnedFd,
        listeners: &mut Accepting<'a>,
    ) -> Result<OwnedFd> {
        let key = (usk.r#type, usk.name.as_slice());
        let listening = match listeners.entry(key) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(none) => {
                let fd = socket(usk)?;
                self.files.bind(usk, fd.as_fd())?;
                self.listen(usk, None, fd.as_fd())?;
                let address = Address::of(usk, fd.as_fd())?;
                none.insert(Listening { fd, address, by: None })
            }
        };
        self.be_listened(usk, other, listening)?;
        let connect = Call::Connect(client.as_fd(), &listening.address.name);
        self.makers.call(usk, usk.peer_cred.as_ref(), connect).map_err(|e| failed(usk, "connect", e))?;
        accept_with(&listening.fd, SocketFlags::CLOEXEC).map_err(|e| failed(usk, "accept", e))
    }

    /// A client takes over who listens when it connects.
    fn be_listened(&mut self, usk: &UnixSkEntry, client: Option<&UnixSkEntry>, at: &mut Listening) -> Result<()> {
        let by = client.and_then(|c| c.peer_cred.as_ref());
        if by.is_some() && at.by.as_ref() != by {
            self.listen(usk, by, at.fd.as_fd())?;
            at.by = by.cloned();
        }
        Ok(())
    }

    /// A datagram socket without a name that others than a mutual peer send to, or have sent to: it was one of a pair and
    /// then disconnected.
    fn reached_without_name(&mut self, usk: &'a UnixSkEntry, by_ino: &ByNumber<u32, &'a UnixSkEntry>) -> Result<()> {
        let mutual = usk.peer != 0 && by_ino.get(&usk.peer).is_some_and(|p| p.peer == usk.ino);
        if mutual || is_widowed(usk) || self.fds.contains_key(&usk.id) {
            return Ok(());
        }
        let source = self.group.iter().find(|s| s.peer == usk.ino && !self.fds.contains_key(&s.id));
        if source.is_none() && !self.sockets.queues.contains_key(&usk.id) {
            return Ok(());
        }
        let (fd, other) = self.pair_of(usk)?;
        unix::disconnect(fd.as_fd()).map_err(|e| failed(usk, "connect AF_UNSPEC", e))?;
        self.fds.insert(usk.id, fd);
        match source {
            Some(source) => self.bind_and_keep(source, other),
            None => {
                self.others.insert(usk.id, other);
                Ok(())
            }
        }
    }

    /// A socket whose peer is gone.
    fn widowed(&mut self, usk: &'a UnixSkEntry, listeners: &mut Accepting<'a>) -> Result<()> {
        let (fd, other) = if usk.name.is_empty() {
            self.pair_of(usk)?
        } else {
            let client = socket(usk)?;
            (self.accepted(usk, None, &client, listeners)?, client)
        };
        self.fds.insert(usk.id, fd);
        self.others.insert(usk.id, other);
        Ok(())
    }

    /// Clients that wait to be accepted, in their order.
    fn waiting(&mut self, listeners: &mut Accepting<'a>) -> Result<()> {
        for listening in self.group.iter().filter(|s| s.state == state::LISTEN) {
            let connections = self.connections(listening);
            if connections.is_empty() {
                continue;
            }
            let Some(there) = listeners.get_mut(&(listening.r#type, listening.name.as_slice())) else {
                return Err(Error::new(Phase::Files, named(listening), "is inherited while clients wait for it"));
            };
            // Connections take on whether credentials and descriptors are to be passed.
            options::write(there.fd.as_fd(), &listening.opts, None).map_err(|e| failed(listening, "setsockopt", e))?;
            for Connection { client, by, sent } in connections {
                if client.is_some_and(|c| self.fds.contains_key(&c.id)) {
                    continue;
                }
                let usk = client.unwrap_or(listening);
                let fd = socket(usk)?;
                if let Some(client) = client {
                    self.files.bind(client, fd.as_fd())?;
                }
                self.be_listened(listening, client, there)?;
                let connect = Call::Connect(fd.as_fd(), &there.address.name);
                self.makers.call(usk, by, connect).map_err(|e| failed(usk, "connect", e))?;
                let sent: Vec<Saved> = sent.iter().map(Saved::from).collect();
                for message in &sent {
                    deliver(usk, message, &[], &Route { fd: fd.as_fd(), to: None }, &sent)?;
                }
                if let Some(client) = client {
                    self.fds.insert(client.id, fd);
                }
            }
        }
        Ok(())
    }

    /// What waits at a socket. Images of CRIU tell no order but that of the entries.
    fn connections(&self, listening: &'a UnixSkEntry) -> Vec<Connection<'a>> {
        let clients = || self.group.iter().filter(|c| c.peer == listening.ino).copied();
        if listening.waiting.is_empty() {
            let mut clients: Vec<&UnixSkEntry> = clients().collect();
            clients.sort_by_key(|c| listening.pending.iter().position(|&ino| ino == c.ino).unwrap_or(usize::MAX));
            let unsent = |c: &'a UnixSkEntry| Connection { client: Some(c), by: c.connected_by.as_ref(), sent: &[] };
            return clients.into_iter().map(unsent).collect();
        }
        let told = listening.waiting.iter().map(|c| Connection {
            client: clients().find(|there| there.ino == c.ino),
            by: c.connected_by.as_ref(),
            sent: &c.sent,
        });
        told.collect()
    }
}

/// A connection that waits to be accepted: the client, unless it is gone, who has connected it, and what was sent on it.
struct Connection<'a> {
    client: Option<&'a UnixSkEntry>,
    by: Option<&'a SkPeerEntry>,
    sent: &'a [UnixSentEntry],
}

/// A listening socket, by its type and name.
type Accepting<'a> = HashMap<(u32, &'a [u8]), Listening>;

#[derive(Debug)]
struct Listening {
    fd: OwnedFd,
    address: Address,
    /// Whom a client that connects now names as its peer.
    by: Option<SkPeerEntry>,
}

fn failed(usk: &UnixSkEntry, call: &str, e: impl Into<std::io::Error>) -> Error {
    Error::os(Phase::Files, named(usk), call, e)
}

fn kind(usk: &UnixSkEntry) -> SocketType {
    SocketType::from_raw(usk.r#type)
}

/// Does not block: a connection that cannot be made at once is an error.
fn socket(usk: &UnixSkEntry) -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, kind(usk), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
        .map_err(|e| failed(usk, "socket", e))
}

pub(super) fn pair(makers: &mut Makers, usk: &UnixSkEntry) -> Result<(OwnedFd, OwnedFd)> {
    let made = makers.call(usk, usk.peer_cred.as_ref(), Call::Pair(usk.r#type as i32));
    let made = made.map_err(|e| failed(usk, "clone3 or socketpair", e))?;
    made.ok_or_else(|| Error::new(Phase::Files, named(usk), "no pair was made"))
}

/// Connects a datagram socket to one that is bound.
pub(super) fn connect(from: &UnixSkEntry, fd: BorrowedFd<'_>, to: &UnixSkEntry, to_fd: BorrowedFd<'_>) -> Result<()> {
    let address = Address::of(to, to_fd)?;
    unix::connect(fd, &address.name).map_err(|e| failed(from, "connect", e))
}
