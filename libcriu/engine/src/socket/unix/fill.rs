//! Puts messages back into queues: sent by whom they came from, with what came along.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use criu_images::messages::UnixSkEntry;
use rustix::net::{AddressFamily, SocketFlags, SocketType, getsockname, socket_with};

use super::bind::{Address, bind_unseen};
use super::saved::Saved;
use super::{DGRAM, is_widowed, named};
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::numbers::ByNumber;
use crate::socket::options;
use crate::sys::socket::option;
use crate::sys::spawn::hold_pid;
use crate::sys::unix::{self, Along, Credentials};

/// The sockets of a group, each with its descriptor, and everything else that is open.
#[derive(Debug)]
pub(super) struct Filling<'a> {
    pub group: &'a [&'a UnixSkEntry],
    pub opened: &'a ByNumber<FileId, OwnedFd>,
    /// Ends whose own sockets are gone.
    pub others: &'a ByNumber<FileId, OwnedFd>,
    pub queues: &'a ByNumber<FileId, Vec<Saved>>,
    /// Names of sockets outside the tree, by their inodes.
    pub outside: &'a ByNumber<u32, Vec<u8>>,
    /// Some buffer had to be made larger.
    pub widened: Cell<bool>,
}

/// Who sends, and to whom when that is not its peer.
pub(super) struct Route<'a> {
    pub fd: BorrowedFd<'a>,
    pub to: Option<&'a [u8]>,
}

impl<'a> Filling<'a> {
    /// Fills every queue of the group, and connects datagram sockets between.
    pub(super) fn fill(&self) -> Result<()> {
        let by_ino: ByNumber<u32, &UnixSkEntry> = self.group.iter().map(|s| (s.ino, *s)).collect();
        // One that is connected to itself takes what it sends like what others do.
        let mutual =
            |s: &UnixSkEntry| by_ino.get(&s.peer).filter(|p| ![0, s.ino].contains(&s.peer) && p.peer == s.ino).copied();
        let mut left: ByNumber<FileId, &[Saved]> = HashMap::default();
        let datagrams: Vec<&UnixSkEntry> = self.group.iter().copied().filter(|s| s.r#type == DGRAM).collect();
        for usk in sources_first(&datagrams) {
            let messages = self.messages(usk);
            // A connected socket takes messages of its peer alone: what others have sent comes before.
            let before = match mutual(usk) {
                Some(peer) if !peer.name.is_empty() && !usk.name.is_empty() => {
                    messages.iter().rposition(|m| m.sender != peer.name).map_or(0, |last| last + 1)
                }
                Some(_) => 0,
                None if usk.peer == 0 && self.others.contains_key(&usk.id) && usk.name.is_empty() => 0,
                None => messages.len(),
            };
            let (first, rest) = messages.split_at_checked(before).unwrap_or((messages, &[]));
            self.receive_from_anyone(usk, first)?;
            left.insert(usk.id, rest);
            if let Some(peer) = by_ino.get(&usk.peer).copied().filter(|p| usk.peer != 0 && !p.name.is_empty()) {
                let is_pair = mutual(usk).is_some() && usk.name.is_empty();
                if !is_pair {
                    super::make::connect(usk, self.fd(usk)?, peer, self.fd(peer)?)?;
                }
            } else if let Some(name) = self.outside.get(&usk.peer).filter(|_| usk.peer != 0) {
                let hint = format!("{} has to be there", super::name::shown(name));
                unix::connect(self.fd(usk)?, name).map_err(|e| failed(usk, "connect", e).hint(hint))?;
            } else if is_widowed(usk) && !usk.name.is_empty() {
                connect_to_nobody(self.fd(usk)?).map_err(|e| failed(usk, "connect", e))?;
            }
        }
        for usk in self.group {
            let messages = left.get(&usk.id).copied().unwrap_or_else(|| self.messages(usk));
            if messages.is_empty() {
                continue;
            }
            let from = match mutual(usk) {
                Some(peer) => self.fd(peer)?,
                None => self.others.get(&usk.id).map(AsFd::as_fd).ok_or_else(|| unreachable(usk))?,
            };
            for message in messages {
                self.send(usk, message, &Route { fd: from, to: None })?;
            }
        }
        Ok(())
    }

    fn messages(&self, usk: &UnixSkEntry) -> &'a [Saved] {
        self.queues.get(&usk.id).map_or(&[], Vec::as_slice)
    }

    fn fd(&self, usk: &UnixSkEntry) -> Result<BorrowedFd<'a>> {
        let fd = self.opened.get(&usk.id).map(AsFd::as_fd);
        fd.ok_or_else(|| Error::new(Phase::Files, named(usk), "was not opened"))
    }

    /// Fills the queue of a datagram socket that is not connected yet.
    fn receive_from_anyone(&self, usk: &UnixSkEntry, messages: &[Saved]) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let address = Address::of(usk, self.fd(usk)?)?;
        let to = Some(address.name.as_slice()).filter(|n| !n.is_empty());
        // Stand-ins for senders that are gone, or outside, by name.
        let mut stand_ins: HashMap<&[u8], OwnedFd> = HashMap::default();
        for message in messages {
            let connected = self.group.iter().find(|s| s.peer == usk.ino && s.name == message.sender);
            let bound = self.group.iter().find(|s| !s.name.is_empty() && s.r#type == DGRAM && s.name == message.sender);
            if let Some(sender) = connected.or(bound.filter(|_| to.is_some())) {
                let to = if connected.is_some() && to.is_none() { None } else { to };
                self.send(usk, message, &Route { fd: self.fd(sender)?, to })?;
                continue;
            }
            if to.is_none() {
                let other = self.others.get(&usk.id).ok_or_else(|| unreachable(usk))?;
                if !message.sender.is_empty() && stand_ins.is_empty() {
                    bind_unseen(&message.sender, other.as_fd(), None).map_err(|e| in_use(usk, message, e))?;
                    stand_ins.insert(&message.sender, other.try_clone().map_err(|e| in_use(usk, message, e))?);
                }
                self.send(usk, message, &Route { fd: other.as_fd(), to: None })?;
                continue;
            }
            let fd = match stand_ins.entry(&message.sender) {
                std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::hash_map::Entry::Vacant(none) => {
                    none.insert(stand_in(&message.sender).map_err(|e| in_use(usk, message, e))?)
                }
            };
            self.send(usk, message, &Route { fd: fd.as_fd(), to })?;
        }
        Ok(())
    }

    fn send(&self, usk: &UnixSkEntry, message: &Saved, route: &Route<'_>) -> Result<()> {
        let rights = message.rights.iter().map(|id| self.opened.get(id).map(AsFd::as_fd));
        let rights = rights.collect::<Option<Vec<_>>>().ok_or_else(|| {
            Error::new(Phase::Files, named(usk), "a descriptor of one of its messages was not opened")
        })?;
        let widened = deliver(usk, message, &rights, route, self.messages(usk))?;
        self.widened.set(self.widened.get() || widened);
        Ok(())
    }
}

/// Sends a message, one of `all` that are for the same queue, with the given descriptors. Did the sender's buffer have to be
/// made larger?
pub(super) fn deliver(
    usk: &UnixSkEntry,
    message: &Saved,
    rights: &[BorrowedFd<'_>],
    route: &Route<'_>,
    all: &[Saved],
) -> Result<bool> {
    let mut along = Along { rights, credentials: message.credentials, urgent: message.urgent, to: route.to };
    let mut rest = message.bytes.as_slice();
    let mut widened = false;
    loop {
        match send_as(route.fd, rest, along) {
            Ok(sent) => {
                rest = rest.get(sent..).unwrap_or(&[]);
                along.rights = &[];
                if rest.is_empty() {
                    return Ok(widened);
                }
            }
            Err(e) if is_full(&e) && !widened => {
                widened = true;
                widen(route.fd, all).map_err(|e| failed(usk, "setsockopt SO_SNDBUF", e))?;
            }
            Err(e) if is_full(&e) && usk.r#type == DGRAM => {
                return Err(failed(usk, "sendmsg", e).hint("raise the sysctl net.unix.max_dgram_qlen"));
            }
            Err(e) => return Err(failed(usk, "sendmsg", e)),
        }
    }
}

/// Sends with the credentials as they were: of a process that is gone or does not exist yet, in the name of one that is
/// made for the moment and has its pid.
fn send_as(fd: BorrowedFd<'_>, bytes: &[u8], along: Along<'_>) -> io::Result<usize> {
    let sent = unix::send(fd, bytes, along);
    let Some(Credentials { pid, .. }) = along.credentials else { return sent };
    match sent {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {
            match hold_pid(pid) {
                // Another process of this restore needs the same, or is the one by now.
                Err(e) if e.raw_os_error() != Some(libc::EEXIST) => Err(e),
                _held => unix::send(fd, bytes, along),
            }
        }
        other => other,
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::EMSGSIZE))
}

/// Makes room in the sender's buffer, which its own entry sets afterwards.
fn widen(fd: BorrowedFd<'_>, messages: &[Saved]) -> io::Result<()> {
    let total: usize = messages.iter().map(|m| m.bytes.len() + 4096).sum();
    let now = option(fd, libc::SO_SNDBUF)? as u32;
    let wanted = u32::try_from(total.saturating_mul(4)).unwrap_or(i32::MAX as u32).max(now);
    options::buffer(fd, libc::SO_SNDBUF, libc::SO_SNDBUFFORCE, wanted)
}

/// A socket with the name of a sender. Messages keep the name when it is closed.
fn stand_in(name: &[u8]) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    if !name.is_empty() {
        bind_unseen(name, fd.as_fd(), None)?;
    }
    Ok(fd)
}

/// Connects a datagram socket to one with a name that the kernel chooses, and that is closed at once.
fn connect_to_nobody(fd: BorrowedFd<'_>) -> io::Result<()> {
    let nobody = stand_in(&[])?;
    unix::bind(nobody.as_fd(), &[])?;
    Ok(rustix::net::connect(fd, &getsockname(&nobody)?)?)
}

/// Those that send come before those they send to.
fn sources_first<'a>(sockets: &[&'a UnixSkEntry]) -> Vec<&'a UnixSkEntry> {
    let by_ino: ByNumber<u32, &UnixSkEntry> = sockets.iter().map(|s| (s.ino, *s)).collect();
    let target = |s: &UnixSkEntry| by_ino.get(&s.peer).filter(|p| s.peer != 0 && p.peer != s.ino).copied();
    let mut sources: ByNumber<u32, usize> = HashMap::default();
    for usk in sockets {
        if let Some(to) = target(usk) {
            *sources.entry(to.ino).or_default() += 1;
        }
    }
    let is_first = |s: &&&UnixSkEntry| !sources.contains_key(&s.ino);
    let mut ordered: Vec<&UnixSkEntry> = sockets.iter().filter(is_first).copied().collect();
    let mut at = 0;
    while let Some(&usk) = ordered.get(at) {
        at += 1;
        if let Some(to) = target(usk)
            && let Some(count) = sources.get_mut(&to.ino)
        {
            *count -= 1;
            if *count == 0 {
                ordered.push(to);
            }
        }
    }
    // What is left are circles, which no kernel lets come about.
    let in_circles = sockets.iter().filter(|s| sources.get(&s.ino).is_some_and(|&count| count > 0));
    ordered.extend(in_circles.copied());
    ordered
}

fn failed(usk: &UnixSkEntry, call: &str, e: io::Error) -> Error {
    Error::os(Phase::Files, named(usk), call, e)
}

fn in_use(usk: &UnixSkEntry, message: &Saved, e: io::Error) -> Error {
    let object = format!("a message of {} from {}", named(usk), super::name::shown(&message.sender));
    Error::os(Phase::Files, object, "bind", e).hint("no other socket may have the name of the sender meanwhile")
}

fn unreachable(usk: &UnixSkEntry) -> Error {
    Error::new(Phase::Check, named(usk), "has messages, and no way to send it any")
}
