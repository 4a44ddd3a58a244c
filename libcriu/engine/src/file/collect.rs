//! Collects descriptors and links from outside, and writes them.

mod collected;
mod in_flight;
mod links;
mod look;
mod mapped_locks;
mod told;

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use criu_images::messages::{FdTypes, FdinfoEntry, FileEntry};
use criu_images::{ImageDir, Kind};
use rustix::fs::fstat;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use self::collected::{Collected, Table};
pub use self::collected::{SocketMapping, UringMapping};
use self::look::{list, look, open_below, open_proc};
use super::fdinfo::FdInfo;
use super::identity::{Found, Identity};
use super::kind::{DumpKind, KINDS, Unsaved};
use super::lock::Locks;
use super::seen::{Seen, Unseen};
use super::table::{self, Listed};
use super::{DumpTask, FileId, unsupported, uring};
use crate::error::{Blocker, Error, Phase, Result};
use crate::mem::pages::PagesIds;
use crate::numbers::ByNumber;
use crate::options::Options;
use crate::progress::Operator;
use crate::sys::heap;
use crate::sys::kernel::Kernel;

/// Every open file of the tree being dumped.
#[derive(Debug)]
pub struct DumpFiles {
    common: Collected,
    kinds: Vec<Box<dyn DumpKind>>,
    locks: Locks,
    /// Files by their address: whether nobody has ever locked what they are of.
    never_locked: ByNumber<u64, bool>,
    identity: Identity,
    types: ByNumber<FileId, FdTypes>,
    links: HashMap<(u64, u64, Vec<u8>), Option<FileId>>,
    /// Files of shared mappings.
    mapped_shared: HashSet<FileId>,
    /// Descriptors that wait in messages: open, so that others can be compared with them.
    in_flight: Vec<OwnedFd>,
    /// Opened when the first large table is met.
    kernel: Option<Result<Rc<Kernel>, String>>,
    buf: Vec<u8>,
}

/// Memory for what is learned of one file, about.
const ENTRY_BYTES: usize = 1 << 10;

pub(crate) const UNREACHABLE: &str =
    "it can be looked at only with CAP_CHECKPOINT_RESTORE in the initial user namespace";
pub(crate) const BE_ROOT_OUTSIDE: &str = "dump as root outside of all user namespaces";

impl DumpFiles {
    /// Nothing collected yet. Raises the engine's own limit of descriptors as far as it may.
    pub fn new(options: &Options) -> Self {
        raise_descriptor_limit();
        DumpFiles {
            common: Collected::new(options),
            kinds: KINDS.iter().map(|k| (k.dump)()).collect(),
            locks: Locks::default(),
            never_locked: ByNumber::default(),
            identity: Identity::default(),
            types: ByNumber::default(),
            links: HashMap::new(),
            mapped_shared: HashSet::new(),
            in_flight: Vec::new(),
            kernel: None,
            buf: Vec::new(),
        }
    }

    /// Collects a descriptor table: once for tasks that share one. Only reads.
    pub fn collect_fds(&mut self, task: &DumpTask<'_>, files_id: u32, blockers: &mut Vec<Blocker>) -> Result<()> {
        self.common.tasks.extend([(task.pid, task.vpid), (task.vpid, task.vpid)]);
        let proc = open_proc(task)?;
        let fd_dir = open_below(task, &proc, "fd")?;
        let info_dir = open_below(task, &proc, "fdinfo")?;
        let mut fds = Vec::new();
        // What the directories of files are called, by mount and dentry.
        let mut directories: ByNumber<_, Vec<u8>> = ByNumber::default();
        let listed = self.list(task, &fd_dir)?;
        fds.reserve(listed.len());
        self.expect(listed.len());
        for Listed { fd, file: at, info, has_no_owner, socket, plain } in listed {
            let info = match info.map_or_else(|| FdInfo::read(info_dir.as_fd(), fd, &mut self.buf), Ok) {
                Ok(info) => info,
                // Only a task that is not frozen (a preflight) closes a descriptor between the two looks.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(task, format!("fd {fd}"), "fdinfo", e)),
            };
            let cloexec = u32::from(info.cloexec);
            let found = match at {
                Some(at) => self.identity.find_at(at, task.pid, fd, &info),
                None => self.identity.find(task.pid, fd, &info),
            };
            let id = match found.map_err(|e| failed(task, format!("fd {fd}"), "kcmp", e))? {
                Found::Known(id) => id,
                Found::New(place) => {
                    let plain = plain.filter(|_| has_no_owner);
                    let known = plain.as_ref().and_then(|p| self.plain(p, directories.get(&p.directory)?, &info));
                    let told = socket.and_then(|(ino, _)| Some((ino, *self.common.likenesses.of(ino)?)));
                    let unseen = told.filter(|_| has_no_owner);
                    let unseen = unseen.map(|(ino, told)| Unseen { task: *task, fd, info: &info, ino, told });
                    let id = match known.or_else(|| self.collect_unseen(&unseen?)) {
                        Some(id) => Some(id),
                        None => {
                            let Some(mut seen) = look(task, &fd_dir, fd, info.clone(), has_no_owner)? else { continue };
                            if let Some(file) = plain
                                && let Some(directory) = file.directory_in(&seen.link)
                            {
                                directories.entry(file.directory).or_insert(directory);
                            }
                            seen.told = told.filter(|(ino, _)| *ino == seen.stat.st_ino).map(|(_, told)| told);
                            self.collect(&seen, blockers)?
                        }
                    };
                    match at {
                        Some(at) => self.identity.record_at(at, task.pid, fd, &info, id),
                        None => self.identity.record(task.pid, fd, &info, place, id),
                    }
                    id
                }
            };
            let allowed = self.common.opts.file_locks();
            self.locks.collect(task, fd, &info, id, allowed, blockers);
            let Some(id) = id else {
                self.common.refused.insert((task.pid, fd));
                continue;
            };
            let r#type = self.types.get(&id).copied().unwrap_or(FdTypes::Und) as i32;
            fds.push(FdinfoEntry { id, flags: cloexec, r#type, fd: fd as u32, xattr_security_selinux: None });
        }
        self.common.tables.insert(files_id, Table { pid: task.pid, fds });
        Ok(())
    }

    /// About so many more descriptions are to be collected.
    fn expect(&mut self, count: usize) {
        self.common.entries.reserve(count);
        self.common.inodes.reserve(count);
        self.types.reserve(count);
        self.identity.expect(count);
    }

    /// The descriptors of a table, in order.
    fn list(&mut self, task: &DumpTask<'_>, fd_dir: &OwnedFd) -> Result<Vec<Listed>> {
        // Linux 6.2 tells how many there are.
        let count = fstat(fd_dir).map_or(0, |stat| stat.st_size);
        if count >= table::WORTH_IT {
            heap::expect(ENTRY_BYTES * count as usize);
            match self.kernel().and_then(|kernel| table::read(kernel, task.pidfd).map_err(|e| e.to_string())) {
                Ok(listed) => {
                    self.compare_sockets(&listed);
                    return Ok(listed);
                }
                Err(why) => log::debug!("pid {}: its table cannot be read in the kernel's memory: {why}", task.pid),
            }
        }
        let numbers = list(task, fd_dir)?.into_iter();
        Ok(numbers
            .map(|fd| Listed { fd, file: None, info: None, has_no_owner: false, socket: None, plain: None })
            .collect())
    }

    fn compare_sockets(&mut self, listed: &[Listed]) {
        let sockets: Vec<_> = listed.iter().filter_map(|l| l.socket).collect();
        if let Some(Ok(kernel)) = &self.kernel
            && let Err(e) = self.common.likenesses.add(kernel, &sockets)
        {
            log::debug!("sockets cannot be compared in the kernel's memory: {e}");
        }
    }

    fn kernel(&mut self) -> Result<&Kernel, String> {
        let kernel = self.kernel.get_or_insert_with(|| Kernel::open().map_err(|e| e.to_string()));
        kernel.as_deref().map_err(Clone::clone)
    }

    /// Looks at what the threads of a process have to do with io_uring.
    pub fn look_at_uring_users(&mut self, task: &DumpTask<'_>) {
        self.common.look_at_uring_users(task);
    }

    /// Are there io_uring instances in a table?
    pub fn has_urings(&self, files_id: u32) -> bool {
        let fds = self.common.tables.get(&files_id).map_or(&[][..], |table| &table.fds);
        fds.iter().any(|fd| fd.r#type() == FdTypes::Iouring)
    }

    /// After all tables and links: what concerns several descriptions, and what is outside. Only reads.
    pub fn resolve(&mut self, operator: &mut dyn Operator, blockers: &mut Vec<Blocker>) -> Result<()> {
        self.collect_in_flight(blockers)?;
        if self.kinds.iter().any(|k| k.has_peers_outside(&self.common)) {
            self.common.external_sockets.extend(operator.external_sockets()?);
        }
        for kind in &mut self.kinds {
            kind.resolve(&mut self.common, blockers)?;
        }
        self.resolve_mapped_locks(blockers)
    }

    /// Writes `files.img`, `fdinfo-*.img` and whatever the kinds hold beside.
    pub fn save(&mut self, images: &ImageDir, ids: &mut PagesIds, operator: &mut dyn Operator) -> Result<()> {
        let total = self.common.entries.len() as u64;
        operator.progress(Phase::Save, 0, total);
        for kind in &mut self.kinds {
            kind.hold(&mut self.common, images)?;
        }
        for (files_id, table) in &self.common.tables {
            let mut image = images.create(Kind::Fdinfo, u64::from(*files_id)).map_err(saving)?;
            for fd in &table.fds {
                image.entry(fd).map_err(saving)?;
            }
            image.finish().map_err(saving)?;
        }
        let mut image = images.create(Kind::Files, 0).map_err(saving)?;
        for entry in &self.common.entries {
            image.entry(entry).map_err(saving)?;
        }
        image.finish().map_err(saving)?;
        self.locks.save(images)?;
        self.common.ghosts.save(images)?;
        for kind in &mut self.kinds {
            operator.check_cancelled(Phase::Save)?;
            kind.save(&self.common, images, ids)?;
        }
        operator.progress(Phase::Save, total, total);
        Ok(())
    }

    /// Must `save` and `released` get to their ends once they have begun?
    pub fn are_delicate(&self) -> bool {
        self.kinds.iter().any(|k| k.is_delicate())
    }

    /// How many descriptors there are in a table.
    pub fn count(&self, files_id: u32) -> u64 {
        self.common.tables.get(&files_id).map_or(0, |table| table.fds.len() as u64)
    }

    /// Everything is saved: no descriptor of the tasks is held any more.
    pub fn close(&mut self) {
        self.kinds.clear();
        self.common.ghosts.close();
    }

    /// What can be mapped of a collected socket.
    pub fn mappable_socket(&self, inode: u64) -> SocketMapping {
        let is_tcp = |e: &FileEntry| e.isk.as_ref().is_some_and(|isk| u64::from(isk.ino) == inode);
        match self.common.mappable_sockets.get(&inode) {
            Some(&(id, bytes)) => SocketMapping::Rings(id, bytes),
            None if self.common.entries.iter().any(is_tcp) => SocketMapping::Tcp,
            None => SocketMapping::Unknown,
        }
    }

    /// What of an io_uring instance, if the table `files_id` has it, can be mapped.
    pub fn mappable_uring(&self, inode: u64, files_id: u32) -> UringMapping {
        if self.common.refused_urings.contains(&inode) {
            return UringMapping::Refused;
        }
        let uring = self.common.urings.iter().find(|u| u.inode == inode);
        let fds = self.common.tables.get(&files_id).map_or(&[][..], |table| &table.fds);
        match uring.filter(|uring| fds.iter().any(|fd| fd.id == uring.id)) {
            Some(uring) => UringMapping::Of(uring.id, uring::mappings(uring.bytes)),
            None => UringMapping::Unknown,
        }
    }

    /// Refuses io_uring instances that somebody has who is not known. `mappings`: how many there are of each.
    pub fn find_strangers(&self, mappings: &HashMap<FileId, u64>, blockers: &mut Vec<Blocker>) {
        uring::find_strangers(&self.common, mappings, blockers);
    }

    /// The identity of this dump.
    pub fn run_id(&self) -> Result<&str> {
        if self.common.run_id.is_empty() {
            return Err(Error::new(Phase::Commit, "inventory.img", "getrandom failed: this dump has no identity"));
        }
        Ok(&self.common.run_id)
    }

    /// After the commit: the tasks are dead, or about to go on.
    pub fn released(&mut self, killed: bool) -> Result<()> {
        let mut first = Ok(());
        for kind in &mut self.kinds {
            first = first.and(kind.released(killed));
        }
        first
    }

    /// The checkpoint is complete: links that were made for it stay. Before this, dropping `self` removes them. The process ends
    /// soon: it does not give back what was read of each file piece by piece.
    pub fn commit(&mut self) {
        std::mem::forget(std::mem::take(&mut self.common.entries));
        self.common.ghosts.keep_links();
    }

    #[cfg(test)]
    pub(crate) fn save_locks(&self, images: &ImageDir) -> Result<()> {
        self.locks.save(images)
    }

    #[cfg(test)]
    pub(crate) fn kcmp_calls(&self) -> u64 {
        self.identity.calls()
    }

    /// `None`: it has to be looked at.
    fn collect_unseen(&mut self, unseen: &Unseen<'_>) -> Option<FileId> {
        let id = self.common.last_id + 1;
        let entry = self.kinds.iter_mut().find_map(|k| k.collect_unseen(unseen, id, &self.common))?;
        self.common.last_id = id;
        self.add(id, unseen.info.ino, entry);
        Some(id)
    }

    fn add(&mut self, id: FileId, inode: u64, entry: FileEntry) {
        self.types.insert(id, entry.r#type());
        self.common.inodes.insert(id, inode);
        self.common.entries.push(entry);
    }

    fn collect(&mut self, seen: &Seen<'_>, blockers: &mut Vec<Blocker>) -> Result<Option<FileId>> {
        let refuse = |cause: String, hint: String| Blocker::new(seen.holder_pid, seen.object(), cause).hint(hint);
        let Some(kind) = self.kinds.iter_mut().find(|k| k.claims(seen)) else {
            let (cause, hint) = unsupported::describe(seen);
            blockers.push(refuse(cause, hint));
            return Ok(None);
        };
        let id = self.common.new_id();
        match kind.collect(seen, id, &mut self.common) {
            Ok(entry) => {
                self.add(id, seen.info.ino, entry);
                Ok(Some(id))
            }
            Err(Unsaved::Refused { cause, hint }) => {
                blockers.push(refuse(cause, hint));
                Ok(None)
            }
            Err(Unsaved::Failed(e)) => Err(e),
        }
    }
}

pub(crate) fn saving(e: criu_images::ImageError) -> Error {
    Error::image(Phase::Save, e)
}

fn failed(task: &DumpTask<'_>, object: impl Into<String>, call: &str, e: impl Into<std::io::Error>) -> Error {
    Error::os(Phase::Collect, object, call, e).pid(task.pid)
}

/// Both directions hold as many descriptors as all tasks together; the soft limit is made for one program.
pub(crate) fn raise_descriptor_limit() {
    let now = getrlimit(Resource::Nofile);
    if now.current != now.maximum {
        // Cannot fail for a soft limit within the hard one.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    }
}
