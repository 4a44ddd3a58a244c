//! Descriptions that can be opened when every task exists, and not before, and that several tables have: the first table that
//! has one opens it and leaves it in a socket that all have inherited, and the others take duplicates out of there.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::FdinfoEntry;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{RestoreFiles, kind_of};
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::file::object::Object;
use crate::numbers::ByNumber;
use crate::sys::unix::{Along, peek, send};

/// Where each of them waits: who opens it writes to the first end, the others look at what is in the second.
pub(super) type Late = ByNumber<FileId, (OwnedFd, OwnedFd)>;

fn failed(id: FileId, call: &str, e: std::io::Error) -> Error {
    Error::os(Phase::Files, format!("file {id}"), call, e)
}

impl RestoreFiles {
    pub(super) fn is_late(&self, object: Object) -> Result<bool> {
        let first = self.members.get(&object).and_then(|members| members.first());
        match first.and_then(|id| self.plan.entries.get(id)) {
            Some(entry) => Ok(self.kinds[kind_of(entry)?].is_late(&self.plan, entry)),
            None => Ok(false),
        }
    }

    /// In the coordinator, before it forks.
    pub(super) fn expect_late(&mut self, object: Object) -> Result<()> {
        for &id in self.members.get(&object).into_iter().flatten() {
            let (stream, cloexec) = (SocketType::STREAM, SocketFlags::CLOEXEC);
            let pair = socketpair(AddressFamily::UNIX, stream, cloexec, None);
            self.late.insert(id, pair.map_err(|e| failed(id, "socketpair", e.into()))?);
        }
        Ok(())
    }

    /// In a task, when every task exists. What others wait for comes first, so that nobody waits in a circle.
    pub(super) fn open_late(&mut self, at: usize, fds: &[FdinfoEntry]) -> Result<()> {
        let ids: BTreeSet<FileId> = fds.iter().map(|fd| fd.id).filter(|id| self.late.contains_key(id)).collect();
        let (own, others): (Vec<FileId>, _) = ids.into_iter().partition(|id| self.plan.first_user.get(id) == Some(&at));
        for &id in &own {
            let entries = std::rc::Rc::clone(&self.plan.entries);
            if let Some(entry) = entries.get(&id) {
                self.open_objects(&[self.object(entry)?])?;
            }
            let (Some(fd), Some((socket, _))) = (self.opened.get(&id), self.late.get(&id)) else { continue };
            let along = Along { rights: &[fd.as_fd()], ..Along::default() };
            send(socket.as_fd(), &[0], along).map_err(|e| failed(id, "sendmsg", e))?;
        }
        for &id in &others {
            let Some((_, socket)) = self.late.get(&id) else { continue };
            poll(&mut [PollFd::new(socket, PollFlags::IN)], None).map_err(|e| failed(id, "poll", e.into()))?;
            let seen = peek(socket.as_fd(), &mut [0]).map_err(|e| failed(id, "recvmsg", e))?;
            let fd = seen.rights.into_iter().next();
            let fd = fd.ok_or_else(|| failed(id, "recvmsg", std::io::ErrorKind::UnexpectedEof.into()))?;
            self.opened.insert(id, fd);
        }
        self.late.clear();
        Ok(())
    }
}
