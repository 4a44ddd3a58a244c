//! Unix sockets: a group is made, filled, given its options and shut down.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use criu_images::ImageDir;
use criu_images::messages::{CriuDumpResp, CriuReqType, CriuResp, FileEntry, SkShutdown, UnixSkEntry};
use prost::Message;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socket_with};

use super::bind::Files;
use super::fill::Filling;
use super::make::{Making, pair};
use super::makers::{Makers, needs_stand_in};
use super::saved::{Sockets, key};
use super::{SERVICE, named, state};
use crate::error::{Error, Phase, Result};
use crate::file::{FileId, Object, Plan, RestoreKind, Wanted, body};
use crate::numbers::ByNumber;
use crate::socket::options::{self, Sizes};
use crate::sys::stand_in::Call;

#[derive(Debug, Default)]
pub(crate) struct UnixSockets {
    sockets: Sockets,
    files: Files,
    /// The other ends of sockets whose peer is gone, until their queues are filled.
    others: ByNumber<FileId, OwnedFd>,
    /// Descriptors that stand in for sockets: nothing is done to them.
    inherited: Vec<FileId>,
    makers: Makers,
    /// What others have made than the task that uses it.
    made_by_others: HashSet<Object>,
    /// Those that nobody but socketpair has had to do with.
    pairs: HashSet<FileId>,
    /// Of fresh sockets, by their type.
    sizes: ByNumber<u32, Sizes>,
}

impl RestoreKind for UnixSockets {
    fn load(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        self.sockets = Sockets::load(plan, images)?;
        Ok(())
    }

    fn prepare(&mut self, plan: &mut Plan) -> Result<()> {
        for usk in plan.entries.values().filter_map(|e| e.usk.as_deref()) {
            if needs_stand_in(usk, plan.pid_of(usk.id)) {
                let object = self.sockets.group_of(usk.id).map_or(Object::Alone(usk.id), Object::Unix);
                self.made_by_others.insert(object);
            }
        }
        Ok(())
    }

    fn object(&self, entry: &FileEntry) -> Object {
        self.sockets.group_of(entry.id).map_or(Object::Alone(entry.id), Object::Unix)
    }

    fn early(&self, object: Object) -> bool {
        // Their files are removed when the restore fails, which only the coordinator can.
        matches!(object, Object::Unix(group) if self.sockets.makes_files(group))
            || self.made_by_others.contains(&object)
    }

    fn needs(&self, id: FileId) -> &[FileId] {
        self.sockets.needs(id)
    }

    fn open(&mut self, plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let group = group(members)?;
        if let [usk] = group.as_slice()
            && usk.uflags == SERVICE
        {
            let (fd, other) = pair(&mut self.makers, usk)?;
            answer(usk, &other)?;
            return Ok(vec![fd]);
        }
        let inherited = inherited(plan, &group)?;
        self.inherited.extend(inherited.keys());
        let mut making = Making::new(&group, &self.sockets, &mut self.files, &mut self.makers, inherited);
        making.make()?;
        let Making { mut fds, others, pairs, .. } = making;
        self.others.extend(others);
        self.pairs.extend(pairs);
        let missing = |usk: &&UnixSkEntry| Error::new(Phase::Files, named(usk), "was not made");
        group.iter().map(|usk| fds.remove(&usk.id).ok_or_else(|| missing(usk))).collect()
    }

    fn complete(&mut self, _plan: &Plan, members: &[&FileEntry], opened: &ByNumber<FileId, OwnedFd>) -> Result<()> {
        let group = group(members)?;
        let own: Vec<&UnixSkEntry> = group.into_iter().filter(|s| !self.inherited.contains(&s.id)).collect();
        let Sockets { queues, outside, .. } = &self.sockets;
        let filling = Filling { group: &own, opened, others: &self.others, queues, outside, widened: Cell::new(false) };
        filling.fill()?;
        let widened = filling.widened.get();
        for usk in own {
            let fd = opened.get(&usk.id).ok_or_else(|| Error::new(Phase::Files, named(usk), "was not opened"))?;
            if usk.peer_reset() && self.others.contains_key(&usk.id) {
                // What the other end has not read when it is closed.
                let sent = send(fd, &[0], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
                sent.map_err(|e| Error::os(Phase::Files, named(usk), "send", e))?;
            }
            self.others.remove(&usk.id);
            self.finish(usk, fd, widened)?;
        }
        Ok(())
    }

    fn opened(&mut self) {
        self.makers.dismiss();
    }

    fn finished(&mut self) {
        self.files.keep();
    }
}

impl UnixSockets {
    /// Backlog, options, shutdown and status flags.
    fn finish(&mut self, usk: &UnixSkEntry, fd: &OwnedFd, widened: bool) -> Result<()> {
        let is_fresh = self.pairs.contains(&usk.id) && !widened;
        let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, named(usk), call, e);
        if usk.state == state::LISTEN {
            let backlog = i32::try_from(usk.backlog).unwrap_or(i32::MAX);
            let listen = Call::Listen(fd.as_fd(), backlog);
            self.makers.call(usk, usk.peer_cred.as_ref(), listen).map_err(|e| failed("listen", e))?;
        }
        let sizes = if is_fresh { Some(self.sizes(usk).map_err(|e| failed("getsockopt", e))?) } else { None };
        options::write(fd.as_fd(), &usk.opts, sizes).map_err(|e| failed("setsockopt", e))?;
        let how = match usk.shutdown() {
            // One end of a closed pair has both already, from its peer.
            _ if usk.shutdown.is_none() || usk.peer == 0 && usk.shutdown() == SkShutdown::Both => None,
            SkShutdown::None => None,
            SkShutdown::Read => Some(Shutdown::Read),
            SkShutdown::Write => Some(Shutdown::Write),
            SkShutdown::Both => Some(Shutdown::Both),
        };
        if let Some(how) = how {
            shutdown(fd, how).map_err(|e| failed("shutdown", e.into()))?;
        }
        let flags = OFlags::from_bits_retain(usk.flags) & (OFlags::NONBLOCK | OFlags::APPEND | OFlags::NOATIME);
        if flags.is_empty() && self.pairs.contains(&usk.id) {
            return Ok(());
        }
        fcntl_setfl(fd, flags).map_err(|e| failed("fcntl F_SETFL", e.into()))
    }

    /// The buffers of fresh sockets of the same type.
    fn sizes(&mut self, usk: &UnixSkEntry) -> std::io::Result<Sizes> {
        if let Some(&known) = self.sizes.get(&usk.r#type) {
            return Ok(known);
        }
        let kind = SocketType::from_raw(usk.r#type);
        let fresh = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let sizes = Sizes::of(fresh.as_fd())?;
        self.sizes.insert(usk.r#type, sizes);
        Ok(sizes)
    }
}

fn group<'a>(members: &[&'a FileEntry]) -> Result<Vec<&'a UnixSkEntry>> {
    members.iter().map(|m| body(m, m.usk.as_deref())).collect()
}

/// Those of a group that the caller has given descriptors for.
fn inherited(plan: &Plan, group: &[&UnixSkEntry]) -> Result<ByNumber<FileId, OwnedFd>> {
    let mut inherited = HashMap::default();
    if plan.inherit.is_empty() {
        return Ok(inherited);
    }
    for usk in group {
        let wanted = Wanted::Socket { family: libc::AF_UNIX as u32, kind: usk.r#type, protocol: 0 };
        if let Some(fd) = plan.inherited(&key(usk), wanted)? {
            inherited.insert(usk.id, fd);
        }
    }
    for usk in group.iter().filter(|s| s.peer != 0 && !inherited.contains_key(&s.id)) {
        if group.iter().any(|p| p.ino == usk.peer && p.peer == usk.ino && inherited.contains_key(&p.id)) {
            let why = "only its peer is inherited: inherit both, or none";
            return Err(Error::new(Phase::Files, named(usk), why));
        }
    }
    Ok(inherited)
}

/// What the caller of a self-dump reads after the restore.
fn answer(usk: &UnixSkEntry, other: &OwnedFd) -> Result<()> {
    let response = CriuResp {
        r#type: CriuReqType::Dump as i32,
        success: true,
        dump: Some(CriuDumpResp { restored: Some(true) }),
        ..CriuResp::default()
    };
    send(other, &response.encode_to_vec(), SendFlags::NOSIGNAL)
        .map_err(|e| Error::os(Phase::Files, named(usk), "send", e))?;
    Ok(())
}
