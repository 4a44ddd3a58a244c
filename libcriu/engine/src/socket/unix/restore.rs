//! Unix sockets: pairs are made, filled from the other end, given their options and shut down.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::{
    CriuDumpResp, CriuReqType, CriuResp, FdTypes, FileEntry, SkPacketEntry, SkShutdown, UnixSkEntry,
};
use criu_images::{ImageDir, Kind};
use prost::Message;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::{
    AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socket_with, socketpair,
};

use super::{DGRAM, MAX_QUEUE_BYTES, SEQPACKET, SERVICE, STREAM, state};
use crate::error::{Error, Phase, Result};
use crate::file::{FileId, Object, Plan, RestoreKind, body};
use crate::socket::options;
use crate::sys::socket::{option, set_option};

#[derive(Debug, Default)]
pub(crate) struct UnixSockets {
    queues: HashMap<FileId, Vec<Vec<u8>>>,
    by_ino: HashMap<u32, FileId>,
}

impl RestoreKind for UnixSockets {
    fn load(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Unixsk) {
            let usk = body(entry, entry.usk.as_ref())?;
            if self.by_ino.insert(usk.ino, entry.id).is_some() {
                return Err(Error::new(Phase::Check, name(usk), "two sockets have this inode"));
            }
        }
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Unixsk) {
            let usk = body(entry, entry.usk.as_ref())?;
            if !plan.inherit.contains_key(&key(usk)) {
                self.supported(plan, usk)?;
            }
        }
        self.load_queues(plan, images)
    }

    fn object(&self, entry: &FileEntry) -> Object {
        match &entry.usk {
            Some(usk) if usk.peer != 0 && usk.uflags == 0 && self.by_ino.contains_key(&usk.peer) => {
                Object::UnixPair(usk.ino.min(usk.peer))
            }
            _ => Object::Alone(entry.id),
        }
    }

    fn open(&mut self, plan: &mut Plan, _object: Object, members: &[FileEntry]) -> Result<Vec<OwnedFd>> {
        let sockets = members.iter().map(|m| body(m, m.usk.as_ref())).collect::<Result<Vec<_>>>()?;
        let mut inherited = Vec::new();
        for usk in &sockets {
            inherited.extend(plan.inherited(&key(usk))?);
        }
        if !inherited.is_empty() {
            if inherited.len() != sockets.len() {
                let why = "only one end of the pair is inherited: inherit both, or none";
                return Err(Error::new(Phase::Files, name(sockets[0]), why));
            }
            return Ok(inherited);
        }
        match sockets.as_slice() {
            [a, b] => {
                let (fd_a, fd_b) = pair(a)?;
                self.fill(a, &fd_b)?;
                self.fill(b, &fd_a)?;
                finish(a, &fd_a)?;
                finish(b, &fd_b)?;
                Ok(vec![fd_a, fd_b])
            }
            [one] => Ok(vec![self.open_one(one)?]),
            _ => Err(Error::new(Phase::Files, "unix sockets", format!("a pair of {}", sockets.len()))),
        }
    }
}

impl UnixSockets {
    fn supported(&self, plan: &Plan, usk: &UnixSkEntry) -> Result<()> {
        let wrong = |why: String| Err(Error::new(Phase::Check, name(usk), why));
        if !matches!(usk.r#type, STREAM | DGRAM | SEQPACKET) {
            return wrong(format!("there is no type {}", usk.r#type));
        }
        if usk.uflags == SERVICE {
            return Ok(());
        }
        if usk.uflags != 0 {
            return wrong(format!("external sockets (flags {:#x}) cannot be restored yet", usk.uflags));
        }
        if usk.state == state::LISTEN || !usk.name.is_empty() {
            return wrong("a socket with a name cannot be restored yet".into());
        }
        if usk.peer == 0 {
            return Ok(());
        }
        let peer = self.by_ino.get(&usk.peer).and_then(|id| plan.entries.get(id)).and_then(|e| e.usk.as_ref());
        match peer {
            Some(peer) if peer.peer == usk.ino && peer.r#type == usk.r#type && peer.uflags == 0 => Ok(()),
            Some(_) => wrong("connected by name: cannot be restored yet".into()),
            None => wrong(format!("its peer (ino {}) is not in files.img", usk.peer)),
        }
    }

    fn load_queues(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        let loading = |e| Error::image(Phase::Load, e);
        let Some(mut image) = images.open(Kind::SkQueues, 0).map_err(loading)? else { return Ok(()) };
        let mut total = 0;
        while let Some(packet) = image.entry::<SkPacketEntry>().map_err(loading)? {
            total += u64::from(packet.length);
            if total > MAX_QUEUE_BYTES {
                return Err(loading(image.corrupt("more bytes than sockets can hold")));
            }
            let message = image.payload(u64::from(packet.length)).map_err(loading)?;
            let Some(usk) = plan.entries.get(&packet.id_for).and_then(|e| e.usk.as_ref()) else {
                return Err(loading(image.corrupt(format!("file {} is no unix socket", packet.id_for))));
            };
            if !packet.scm.is_empty() {
                return Err(Error::new(Phase::Check, name(usk), "descriptors in a message cannot be restored yet"));
            }
            self.queues.entry(packet.id_for).or_default().push(message);
        }
        Ok(())
    }

    fn open_one(&self, usk: &UnixSkEntry) -> Result<OwnedFd> {
        let fd = if usk.uflags == SERVICE {
            let (fd, other) = pair(usk)?;
            answer(usk, &other)?;
            fd
        } else if usk.state == state::CLOSE {
            socket_with(AddressFamily::UNIX, kind(usk), SocketFlags::CLOEXEC, None)
                .map_err(|e| Error::os(Phase::Files, name(usk), "socket", e))?
        } else {
            // Its peer was closed: the other end of a pair is, once it has sent what was not read yet.
            let (fd, other) = pair(usk)?;
            self.fill(usk, &other)?;
            fd
        };
        finish(usk, &fd)?;
        Ok(fd)
    }

    /// Has `other` send what `usk` had not read.
    fn fill(&self, usk: &UnixSkEntry, other: &OwnedFd) -> Result<()> {
        let Some(messages) = self.queues.get(&usk.id) else { return Ok(()) };
        let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, name(usk), call, e);
        let total: usize = messages.iter().map(|m| m.len() + 4096).sum();
        let (buffer, lock) = (option(other.as_fd(), libc::SO_SNDBUF), option(other.as_fd(), SO_BUF_LOCK));
        let buffer = buffer.map_err(|e| failed("getsockopt", e))?;
        let wanted = u32::try_from(total.saturating_mul(4)).unwrap_or(i32::MAX as u32).max(buffer as u32);
        options::buffer(other.as_fd(), libc::SO_SNDBUF, libc::SO_SNDBUFFORCE, wanted)
            .map_err(|e| failed("setsockopt SO_SNDBUF", e))?;
        for message in messages {
            let mut rest = message.as_slice();
            loop {
                let sent = send(other, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
                    .map_err(|e| failed("send", e.into()))?;
                rest = rest.get(sent..).unwrap_or(&[]);
                if rest.is_empty() {
                    break;
                }
            }
        }
        // What the other end is to have is set by its own entry; a socket without one is about to be closed.
        options::buffer(other.as_fd(), libc::SO_SNDBUF, libc::SO_SNDBUFFORCE, buffer as u32)
            .map_err(|e| failed("setsockopt SO_SNDBUF", e))?;
        if let Ok(lock) = lock {
            set_option(other.as_fd(), SO_BUF_LOCK, lock).map_err(|e| failed("setsockopt SO_BUF_LOCK", e))?;
        }
        Ok(())
    }
}

const SO_BUF_LOCK: i32 = 72;

fn name(usk: &UnixSkEntry) -> String {
    format!("file {} (unix socket ino {})", usk.id, usk.ino)
}

/// As `inherit_fd` names it.
fn key(usk: &UnixSkEntry) -> String {
    format!("socket:[{}]", usk.ino)
}

fn kind(usk: &UnixSkEntry) -> SocketType {
    SocketType::from_raw(usk.r#type)
}

fn pair(usk: &UnixSkEntry) -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, kind(usk), SocketFlags::CLOEXEC, None)
        .map_err(|e| Error::os(Phase::Files, name(usk), "socketpair", e))
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
        .map_err(|e| Error::os(Phase::Files, name(usk), "send", e))?;
    Ok(())
}

/// Options, shutdown and status flags.
fn finish(usk: &UnixSkEntry, fd: &OwnedFd) -> Result<()> {
    let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, name(usk), call, e);
    options::write(fd.as_fd(), &usk.opts).map_err(|e| failed("setsockopt", e))?;
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
    fcntl_setfl(fd, flags).map_err(|e| failed("fcntl F_SETFL", e.into()))
}
