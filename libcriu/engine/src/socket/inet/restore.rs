//! Internet sockets, made again by the coordinator: all of a tree by one process, because ports belong to all of them.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};

use criu_images::ImageDir;
use criu_images::messages::{FdTypes, FileEntry, InetSkEntry};

use super::address::Addresses;
use super::making::{Failed, Making};
use super::more_options::SocketKind;
use super::{DGRAM, INET, INET6, STREAM, TCP, UDP, more_options, state};
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::{FileId, Object, Plan, RestoreKind, body};

#[derive(Debug, Default)]
pub(crate) struct InetSockets {
    made: BTreeMap<FileId, OwnedFd>,
}

impl RestoreKind for InetSockets {
    fn load(&mut self, plan: &Plan, _images: &ImageDir) -> Result<()> {
        let mut blockers = Vec::new();
        for (entry, isk) in sockets(plan)? {
            if let Err(cause) = check(isk) {
                blockers.push(blocker(plan, entry, isk, cause));
            }
        }
        if blockers.is_empty() { Ok(()) } else { Err(Error::refused(Phase::Check, blockers)) }
    }

    fn prepare(&mut self, plan: &mut Plan) -> Result<()> {
        let plan = &*plan;
        let sockets = sockets(plan)?;
        let mut users: HashMap<(u32, u32), u32> = HashMap::new();
        for (_, isk) in &sockets {
            *users.entry((isk.proto, isk.src_port)).or_default() += 1;
        }
        let mut blockers = Vec::new();
        let mut crowded = Vec::new();
        for (entry, isk) in &sockets {
            let shares_port = isk.src_port != 0 && users.get(&(isk.proto, isk.src_port)).is_some_and(|&n| n > 1);
            let making = Making { isk, shares_port };
            match plan.inherited(&key(isk))?.map_or_else(|| making.make(), Ok) {
                Ok(fd) => {
                    if shares_port {
                        crowded.push((*entry, *isk));
                    }
                    self.made.insert(entry.id, fd);
                }
                Err(failed) => blockers.push(blocker_of(plan, entry, isk, failed)),
            }
        }
        for (entry, isk) in crowded {
            let fd = self.made.get(&entry.id).ok_or_else(|| missing(entry.id))?;
            let settled = Making { isk, shares_port: true }.settle_reuse(fd.as_fd());
            blockers.extend(settled.err().map(|failed| blocker_of(plan, entry, isk, failed)));
        }
        if blockers.is_empty() { Ok(()) } else { Err(Error::refused(Phase::Files, blockers)) }
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[FileEntry]) -> Result<Vec<OwnedFd>> {
        let duplicate = |entry: &FileEntry| {
            let fd = self.made.get(&entry.id).ok_or_else(|| missing(entry.id))?;
            rustix::io::fcntl_dupfd_cloexec(fd, 0)
                .map_err(|e| Error::os(Phase::Files, format!("file {}", entry.id), "dup", e))
        };
        members.iter().map(duplicate).collect()
    }

    fn close(&mut self) {
        self.made.clear();
    }
}

fn missing(id: FileId) -> Error {
    Error::new(Phase::Files, format!("file {id}"), "its socket was not made")
}

fn sockets(plan: &Plan) -> Result<Vec<(&FileEntry, &InetSkEntry)>> {
    let entries = plan.entries.values().filter(|e| e.r#type() == FdTypes::Inetsk);
    entries.map(|e| Ok((e, body(e, e.isk.as_ref())?))).collect()
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
    if i32::try_from(isk.backlog).is_err() {
        return Err(format!("a backlog of {}", isk.backlog));
    }
    if isk.ifname.as_ref().is_some_and(|n| n.is_empty() || n.len() >= libc::IFNAMSIZ || n.contains('\0')) {
        return Err("the name of its device is none".into());
    }
    match (isk.r#type, isk.proto, isk.state) {
        (STREAM, TCP, state::CLOSE | state::LISTEN) => Ok(()),
        (STREAM, TCP, state::ESTABLISHED..=11) => Err("an established TCP connection cannot be restored yet".into()),
        (STREAM, TCP, other) => Err(format!("there is no state {other}")),
        (DGRAM, UDP, state::ESTABLISHED | state::CLOSE) => Ok(()),
        (DGRAM, UDP, other) => Err(format!("a UDP socket has no state {other}")),
        (kind, protocol, _) => Err(format!("sockets of type {kind} and protocol {protocol} cannot be restored yet")),
    }
}

/// `fd 7 (TCP socket 127.0.0.1:80, ino 91822)`, with the first number that has it.
fn object(plan: &Plan, entry: &FileEntry, isk: &InetSkEntry) -> String {
    let holder = plan.first_user.get(&entry.id).and_then(|&at| plan.tables.get(at));
    let fd = holder.and_then(|(_, fds)| fds.iter().find(|f| f.id == entry.id)).map(|f| format!("fd {}", f.fd));
    let kind = if isk.proto == TCP { "TCP" } else { "UDP" };
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
        SocketKind { family: isk.family, kind: isk.r#type, protocol: isk.proto }
    }
}
