//! Unix sockets: entries from netlink and socket options, queues by peeking.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::{FdTypes, FileEntry, SkPacketEntry, SkShutdown, UnixSkEntry};
use criu_images::{ImageDir, Kind};
use rustix::net::{AddressFamily, sockopt::socket_domain};

use super::queue::{Queue, peek};
use super::{SERVICE, STREAM, state};
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::{Collected, DumpKind, FileId, Seen, Unsaved};
use crate::mem::pages::PagesIds;
use crate::namespace::Namespace;
use crate::socket::diag::{UnixSocket, unix_sockets};
use crate::socket::options;

#[derive(Debug)]
struct Socket {
    id: FileId,
    pid: i32,
    object: String,
    ino: u32,
    peer: u32,
    kind: u32,
    unread: u32,
    dup: OwnedFd,
    messages: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
pub(crate) struct UnixSockets {
    /// Asked for when the first one is met.
    diag: Option<HashMap<u32, UnixSocket>>,
    sockets: Vec<Socket>,
}

impl DumpKind for UnixSockets {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.file_type() == libc::S_IFSOCK
            && seen.link.starts_with(b"socket:[")
            && socket_domain(&seen.dup).is_ok_and(|d| d == AddressFamily::UNIX)
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let diag = match &mut self.diag {
            Some(diag) => diag,
            none => none.insert(unix_sockets().map_err(|e| Unsaved::os(seen, "sock_diag", e))?),
        };
        let ino = seen.stat.st_ino as u32;
        let Some(told) = diag.get(&ino) else {
            return Err(Unsaved::because("a unix socket of another network namespace"));
        };
        let service = common.service_sk_ino == Some(seen.stat.st_ino);
        if !service {
            supported(told)?;
        }
        let opts = match options::read(seen.dup.as_fd()).map_err(|e| Unsaved::os(seen, "getsockopt", e))? {
            Ok(opts) => opts,
            Err(what) => return Err(Unsaved::because(format!("{what} cannot be saved"))),
        };
        let peer = told.peer.unwrap_or(0);
        if !service {
            let dup = rustix::io::fcntl_dupfd_cloexec(&seen.dup, 0).map_err(|e| Unsaved::os(seen, "dup", e))?;
            self.sockets.push(Socket {
                id,
                pid: seen.task.pid,
                object: format!("{} (unix socket ino {ino})", seen.holder),
                ino,
                peer,
                kind: u32::from(told.kind),
                unread: told.rqueue,
                dup,
                messages: Vec::new(),
            });
        }
        let usk = UnixSkEntry {
            id,
            ino,
            r#type: u32::from(told.kind),
            state: if told.peer.is_some() { state::ESTABLISHED } else { u32::from(told.state) },
            flags: seen.info.flags,
            uflags: if service { SERVICE } else { 0 },
            backlog: told.wqueue,
            peer,
            fown: seen.fown,
            opts,
            name: Vec::new(),
            shutdown: SkShutdown::try_from(i32::from(told.shutdown))
                .ok()
                .filter(|&s| s != SkShutdown::None)
                .map(i32::from),
            ns_id: Some(Namespace::Net as u32 + 1),
            ..UnixSkEntry::default()
        };
        Ok(FileEntry { r#type: FdTypes::Unixsk as i32, id, usk: Some(usk), ..FileEntry::default() })
    }

    fn resolve(&mut self, _common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        let peers: HashMap<u32, u32> = self.sockets.iter().map(|s| (s.ino, s.peer)).collect();
        let mut buf = Vec::new();
        for socket in &mut self.sockets {
            let mut refuse = |cause: String, hint: &str| {
                blockers.push(Blocker::new(socket.pid, &*socket.object, cause).hint(hint));
            };
            match peers.get(&socket.peer) {
                _ if socket.peer == 0 => {}
                Some(&back) if back == socket.ino => {}
                Some(_) => {
                    refuse(
                        "connected by name to a socket that is not connected back".into(),
                        "close it before the dump",
                    );
                    continue;
                }
                None => {
                    let cause = format!("its peer (ino {}) is outside the tree", socket.peer);
                    refuse(cause, "dump the peer's process as well, or close it before the dump");
                    continue;
                }
            }
            let object = &socket.object;
            let failed = |e| Error::os(Phase::Collect, object, "recvmsg", e).pid(socket.pid);
            match peek(socket.dup.as_fd(), socket.kind, socket.unread, &mut buf).map_err(failed)? {
                Queue::Refused(why) => refuse(why.into(), "have them read before the dump"),
                Queue::Messages(messages) => socket.messages = messages,
            }
        }
        Ok(())
    }

    fn save(&mut self, _common: &Collected, images: &ImageDir, _ids: &mut PagesIds) -> Result<()> {
        if self.sockets.iter().all(|s| s.messages.is_empty()) {
            return Ok(());
        }
        let saving = |e| Error::image(Phase::Save, e);
        let mut image = images.create(Kind::SkQueues, 0).map_err(saving)?;
        for socket in &self.sockets {
            for message in &socket.messages {
                let packet = SkPacketEntry { id_for: socket.id, length: message.len() as u32, scm: Vec::new() };
                image.entry(&packet).map_err(saving)?;
                image.raw(message).map_err(saving)?;
            }
        }
        image.finish().map_err(saving)
    }
}

/// Refuses what has a name, or is not connected to a socket of its own.
fn supported(told: &UnixSocket) -> Result<(), Unsaved> {
    let kind = u32::from(told.kind);
    if u32::from(told.state) == state::LISTEN {
        return Err(Unsaved::because("a listening unix socket cannot be saved yet").hint("close it before the dump"));
    }
    if told.name.as_ref().is_some_and(|n| !n.is_empty()) {
        return Err(Unsaved::because("a unix socket with a name cannot be saved yet").hint("close it before the dump"));
    }
    // A closed peer has shut both directions; one that was not accepted yet has not.
    if told.peer == Some(0) && kind != super::DGRAM && told.shutdown != 3 {
        return Err(Unsaved::because("its connection waits to be accepted").hint("accept it before the dump"));
    }
    match kind {
        STREAM | super::DGRAM | super::SEQPACKET => Ok(()),
        other => Err(Unsaved::because(format!("a unix socket of type {other}"))),
    }
}
