//! TCP connections at the moment of the dump.
//!
//! Order: lock the network, then pause, save and resume one connection after the other. So whenever the engine fails or
//! dies, none is left in repair mode (a `RepairGuard` sees to the one at work) and the lock goes with its owner. The engine
//! holds a descriptor of each: when the tasks have been killed, the connections are still there, and are made to vanish in
//! repair mode, without a packet; then the lock is left to whoever restores.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use criu_images::messages::FileEntry;
use criu_images::{ImageDir, Kind};
use criu_soccr::Paused;

use super::{facts, queue, stream};
use crate::error::{Error, Phase, Result};
use crate::file::{Collected, FileId};
use crate::netlock::{Flow, LockId, Method, NetworkLock};
use crate::sys::repair_guard::RepairGuard;

/// A TCP socket that is or was connected, or listens.
#[derive(Debug)]
pub(super) struct Held {
    pub id: FileId,
    pub ino: u32,
    pub pid: i32,
    pub object: String,
    pub dup: Rc<OwnedFd>,
    /// For one with a living peer.
    pub flow: Option<Flow>,
    /// For one that has ended.
    pub former: Option<Flow>,
    pub listens: bool,
}

/// A socket of datagrams.
#[derive(Debug)]
pub(super) struct Datagrams {
    pub id: FileId,
    pub pid: i32,
    pub object: String,
    pub dup: Rc<OwnedFd>,
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    datagrams: Vec<Datagrams>,
    held: Vec<Held>,
    lock: Option<NetworkLock>,
}

impl Held {
    fn error(&self, phase: Phase, e: &criu_soccr::Error) -> Error {
        Error::new(phase, self.object.clone(), e.to_string()).pid(self.pid).errno(e.errno())
    }
}

impl Connections {
    pub(super) fn push(&mut self, held: Held) {
        self.held.push(held);
    }

    pub(super) fn push_datagrams(&mut self, socket: Datagrams) {
        self.datagrams.push(socket);
    }

    /// A task that reads from a connection in repair mode is told EPERM, and a connection that ends unlocked tells its peer.
    pub(super) fn have_peers(&self) -> bool {
        self.held.iter().any(|h| h.flow.is_some())
    }

    /// Locks, and saves every connection.
    pub(super) fn hold(&mut self, common: &mut Collected, images: &ImageDir) -> Result<()> {
        let flows: Vec<Flow> = self.held.iter().filter_map(|h| h.flow.or(h.former)).collect();
        if self.have_peers() && Method::of(&common.opts)? != Method::Skip {
            let id = LockId::new(&common.run_id)
                .ok_or_else(|| Error::new(Phase::Save, "network lock", "this dump has no identity"))?;
            self.lock = Some(NetworkLock::lock(id, &flows, None).map_err(|e| e.during(Phase::Save))?);
        }
        let sockets: Vec<&Held> = self.held.iter().filter(|h| !h.listens).collect();
        if !sockets.is_empty() {
            let mut entries: HashMap<FileId, &mut FileEntry> =
                common.entries.iter_mut().filter(|e| e.isk.is_some()).map(|e| (e.id, e)).collect();
            let reuse = |h: &&Held| (h.dup.as_raw_fd(), entries.get(&h.id).is_some_and(|e| reuses(e)));
            let guard = RepairGuard::start(&sockets.iter().map(reuse).collect::<Vec<_>>())
                .map_err(|e| Error::os(Phase::Save, "TCP connections", "fork", e))?;
            for held in &sockets {
                save(held, entries.get_mut(&held.id), images)?;
            }
            guard.dismiss();
        }
        self.save_datagrams(common)?;
        if common.opts.tcp_skip_in_flight() { Ok(()) } else { self.nobody_came() }
    }

    fn save_datagrams(&self, common: &mut Collected) -> Result<()> {
        for socket in &self.datagrams {
            let queue = queue::peek(socket.dup.as_fd())
                .map_err(|e| Error::os(Phase::Save, &socket.object, "recvmsg", e).pid(socket.pid))?
                .map_err(|why| Error::new(Phase::Save, &socket.object, why).pid(socket.pid).hint(queue::HINT))?;
            if queue.is_empty() {
                continue;
            }
            if let Some(isk) = common.entries.iter_mut().find(|e| e.id == socket.id).and_then(|e| e.isk.as_deref_mut())
            {
                isk.queue = queue;
            }
        }
        Ok(())
    }

    /// Connections that came in while the tasks stood still would be lost.
    fn nobody_came(&self) -> Result<()> {
        for held in self.held.iter().filter(|h| h.listens) {
            let info = facts::tcp_info(held.dup.as_fd());
            let info =
                info.map_err(|e| Error::os(Phase::Save, &held.object, "getsockopt TCP_INFO", e).pid(held.pid))?;
            if info.waiting > 0 {
                let cause = format!("{} connections came in during the dump and wait to be accepted", info.waiting);
                return Err(Error::new(Phase::Save, &held.object, cause).pid(held.pid).hint(super::HAVE_THEM_ACCEPTED));
            }
        }
        Ok(())
    }

    /// The tasks are dead, or about to go on.
    pub(super) fn released(&mut self, killed: bool) -> Result<()> {
        let lock = self.lock.take();
        if !killed {
            return lock.map_or(Ok(()), NetworkLock::release).map_err(|e| e.during(Phase::Release));
        }
        let mut first = Ok(());
        for held in self.held.drain(..).filter(|h| !h.listens) {
            match Paused::pause_knowing(held.dup.as_fd(), false) {
                // Closed in repair mode, it says nothing to its peer.
                Ok(paused) => paused.release(),
                Err(e) if first.is_ok() => first = Err(held.error(Phase::Release, &e)),
                Err(_) => {}
            }
        }
        first.and(lock.map_or(Ok(()), NetworkLock::persist).map_err(|e| e.during(Phase::Release)))
    }
}

/// SO_REUSEADDR, which repair mode overwrites.
fn reuses(entry: &FileEntry) -> bool {
    entry.isk.as_ref().is_some_and(|isk| isk.opts.reuseaddr())
}

fn save(held: &Held, entry: Option<&mut &mut FileEntry>, images: &ImageDir) -> Result<()> {
    let saving = |e| Error::image(Phase::Save, e);
    let failed = |e: criu_soccr::Error| held.error(Phase::Save, &e);
    let reuse = entry.as_ref().is_some_and(|e| reuses(e));
    let paused = Paused::pause_knowing(held.dup.as_fd(), reuse).map_err(failed)?;
    let saved = paused.save();
    paused.resume_quietly().map_err(failed)?;
    let connection = saved.map_err(failed)?;
    if stream::is_fresh(&connection) {
        return images.remove(&Kind::TcpStream.file_name(held.ino.into())).map_err(saving);
    }
    let isk = entry.and_then(|e| e.isk.as_deref_mut());
    let isk = isk.ok_or_else(|| Error::new(Phase::Save, &held.object, "it has no entry").pid(held.pid))?;
    stream::update(isk, &connection);
    let mut image = images.create(Kind::TcpStream, held.ino.into()).map_err(saving)?;
    image.tcp_stream(&stream::entry(&connection.data), &connection.received, &connection.sent).map_err(saving)?;
    image.finish().map_err(saving)
}
