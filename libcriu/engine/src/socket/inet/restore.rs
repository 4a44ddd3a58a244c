//! Internet sockets, made again by the coordinator: all of a tree by one process, because ports belong to all of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use criu_images::ImageDir;
use criu_images::Kind;
use criu_images::messages::{FdTypes, FileEntry, InetSkEntry, InventoryEntry, TcpStreamEntry};
use criu_soccr::{Connection, Paused, State};

use super::address::Addresses;
use super::facts::Fresh;
use super::handover::Handover;
use super::making::{self, Failed, Making, Shape, Switches};
use super::more_options::SocketKind;
use super::{
    DGRAM, ICMP, ICMPV6, INET, INET6, MPTCP, RAW, STREAM, TCP, UDP, UDP_LITE, facts, memberships, more_options, queue,
    raw_options, remains, state, stream,
};
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::{FileId, Object, Plan, RestoreKind, Wanted, body};
use crate::netlock::{Flow, LockId, Method, NetworkLock, persistent_key, release_persistent};
use crate::parallel;
use crate::sys::commit_guard::Unfinished;
use crate::sys::task_heap::is_task;

#[derive(Debug, Default)]
pub(crate) struct InetSockets {
    made: BTreeMap<FileId, OwnedFd>,
    /// By the id of their socket.
    connections: HashMap<FileId, Connection>,
    switches: HashMap<FileId, Switches>,
    /// The dump that left the network locked.
    run_id: String,
    /// Connections become closed sockets.
    closes: bool,
    skips_lock: bool,
    /// This restore's own, where no dump has left one.
    lock: RefCell<Option<NetworkLock>>,
    fresh: HashMap<SocketKind, Fresh>,
}

/// A connection in repair mode, and what `SO_REUSEADDR` it had.
type PausedSocket<'a> = (&'a FileEntry, BorrowedFd<'a>, &'a InetSkEntry, bool);

impl RestoreKind for InetSockets {
    fn load(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        let sockets = sockets(plan)?;
        // What is left of a connection has a peer's address, too.
        let has_peer = |isk: &InetSkEntry| facts::is_tcp(SocketKind::of(isk)) && isk.dst_port != 0;
        if sockets.iter().any(|s| stream::is_connection(s.1) || has_peer(s.1)) {
            self.load_inventory(plan, images)?;
        }
        let mut blockers = Vec::new();
        let mut connected = Vec::new();
        for (entry, isk) in sockets {
            if plan.inherit.contains_key(&key(isk)) {
                continue;
            }
            if let Err(cause) = check(isk) {
                blockers.push(blocker(plan, entry, isk, cause));
                continue;
            }
            if stream::is_connection(isk) && !plan.opts.tcp_established() && !self.closes {
                let hint = "restore it with --tcp-established, or close it with --tcp-close";
                blockers.push(blocker(plan, entry, isk, "an established TCP connection").hint(hint));
            } else if facts::is_tcp(SocketKind::of(isk)) && !(self.closes && stream::is_connection(isk)) {
                connected.push(isk);
            }
        }
        for (isk, connection) in connected.iter().zip(parallel::map(&connected, |isk| load_connection(isk, images))) {
            let Some((connection, switches)) = connection? else { continue };
            self.connections.insert(isk.id, connection);
            if switches != (None, None) {
                self.switches.insert(isk.id, switches);
            }
        }
        if blockers.is_empty() { Ok(()) } else { Err(Error::refused(Phase::Check, blockers)) }
    }

    fn prepare(&mut self, plan: &mut Plan) -> Result<()> {
        let plan = &*plan;
        let mut sockets = sockets(plan)?;
        // A program chooses by the numbers that sockets get when they join a port's group.
        sockets.sort_by_key(|(_, isk)| isk.reuseport_index);
        self.lock_network()?;
        let mut users: HashMap<(u32, u32), u32> = HashMap::new();
        for (_, isk) in &sockets {
            *users.entry((protocol(isk), isk.src_port)).or_default() += 1;
        }
        let mut blockers = Vec::new();
        let mut crowded = Vec::new();
        for (entry, isk) in &sockets {
            let shares_port = isk.src_port != 0 && users.get(&(protocol(isk), isk.src_port)).is_some_and(|&n| n > 1);
            let switches = self.switches.get(&entry.id).copied().unwrap_or_default();
            let fresh = self.fresh(SocketKind::of(isk));
            let making = Making { isk, shares_port, fresh, switches, others: &self.made };
            let shape = match self.connections.get(&entry.id) {
                Some(connection) => Shape::Connected(connection),
                None if stream::is_connection(isk) => Shape::Closed,
                None => Shape::Plain,
            };
            let kind = SocketKind::of(isk);
            let wanted = Wanted::Socket { family: kind.family, kind: kind.kind, protocol: kind.protocol };
            match plan.inherited(&key(isk), wanted)?.map_or_else(|| making.make(shape), Ok) {
                Ok(fd) => {
                    if shares_port && !matches!(shape, Shape::Connected(_)) {
                        crowded.push((*entry, *isk));
                    }
                    self.made.insert(entry.id, fd);
                }
                Err(failed) => blockers.push(blocker_of(plan, entry, isk, failed)),
            }
        }
        let mut exclusive = HashMap::new();
        for (entry, isk) in crowded {
            let fd = self.made.get(&entry.id).ok_or_else(|| missing(entry.id))?;
            let settled = making::settle_reuse(fd.as_fd(), isk);
            blockers.extend(settled.err().map(|failed| blocker_of(plan, entry, isk, failed)));
            if facts::is_tcp(SocketKind::of(isk)) && !isk.opts.reuseaddr() {
                exclusive.insert((isk.src_port, &isk.opts.so_bound_dev), (entry, isk));
            }
        }
        for (entry, isk) in exclusive.into_values() {
            blockers.extend(remains::clear(isk).err().map(|failed| blocker_of(plan, entry, isk, failed)));
        }
        if blockers.is_empty() { Ok(()) } else { Err(Error::refused(Phase::Files, blockers)) }
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        // The coordinator has something to do with them later.
        let open = |entry: &&FileEntry| {
            if is_task() {
                return self.made.remove(&entry.id).ok_or_else(|| missing(entry.id));
            }
            let fd = self.made.get(&entry.id).ok_or_else(|| missing(entry.id))?;
            rustix::io::fcntl_dupfd_cloexec(fd, 0)
                .map_err(|e| Error::os(Phase::Files, format!("file {}", entry.id), "dup", e))
        };
        members.iter().map(open).collect()
    }

    fn unfinished(&self, plan: &Plan) -> Result<Option<Box<dyn Unfinished>>> {
        let sockets: Vec<_> = self.paused(plan)?.iter().map(|(_, fd, _, reuse)| (fd.as_raw_fd(), *reuse)).collect();
        if sockets.is_empty() && self.connections.is_empty() {
            return Ok(None);
        }
        let key = match (&*self.lock.borrow(), self.lock_id()) {
            (Some(lock), _) => Some(lock.key()),
            (None, Some(id)) => Some(persistent_key(&id, None)),
            (None, None) => None,
        };
        let key = key.transpose().map_err(|e| e.during(Phase::Resume))?;
        Ok(Some(Box::new(Handover { sockets, key })))
    }

    fn resume(&self, plan: &Plan) -> Result<()> {
        // Waking sets SO_REUSEADDR.
        let quietly = |fd| Paused::take_over(fd, false).resume_quietly();
        self.paused(plan)?.iter().try_for_each(|socket| quietly(socket.1).map_err(|e| not_resumed(plan, socket, &e)))
    }

    fn wake(&self, plan: &Plan) -> Result<()> {
        self.unlock_network()?;
        for socket in self.paused(plan)? {
            let (entry, fd, _, reuse) = socket;
            let is_idle = self.connections.get(&entry.id).is_some_and(stream::is_idle);
            let paused = if is_idle { Paused::take_over_idle(fd, reuse) } else { Paused::take_over(fd, reuse) };
            paused.resume().map_err(|e| not_resumed(plan, &socket, &e))?;
        }
        Ok(())
    }

    fn hand_over(&mut self) {
        self.made.retain(|id, _| self.connections.contains_key(id));
    }

    fn close(&mut self) {
        self.made.clear();
    }
}

impl InetSockets {
    fn load_inventory(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        let inventory: InventoryEntry =
            images.read_one(Kind::Inventory, 0).map_err(|e| Error::image(Phase::Load, e))?;
        self.closes = plan.opts.tcp_close() || inventory.tcp_close();
        let dumped_without = inventory.network_lock_method() == Method::Skip.number();
        self.skips_lock = dumped_without || Method::of(&plan.opts)? == Method::Skip;
        self.run_id = inventory.dump_criu_run_id.unwrap_or_default();
        Ok(())
    }

    /// What a socket of this kind has from the start; nothing of one that cannot be made, as will be seen.
    fn fresh(&mut self, kind: SocketKind) -> Fresh {
        let asked = || kind.socket().and_then(|socket| Fresh::of(socket.as_fd(), kind)).unwrap_or_default();
        *self.fresh.entry(kind).or_insert_with(asked)
    }

    /// Keeps peers away until all is there: as the dump has left it, or anew.
    fn lock_network(&mut self) -> Result<()> {
        // Those that have ended as well: what the kernel answers to the end that comes in their peer's name would reset them.
        let known = self.connections.values().filter(|c| c.peer.port() != 0);
        let flows: Vec<Flow> = known.map(|c| Flow { local: c.local, peer: c.peer }).collect();
        let Some(id) = self.lock_id().filter(|_| !flows.is_empty()) else { return Ok(()) };
        let have_ended = self.connections.values().all(|c| c.data.state == state::CLOSE);
        match NetworkLock::lock(id, &flows, None) {
            Ok(lock) => self.lock = RefCell::new(Some(lock)),
            Err(e) if e.source.raw_os_error() == Some(libc::EEXIST) => {}
            Err(e) if have_ended => log::warn!("connections that have ended are made without a network lock: {e}"),
            Err(e) => return Err(e.during(Phase::Files)),
        }
        Ok(())
    }

    fn paused<'a>(&'a self, plan: &'a Plan) -> Result<Vec<PausedSocket<'a>>> {
        let mut paused = Vec::new();
        for id in self.connections.keys() {
            let (Some(fd), Some(entry)) = (self.made.get(id), plan.entries.get(id)) else { continue };
            let entry: &FileEntry = entry;
            let isk = body(entry, entry.isk.as_deref())?;
            if !plan.inherit.contains_key(&key(isk)) {
                paused.push((entry, fd.as_fd(), isk, isk.opts.reuseaddr()));
            }
        }
        Ok(paused)
    }

    fn unlock_network(&self) -> Result<()> {
        let unlocked = match (self.lock.take(), self.lock_id()) {
            (Some(lock), _) => lock.release(),
            (None, Some(id)) if !self.connections.is_empty() => release_persistent(&id, None).map(drop),
            _ => Ok(()),
        };
        unlocked.map_err(|e| e.during(Phase::Resume))
    }

    /// `None`: no lock is wanted, or the images do not say whose they are.
    fn lock_id(&self) -> Option<LockId> {
        LockId::new(&self.run_id).filter(|_| !self.skips_lock)
    }
}

fn not_resumed(plan: &Plan, (entry, _, isk, _): &PausedSocket<'_>, e: &criu_soccr::Error) -> Error {
    let error = Error::new(Phase::Resume, object(plan, entry, isk), e.to_string()).errno(e.errno());
    error.pid(plan.pid_of(entry.id))
}

/// The connection of a socket; one in state CLOSE may be the rest of one.
fn load_connection(isk: &InetSkEntry, images: &ImageDir) -> Result<Option<(Connection, Switches)>> {
    let loading = |e| Error::image(Phase::Load, e);
    let id = u64::from(isk.ino);
    let image = match isk.state {
        state::LISTEN => return Ok(None),
        state::CLOSE => images.open(Kind::TcpStream, id).map_err(loading)?,
        _ => Some(images.require(Kind::TcpStream, id).map_err(loading)?),
    };
    let Some(mut image) = image else { return Ok(None) };
    let Some(entry) = image.entry::<TcpStreamEntry>().map_err(loading)? else {
        return Err(loading(image.corrupt("no connection in it")));
    };
    let (received, sent) = image.tcp_queues(&entry).map_err(loading)?;
    let addresses = Addresses::of(isk, 0).map_err(|why| loading(image.corrupt(why)))?;
    let switches = (entry.cork, entry.nodelay);
    Ok(Some((stream::connection(isk, addresses, &entry, received, sent), switches)))
}

fn missing(id: FileId) -> Error {
    Error::new(Phase::Files, format!("file {id}"), "its socket was not made")
}

fn sockets(plan: &Plan) -> Result<Vec<(&FileEntry, &InetSkEntry)>> {
    let entries = plan.entries.values().filter(|e| e.r#type() == FdTypes::Inetsk);
    entries.map(|e| Ok((e, body(e, e.isk.as_deref())?))).collect()
}

/// The protocol of the socket itself.
fn protocol(isk: &InetSkEntry) -> u32 {
    if isk.mptcp() { MPTCP } else { isk.proto }
}

/// As `inherit_fd` names it.
fn key(isk: &InetSkEntry) -> String {
    format!("socket:[{}]", isk.ino)
}

/// What of an entry cannot be restored.
fn check(isk: &InetSkEntry) -> Result<(), String> {
    if !matches!(isk.family, INET | INET6) {
        return Err(format!("there is no family {}", isk.family));
    }
    Addresses::of(isk, 0)?;
    more_options::check(&isk.more_opts)?;
    raw_options::check(isk)?;
    isk.groups.iter().try_for_each(memberships::check)?;
    if i32::try_from(isk.backlog).is_err() {
        return Err(format!("a backlog of {}", isk.backlog));
    }
    if [&isk.ifname, &isk.opts.so_bound_dev, &isk.multicast_dev]
        .into_iter()
        .flatten()
        .any(|n| n.is_empty() || n.len() >= libc::IFNAMSIZ || n.contains('\0'))
    {
        return Err("the name of its device is none".into());
    }
    match (isk.r#type, protocol(isk), isk.state) {
        (STREAM, TCP | MPTCP, state::CLOSE | state::LISTEN) => Ok(()),
        (STREAM, TCP, other) => State::from_number(other).map(drop).map_err(|e| e.to_string()),
        (DGRAM, UDP | UDP_LITE, state::ESTABLISHED | state::CLOSE) => queue::check(isk),
        (DGRAM, UDP | UDP_LITE, other) => Err(format!("a UDP socket has no state {other}")),
        (RAW, _, state::ESTABLISHED | state::CLOSE) | (DGRAM, ICMP | ICMPV6, state::ESTABLISHED | state::CLOSE) => {
            queue::check(isk)
        }
        (kind, protocol, _) => Err(format!("sockets of type {kind} and protocol {protocol} cannot be restored yet")),
    }
}

/// `fd 7 (TCP socket 127.0.0.1:80, ino 91822)`, with the first number that has it.
fn object(plan: &Plan, entry: &FileEntry, isk: &InetSkEntry) -> String {
    let holder = plan.first_user.get(&entry.id).and_then(|&at| plan.tables.get(at));
    let fd = holder.and_then(|(_, fds)| fds.iter().find(|f| f.id == entry.id)).map(|f| format!("fd {}", f.fd));
    let kind = match (isk.r#type, protocol(isk)) {
        (RAW, _) => "raw",
        (_, TCP) => "TCP",
        (_, MPTCP) => "MPTCP",
        (_, ICMP | ICMPV6) => "ICMP",
        _ => "UDP",
    };
    let address = Addresses::of(isk, 0).map_or(String::new(), |a| format!(" {}", a.local));
    format!("{} ({kind} socket{address}, ino {})", fd.unwrap_or(format!("file {}", entry.id)), isk.ino)
}

fn blocker(plan: &Plan, entry: &FileEntry, isk: &InetSkEntry, cause: impl Into<String>) -> Blocker {
    Blocker::new(plan.pid_of(entry.id), object(plan, entry, isk), cause)
}

fn blocker_of(plan: &Plan, entry: &FileEntry, isk: &InetSkEntry, failed: Failed) -> Blocker {
    blocker(plan, entry, isk, format!("{}: {}", failed.call, failed.source)).hint(failed.hint())
}

impl SocketKind {
    pub(super) fn of(isk: &InetSkEntry) -> Self {
        SocketKind { family: isk.family, kind: isk.r#type, protocol: protocol(isk) }
    }
}
