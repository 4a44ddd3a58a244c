//! Unix sockets: entries from netlink, socket options and the files they are bound to; queues by peeking.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use criu_images::messages::{FileEntry, ScmEntry, SkPacketEntry, SkPeerEntry, UnixSkEntry, UnixWaitingEntry};
use criu_images::{ImageDir, Kind};

use super::entry::{connected_by, entry, file_entry, is_one_of_a_pair, name_and_file, packet, peer, peer_reset};
use super::name::{Name, shown};
use super::queue::{Message, Queue, Usual, has_error, look};
use super::unaccepted::{Unaccepted, look as look_at_unaccepted};
use super::{DGRAM, EXTERNAL, PEER_EXTERNAL, SCM_RIGHTS, SEQPACKET, SERVICE, STREAM, state};
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::{Collected, DumpKind, FileId, InFlight, Seen, Unsaved, Unseen};
use crate::mem::pages::PagesIds;
use crate::namespace::Namespace;
use crate::numbers::ByNumber;
use crate::socket::diag::{UnixSocket, unix_sockets};
use crate::socket::options;
use crate::sys::kernel::Kernel;
use crate::sys::look_guard::{LookGuard, Looked};
use crate::sys::unix::unread_by_others;

#[derive(Debug)]
pub(super) struct Socket {
    id: FileId,
    pub(super) pid: i32,
    /// What holds it, in words, unless that is a descriptor of this number.
    holder: Option<String>,
    fd: i32,
    ino: u32,
    told: UnixSocket,
    /// `None`: nothing waits at it, and there is nothing else to ask.
    dup: Option<Rc<OwnedFd>>,
    /// How many buffers its queue has, where the kernel's memory tells.
    queued: Option<u32>,
    usual: Usual,
    looked: bool,
    packets: Vec<Packet>,
}

impl Socket {
    /// For messages.
    pub(super) fn object(&self) -> String {
        match &self.holder {
            Some(holder) => format!("{holder} (unix socket ino {})", self.ino),
            None => format!("fd {} (unix socket ino {})", self.fd, self.ino),
        }
    }

    fn is_to_be_looked_at(&self) -> bool {
        !self.looked && u32::from(self.told.state) != state::LISTEN
    }

    fn has_nothing(&self) -> bool {
        self.queued == Some(0) || u32::from(self.told.kind) == STREAM && self.told.rqueue == 0
    }

    fn dup(&self) -> Result<&OwnedFd> {
        let missing = || Error::new(Phase::Collect, self.object(), "there is no duplicate of it to ask").pid(self.pid);
        self.dup.as_deref().ok_or_else(missing)
    }
}

#[derive(Debug)]
pub(super) struct Packet {
    pub(super) entry: SkPacketEntry,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct UnixSockets {
    /// Asked for when the first one is met.
    diag: Option<ByNumber<u32, UnixSocket>>,
    sockets: Vec<Socket>,
    options: options::Known,
    /// Who is noted down as peer, by what the kernel has for it.
    peers: ByNumber<(u64, u64), Option<SkPeerEntry>>,
    /// Where each descriptor that was found in a message belongs: socket and packet.
    tickets: Vec<(usize, usize)>,
    buf: Vec<u8>,
    /// Inodes of those that cannot be saved, which their own blockers say.
    refused: HashSet<u32>,
}

impl DumpKind for UnixSockets {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.socket_family() == Some(libc::AF_UNIX as u32)
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let collected = self.take_in(seen, id, common);
        if collected.is_err() {
            self.refused.insert(seen.stat.st_ino as u32);
        }
        collected
    }

    fn collect_unseen(&mut self, unseen: &Unseen<'_>, id: FileId, common: &Collected) -> Option<FileEntry> {
        let Unseen { told, ino, .. } = *unseen;
        if told.family != libc::AF_UNIX as u32 || common.service_sk_ino == Some(ino) {
            return None;
        }
        let number = ino as u32;
        let socket = self.diag.as_ref()?.get(&number).filter(|s| is_one_of_a_pair(s))?;
        let is_empty = (told.queued, socket.rqueue) == (0, 0);
        if u32::from(socket.kind) != told.kind || !is_empty && !told.is_plain {
            return None;
        }
        let mut usk = entry(id, number, unseen.info.flags, socket);
        usk.opts = self.options.of(&told)?;
        usk.peer_cred = self.peers.get(&told.peer)?.clone();
        let usual = Usual::of(&usk.opts, Some(&told));
        let waiting = common.likenesses.waiting(ino).filter(|bytes| usual.allows(told.kind, bytes, socket.rqueue));
        let packet = waiting.map(|bytes| packet(id, Message { bytes: bytes.to_vec(), ..Message::default() }, common));
        let dup = if is_empty || packet.is_some() { None } else { Some(Rc::new(unseen.duplicate()?)) };
        self.sockets.push(Socket {
            id,
            pid: unseen.task.pid,
            holder: None,
            fd: unseen.fd,
            ino: number,
            told: socket.clone(),
            dup,
            queued: Some(told.queued),
            usual,
            looked: packet.is_some(),
            packets: packet.into_iter().collect(),
        });
        Some(file_entry(usk))
    }

    fn in_flight(&mut self, common: &Collected, blockers: &mut Vec<Blocker>) -> Result<Vec<InFlight>> {
        let mut found = Vec::new();
        let guard = self.guard()?;
        for (at, socket) in self.sockets.iter_mut().enumerate() {
            if !socket.is_to_be_looked_at() {
                continue;
            }
            socket.looked = true;
            let kind = u32::from(socket.told.kind);
            // A look at datagrams would take an error that waits to be told, and see nothing else.
            if kind != STREAM
                && let Some(dup) = &socket.dup
                && has_error(dup.as_fd())
                    .map_err(|e| Error::os(Phase::Collect, socket.object(), "poll", e).pid(socket.pid))?
            {
                let can_be_made = kind == SEQPACKET && socket.told.peer == Some(0);
                let queued = socket.told.rqueue;
                if !can_be_made || queued != 0 {
                    let cause = "an error that was not read yet (ECONNRESET) cannot be saved";
                    blockers
                        .push(Blocker::new(socket.pid, socket.object(), cause).hint("have it read before the dump"));
                }
                continue;
            }
            if socket.has_nothing() {
                continue;
            }
            let (holder, pid) = (socket.object(), socket.pid);
            let failed = |e| Error::os(Phase::Collect, &*holder, "recvmsg", e).pid(pid);
            match look(socket.dup()?.as_fd(), kind, socket.told.rqueue, socket.usual, &mut self.buf).map_err(failed)? {
                Queue::Refused(why) => {
                    let blocker = Blocker::new(socket.pid, socket.object(), format!("{why}: cannot be saved"));
                    blockers.push(blocker.hint("have its messages read before the dump"));
                }
                Queue::Messages(messages) => {
                    for message in messages {
                        for fd in &message.rights {
                            let fd = fd.try_clone().map_err(failed)?;
                            let holder = format!("a message in the queue of {}", socket.object());
                            found.push(InFlight { pid: socket.pid, holder, fd, ticket: self.tickets.len() });
                            self.tickets.push((at, socket.packets.len()));
                        }
                        socket.packets.push(packet(socket.id, message, common));
                    }
                }
            }
        }
        if let Some(guard) = guard {
            guard.dismiss();
        }
        Ok(found)
    }

    fn taken_in(&mut self, ticket: usize, id: FileId) {
        let place = self.tickets.get(ticket).copied();
        let packet = place.and_then(|(socket, packet)| self.sockets.get_mut(socket)?.packets.get_mut(packet));
        if let Some(packet) = packet {
            match packet.entry.scm.first_mut() {
                Some(scm) => scm.rights.push(id),
                None => packet.entry.scm.push(ScmEntry { r#type: SCM_RIGHTS, rights: vec![id] }),
            }
        }
    }

    fn has_peers_outside(&self, common: &Collected) -> bool {
        let inside: HashSet<u32> = self.sockets.iter().map(|s| s.ino).collect();
        let outside = |s: &&Socket| s.told.peer.is_some_and(|p| p != 0 && !inside.contains(&p));
        self.sockets.iter().filter(outside).any(|s| self.outside(s, common).is_err())
    }

    fn resolve(&mut self, common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        let by_ino: ByNumber<u32, usize> = self.sockets.iter().enumerate().map(|(at, s)| (s.ino, at)).collect();
        // The listening socket at which each client waits to be accepted.
        let waiting: ByNumber<u32, u32> =
            self.sockets.iter().flat_map(|l| l.told.waiting.iter().map(|&client| (client, l.ino))).collect();
        let mut peers: ByNumber<FileId, (u32, SkPeerEntry)> = ByNumber::default();
        let mut outside: HashMap<u32, UnixSkEntry> = HashMap::new();
        let mut left_alone: HashSet<FileId> = HashSet::new();
        let kernel = self.kernel();
        let mut unaccepted: ByNumber<FileId, Vec<UnixWaitingEntry>> = ByNumber::default();
        let (mut have_sent, mut looked_at) = (Vec::new(), HashSet::new());
        for socket in &self.sockets {
            let mut refuse = |cause: String, hint: &str| {
                blockers.push(Blocker::new(socket.pid, socket.object(), cause).hint(hint));
            };
            let known = match kernel.as_ref().filter(|_| !socket.told.waiting.is_empty()) {
                Some(kernel) => self.unaccepted(kernel, socket, &mut refuse)?,
                None => Some(Vec::new()),
            };
            // What stands in the way of it is said.
            let is_refused = known.is_none();
            if is_refused {
                looked_at.extend(socket.told.waiting.iter().copied());
            }
            let known = known.unwrap_or_default();
            for client in &socket.told.waiting {
                match client {
                    0 if known.is_empty() && !is_refused => refuse(
                        "a connection whose client is gone waits to be accepted".into(),
                        "have it accepted before the dump",
                    ),
                    0 => {}
                    ino if !by_ino.contains_key(ino) => refuse(
                        format!("a connection from outside the tree (ino {ino}) waits to be accepted"),
                        "dump the client's process as well, or have it accepted before the dump",
                    ),
                    _ => {}
                }
            }
            if !known.is_empty() {
                looked_at.extend(known.iter().map(|c| c.ino));
                unaccepted.insert(socket.id, known);
            }
            let peer = socket.told.peer.unwrap_or(0);
            // A closed peer has shut both directions; one that was not accepted yet has not.
            let unaccepted = socket.told.peer == Some(0)
                && u32::from(socket.told.kind) != DGRAM
                && (waiting.contains_key(&socket.ino) || socket.told.shutdown != 3);
            if unaccepted {
                let Some(&listening) = waiting.get(&socket.ino) else {
                    refuse(
                        "its connection waits to be accepted outside the tree".into(),
                        "dump the server's process as well, or have it accepted before the dump",
                    );
                    continue;
                };
                let sent = unread_by_others(socket.dup()?.as_fd())
                    .map_err(|e| Error::os(Phase::Collect, socket.object(), "ioctl TIOCOUTQ", e).pid(socket.pid))?;
                if sent != 0 {
                    have_sent.push(socket);
                }
                peers.insert(socket.id, (listening, connected_by(socket)?));
                continue;
            }
            match by_ino.get(&peer).and_then(|&at| self.sockets.get(at)) {
                _ if peer == 0 || self.refused.contains(&peer) => {}
                Some(there) if there.told.peer == Some(socket.ino) => {}
                Some(_) if u32::from(socket.told.kind) == DGRAM => {}
                Some(_) => refuse(format!("its peer (ino {peer}) is connected elsewhere"), "close it before the dump"),
                None => match self.outside(socket, common) {
                    Ok(Some(entry)) => drop(outside.entry(peer).or_insert(entry)),
                    Ok(None) => drop(left_alone.insert(socket.id)),
                    Err(hint) => refuse(format!("its peer (ino {peer}) is outside the tree"), &hint),
                },
            }
        }
        for socket in have_sent.into_iter().filter(|s| !looked_at.contains(&s.ino)) {
            let cause = "it has sent data on a connection that waits to be accepted";
            let hint =
                "have it accepted before the dump, or give the engine the right to look (CAP_BPF and CAP_PERFMON)";
            blockers.push(Blocker::new(socket.pid, socket.object(), cause).hint(hint));
        }
        for connection in unaccepted.values().flatten() {
            if let (Some(by), Some(&at)) = (&connection.connected_by, by_ino.get(&connection.ino))
                && let Some((_, guess)) = self.sockets.get(at).and_then(|s| peers.get_mut(&s.id))
            {
                *guess = by.clone();
            }
        }
        for usk in common.entries.iter_mut().filter_map(|e| e.usk.as_deref_mut()) {
            usk.waiting = unaccepted.remove(&usk.id).unwrap_or_default();
            if let Some((listening, by)) = peers.remove(&usk.id) {
                usk.peer = listening;
                usk.state = state::ESTABLISHED;
                usk.connected_by = Some(by);
            } else if left_alone.contains(&usk.id) {
                (usk.peer, usk.uflags) = (0, PEER_EXTERNAL);
                usk.peer_gone = (usk.r#type == DGRAM).then_some(true);
            }
        }
        let peers = common.entries.iter_mut().filter_map(|e| e.usk.as_deref_mut());
        for who in peers.flat_map(|usk| [&mut usk.peer_cred, &mut usk.connected_by]).flatten() {
            who.pid = common.tasks.get(&(who.pid as i32)).map_or(who.pid, |&vpid| vpid as u32);
        }
        for (_, mut usk) in outside {
            usk.id = common.new_id();
            common.entries.push(file_entry(usk));
        }
        Ok(())
    }

    fn save(&mut self, _common: &Collected, images: &ImageDir, _ids: &mut PagesIds) -> Result<()> {
        // Descriptors that are let go before the tasks end cost nothing: what they are of does not end with them.
        let sockets = std::mem::take(&mut self.sockets);
        if sockets.iter().all(|s| s.packets.is_empty()) {
            return Ok(());
        }
        let saving = |e| Error::image(Phase::Save, e);
        let mut image = images.create(Kind::SkQueues, 0).map_err(saving)?;
        for packet in sockets.iter().flat_map(|s| &s.packets) {
            image.entry(&packet.entry).map_err(saving)?;
            image.raw(&packet.bytes).map_err(saving)?;
        }
        image.finish().map_err(saving)
    }
}

impl UnixSockets {
    /// Watches over those whose queues are to be looked at.
    fn guard(&self) -> Result<Option<LookGuard>> {
        let looked = |s: &Socket| s.usual.looked(s.dup.as_ref()?.as_fd(), s.told.kind.into());
        let wanted = self.sockets.iter().filter(|s| s.is_to_be_looked_at() && !s.has_nothing());
        let looked: Vec<Looked> = wanted.filter_map(looked).collect();
        if looked.is_empty() {
            return Ok(None);
        }
        let guard =
            LookGuard::start(&looked).map_err(|e| Error::os(Phase::Collect, "queues of unix sockets", "fork", e))?;
        Ok(Some(guard))
    }

    /// Makes the entry of a socket.
    fn take_in(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let diag = match &mut self.diag {
            Some(diag) => diag,
            none => none.insert(unix_sockets().map_err(|e| Unsaved::os(seen, "sock_diag", e))?),
        };
        let ino = seen.stat.st_ino as u32;
        let Some(told) = diag.get(&ino) else {
            return Err(Unsaved::because("a unix socket of another network namespace"));
        };
        let service = common.service_sk_ino == Some(seen.stat.st_ino);
        let mut usk = entry(id, ino, seen.info.flags, told);
        usk.fown = seen.fown;
        usk.opts = match self.options.read(seen.dup.as_fd(), seen.told.as_ref(), options::read_all) {
            Ok(Ok(opts)) => opts,
            Ok(Err(what)) => return Err(Unsaved::because(format!("{what} cannot be saved"))),
            Err(e) => return Err(Unsaved::os(seen, "getsockopt", e)),
        };
        usk.peer_cred = peer(&mut self.peers, seen)?;
        if service {
            usk.uflags = SERVICE;
        } else {
            if !matches!(usk.r#type, STREAM | DGRAM | SEQPACKET) {
                return Err(Unsaved::because(format!("a unix socket of type {}", usk.r#type)));
            }
            name_and_file(seen, told, &mut usk)?;
            usk.peer_reset = peer_reset(seen, told)?;
            if usk.opts.more_opts.iter().any(|o| o.name == options::SO_PASSPIDFD as u32) && told.rqueue != 0 {
                let cause = "messages that were not read yet cannot be saved where SO_PASSPIDFD is on";
                return Err(Unsaved::because(cause).hint("have its messages read before the dump"));
            }
            self.sockets.push(Socket {
                id,
                pid: seen.holder_pid,
                holder: Some(seen.holder.clone()),
                fd: seen.fd,
                ino,
                told: told.clone(),
                dup: Some(Rc::clone(&seen.dup)),
                queued: seen.told.map(|t| t.queued),
                usual: Usual::of(&usk.opts, seen.told.as_ref()),
                looked: false,
                packets: Vec::new(),
            });
        }
        Ok(file_entry(usk))
    }

    /// The kernel's memory, when there is something to look for.
    fn kernel(&self) -> Option<Rc<Kernel>> {
        if self.sockets.iter().all(|s| s.told.waiting.is_empty()) {
            return None;
        }
        Kernel::open().inspect_err(|e| log::debug!("the kernel's memory cannot be read: {e}")).ok()
    }

    /// What waits at a listening socket; nothing when it cannot be found out, `None` when it is refused.
    fn unaccepted(
        &self,
        kernel: &Kernel,
        socket: &Socket,
        refuse: &mut impl FnMut(String, &str),
    ) -> Result<Option<Vec<UnixWaitingEntry>>> {
        match look_at_unaccepted(kernel, socket.dup()?.as_fd()) {
            Ok(Unaccepted::Connections(found)) => {
                if found.iter().map(|c| c.ino).eq(socket.told.waiting.iter().copied()) {
                    return Ok(Some(found));
                }
                log::debug!("{}: netlink tells of other connections than the kernel has", socket.object());
            }
            Ok(Unaccepted::Refused(why)) => {
                refuse(why.into(), "have it accepted before the dump");
                return Ok(None);
            }
            Err(e) => log::debug!("{}: what waits at it cannot be read: {e}", socket.object()),
        }
        Ok(Some(Vec::new()))
    }

    /// What becomes of a peer outside the tree: an entry to connect to, or nothing; the error is what would help.
    fn outside(&self, socket: &Socket, common: &Collected) -> Result<Option<UnixSkEntry>, String> {
        let ino = socket.told.peer.unwrap_or(0);
        let listed = [ino, socket.ino].iter().any(|i| common.external_sockets.contains(i));
        let peer = self.diag.as_ref().and_then(|d| d.get(&ino));
        let name = peer.and_then(|p| p.name.as_deref()).unwrap_or(&[]);
        let reachable = matches!(Name::parse(name), Ok(Name::Abstract(_)))
            || matches!(Name::parse(name), Ok(Name::Path(path)) if path.starts_with(b"/"));
        if u32::from(socket.told.kind) == DGRAM && reachable {
            if !listed && !common.opts.ext_unix_sk() {
                return Err(format!("allow it to be connected to {} again with --ext-unix-sk", shown(name)));
            }
            return Ok(Some(UnixSkEntry {
                ino,
                r#type: DGRAM,
                state: state::LISTEN,
                uflags: EXTERNAL,
                name: name.to_vec(),
                ns_id: Some(Namespace::Net as u32 + 1),
                ..UnixSkEntry::default()
            }));
        }
        if listed {
            log::warn!(
                "pid {} {}: its peer is outside the tree and stays there; a restore without --inherit-fd brings it back closed",
                socket.pid,
                socket.object()
            );
            return Ok(None);
        }
        Err(format!("dump the peer's process as well, close it before the dump, or let it go with --ext-unix-sk={ino}"))
    }
}
