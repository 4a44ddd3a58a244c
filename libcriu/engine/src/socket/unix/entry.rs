//! A unix socket's entry in the images: what netlink tells, who its peer is, where its file is; and those of its messages.

use std::os::fd::AsFd;

use criu_images::messages::{
    FdTypes, FileEntry, FilePermsEntry, SkPacketEntry, SkPeerEntry, SkShutdown, SkUcredEntry, UnixSkEntry,
};

use super::dump::{Packet, Socket};
use super::makers::peer_of;
use super::name::{Name, SocketFile, directory, shown};
use super::queue::{Message, has_error};
use super::{DGRAM, SEQPACKET, STREAM, state};
use crate::error::{Error, Phase, Result};
use crate::file::{Collected, FileId, Seen, Unsaved};
use crate::namespace::Namespace;
use crate::numbers::ByNumber;
use crate::proc::ProcDir;
use crate::socket::diag::UnixSocket;

/// Who has connected a socket that waits to be accepted: the kernel tells that to those who accept it alone. It is taken to
/// be the task that has the socket.
pub(super) fn connected_by(socket: &Socket) -> Result<SkPeerEntry> {
    let failed = |e| Error::os(Phase::Collect, socket.object(), "read /proc/PID/status", e).pid(socket.pid);
    let status = ProcDir::open(socket.pid).and_then(|proc| proc.status()).map_err(failed)?;
    let [_, uid, ..] = status.uids;
    let [_, gid, ..] = status.gids;
    Ok(SkPeerEntry { pid: socket.pid as u32, uid, gid, groups: status.groups })
}

/// Whom the socket names as its peer.
pub(super) fn peer(
    known: &mut ByNumber<(u64, u64), Option<SkPeerEntry>>,
    seen: &Seen<'_>,
) -> Result<Option<SkPeerEntry>, Unsaved> {
    let place = seen.told.map(|t| t.peer);
    if let Some(known) = place.and_then(|place| known.get(&place)) {
        return Ok(known.clone());
    }
    let found = peer_of(seen.dup.as_fd()).map_err(|e| Unsaved::os(seen, "getsockopt SO_PEERCRED", e))?;
    if let Some(place) = place {
        known.insert(place, found.clone());
    }
    Ok(found)
}

/// Whether ECONNRESET waits to be told: the peer was closed before it had read all.
pub(super) fn peer_reset(seen: &Seen<'_>, told: &UnixSocket) -> Result<Option<bool>, Unsaved> {
    if told.peer != Some(0) || told.shutdown != 3 || u32::from(told.kind) == DGRAM {
        return Ok(None);
    }
    Ok(Some(has_error(seen.dup.as_fd()).map_err(|e| Unsaved::os(seen, "poll", e))?).filter(|&reset| reset))
}

/// Connected, and without a name.
pub(super) fn is_one_of_a_pair(socket: &UnixSocket) -> bool {
    let is_nameless = socket.name.is_none() && socket.file.is_none();
    is_nameless
        && socket.peer.is_some_and(|peer| peer != 0)
        && socket.waiting.is_empty()
        && u32::from(socket.state) != state::LISTEN
        && matches!(u32::from(socket.kind), STREAM | DGRAM | SEQPACKET)
}

pub(super) fn file_entry(usk: UnixSkEntry) -> FileEntry {
    FileEntry { r#type: FdTypes::Unixsk as i32, id: usk.id, usk: Some(Box::new(usk)), ..FileEntry::default() }
}

/// What netlink tells.
pub(super) fn entry(id: FileId, ino: u32, flags: u32, told: &UnixSocket) -> UnixSkEntry {
    // A datagram socket that somebody has connected to is called established as well.
    let state = match told.peer {
        Some(_) => state::ESTABLISHED,
        None if u32::from(told.kind) == DGRAM => state::CLOSE,
        None => u32::from(told.state),
    };
    UnixSkEntry {
        id,
        ino,
        r#type: u32::from(told.kind),
        state,
        flags,
        uflags: 0,
        backlog: told.wqueue,
        peer: told.peer.unwrap_or(0),
        name: told.name.clone().unwrap_or_default(),
        shutdown: SkShutdown::try_from(i32::from(told.shutdown)).ok().filter(|&s| s != SkShutdown::None).map(i32::from),
        ns_id: Some(Namespace::Net as u32 + 1),
        pending: told.waiting.clone(),
        peer_gone: (u32::from(told.kind) == DGRAM && told.peer == Some(0)).then_some(true),
        ..UnixSkEntry::default()
    }
}

/// Where the file of a socket with a path is, and whose.
pub(super) fn name_and_file(seen: &Seen<'_>, told: &UnixSocket, usk: &mut UnixSkEntry) -> Result<(), Unsaved> {
    let Name::Path(name) = Name::parse(&usk.name).map_err(Unsaved::because)? else { return Ok(()) };
    if told.file.is_none() {
        return Ok(());
    }
    let file = match SocketFile::of(seen.dup.as_fd()) {
        Ok(file) => file,
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
            return Err(Unsaved::because("the file it is bound to cannot be found out without CAP_NET_ADMIN"));
        }
        Err(e) => return Err(Unsaved::os(seen, "ioctl SIOCUNIXFILE", e)),
    };
    if file.deleted {
        if file.stat.st_nlink > 0 {
            let cause = format!("its name {} is gone, but its file has other links", shown(name));
            return Err(Unsaved::because(cause).hint("remove them, or close it before the dump"));
        }
        usk.deleted = Some(true);
    } else if file.stat.st_nlink > 1 {
        let (pid, names) = (seen.holder_pid, file.stat.st_nlink - 1);
        log::warn!("pid {pid} {}: other names of its file ({names}) will not lead to it any more", seen.object());
    } else if !file.is_reachable() {
        let cause = format!("the file it is bound to is not reachable as {}", shown(&file.path));
        return Err(Unsaved::because(cause).hint("dump inside its mount namespace"));
    }
    if name != file.path && !file.deleted {
        usk.file_path = Some(file.path.clone());
    }
    usk.name_dir = directory(name, &file.path);
    let stat = &file.stat;
    usk.file_perms = Some(FilePermsEntry { mode: stat.st_mode, uid: stat.st_uid, gid: stat.st_gid });
    Ok(())
}

/// The entry of a message; its descriptors follow when they have ids.
pub(super) fn packet(id_for: FileId, message: Message, common: &Collected) -> Packet {
    let ucred = message.credentials.map(|c| SkUcredEntry {
        pid: common.tasks.get(&c.pid).copied().unwrap_or(c.pid) as u32,
        uid: c.uid,
        gid: c.gid,
    });
    let entry = SkPacketEntry {
        id_for,
        length: message.bytes.len() as u32,
        scm: Vec::new(),
        sender: Some(message.sender).filter(|s| !s.is_empty()),
        ucred,
        urgent: message.urgent.then_some(true),
    };
    Packet { entry, bytes: message.bytes }
}
