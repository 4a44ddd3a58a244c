//! Descriptors that wait in messages: duplicates of them are the engine's own, and are looked at as those of a task are.

use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{PidfdFlags, pidfd_open};

use super::DumpFiles;
use super::look::{look, open_below, open_proc};
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::fdinfo::FdInfo;
use crate::file::identity::Found;
use crate::file::kind::InFlight;
use crate::file::{DumpTask, FileId};

impl DumpFiles {
    /// Descriptors that wait in messages, and in the messages of sockets among those.
    pub(super) fn collect_in_flight(&mut self, blockers: &mut Vec<Blocker>) -> Result<()> {
        loop {
            let before = self.in_flight.len();
            for kind in 0..self.kinds.len() {
                let found = self.kinds.get_mut(kind).map(|k| k.in_flight(&self.common, blockers));
                for descriptor in found.transpose()?.unwrap_or_default() {
                    let first = blockers.len();
                    let id = self.take_in(&descriptor, blockers)?;
                    for blocker in blockers.iter_mut().skip(first) {
                        blocker.pid = descriptor.pid;
                    }
                    if let (Some(id), Some(kind)) = (id, self.kinds.get_mut(kind)) {
                        kind.taken_in(descriptor.ticket, id);
                        self.common.in_messages.insert(id);
                    }
                    self.in_flight.push(descriptor.fd);
                }
            }
            if self.in_flight.len() == before {
                return Ok(());
            }
        }
    }

    /// The id of a descriptor of the engine's own.
    fn take_in(&mut self, found: &InFlight, blockers: &mut Vec<Blocker>) -> Result<Option<FileId>> {
        let own = rustix::process::getpid();
        let pidfd = pidfd_open(own, PidfdFlags::empty())
            .map_err(|e| Error::os(Phase::Collect, &*found.holder, "pidfd_open", e).pid(found.pid))?;
        let task = DumpTask { pid: own.as_raw_nonzero().get(), vpid: 0, pidfd: pidfd.as_fd() };
        let proc = open_proc(&task)?;
        let (fd_dir, info_dir) = (open_below(&task, &proc, "fd")?, open_below(&task, &proc, "fdinfo")?);
        let fd = found.fd.as_raw_fd();
        let info = FdInfo::read(info_dir.as_fd(), fd, &mut self.buf)
            .map_err(|e| Error::os(Phase::Collect, &*found.holder, "fdinfo", e).pid(found.pid))?;
        let known = self.identity.find(task.pid, fd, &info);
        let known = known.map_err(|e| Error::os(Phase::Collect, &*found.holder, "kcmp", e).pid(found.pid))?;
        let place = match known {
            Found::Known(id) => return Ok(id),
            Found::New(place) => place,
        };
        let Some(mut seen) = look(&task, &fd_dir, fd, info.clone(), false)? else { return Ok(None) };
        (seen.holder_pid, seen.holder) = (found.pid, found.holder.clone());
        let refusal = if seen.info.locks().next().is_some() {
            Some("a descriptor that a lock is held through is in a message and nowhere else")
        } else if seen.fown.pid != 0 {
            Some("a descriptor with a signal owner (F_SETOWN) is in a message and nowhere else")
        } else if seen.is_anon("[eventpoll]") && seen.info.text.contains("tfd:") {
            Some("an epoll descriptor that watches something is in a message and nowhere else")
        } else if ["inotify wd:", "fanotify ino:", "fanotify mnt_id:", "fanotify sdev:"]
            .iter()
            .any(|w| seen.info.text.contains(w))
        {
            Some("a descriptor that watches files is in a message and nowhere else")
        } else {
            None
        };
        let id = match refusal {
            Some(cause) => {
                let hint = "have the message read before the dump";
                blockers.push(Blocker::new(found.pid, seen.object(), cause).hint(hint));
                None
            }
            None => self.collect(&seen, blockers)?,
        };
        self.identity.record(task.pid, fd, &info, place, id);
        Ok(id)
    }
}
