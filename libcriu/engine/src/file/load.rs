//! Loads and checks the images of open files, and opens descriptions in the right process.

mod late;
mod objects;
mod read;

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use criu_images::messages::{CriuOpts, FdTypes, FdinfoEntry, FileEntry, IoUringBuffersEntry};
use criu_images::{ImageDir, ImageError, Kind};

use self::late::Late;
use self::read::{check_table, entries, inherit, kind_of};
use super::collect::raise_descriptor_limit;
use super::ghost::GhostFiles;
use super::kind::{KINDS, RestoreKind};
use super::lock::RestoreLocks;
use super::object::Object;
use super::owner::{owner, set_owner};
use super::{FileId, install};
use crate::error::{Error, Phase, Result};
use crate::file::Entries;
use crate::numbers::ByNumber;
use crate::options::Options;
use crate::parallel;
use crate::sys::commit_guard::Unfinished;

/// What the images say, checked, and what the kinds share during a restore.
#[derive(Debug)]
pub(crate) struct Plan {
    pub opts: CriuOpts,
    pub images: ImageDir,
    /// A task that counted references to each would copy the pages of all.
    pub entries: Rc<Entries>,
    /// By `files_id`, in the order in which the tables were given.
    pub tables: Vec<(u32, Vec<FdinfoEntry>)>,
    /// The table (index) that does for a description what is done once.
    pub first_user: ByNumber<FileId, usize>,
    /// A task that uses the table at the same place in `tables`; empty as long as nobody has said.
    pub users: Vec<i32>,
    pub ghosts: GhostFiles,
    /// Descriptors of the engine that stand in for files of the images: `inherit_fd`.
    pub inherit: HashMap<String, RawFd>,
}

impl Plan {
    /// A task that has the file open, for messages; 0 when none is known.
    pub(crate) fn pid_of(&self, id: FileId) -> i32 {
        self.first_user.get(&id).and_then(|&at| self.users.get(at)).copied().unwrap_or(0)
    }
}

/// Every open file of the tree being restored.
#[derive(Debug)]
pub struct RestoreFiles {
    plan: Plan,
    kinds: Vec<Box<dyn RestoreKind>>,
    locks: RestoreLocks,
    opened: ByNumber<FileId, OwnedFd>,
    /// What several tables have, and cannot be opened yet.
    late: Late,
    /// What several tasks hold without descriptors.
    held: ByNumber<FileId, OwnedFd>,
    /// The descriptions of every object.
    members: ByNumber<Object, Vec<FileId>>,
    /// Where each table stands in the plan.
    table_at: ByNumber<u32, usize>,
    /// Files whose lock is held by a mapping of this task by now.
    mapped_locks: BTreeSet<FileId>,
}

impl RestoreFiles {
    /// Reads `files.img` and the tables given, as (`files_id`, number of tasks that use it), and checks them.
    pub fn load(images: &ImageDir, options: &Options, tables: &[(u32, usize)]) -> Result<Self> {
        raise_descriptor_limit();
        if let Some(method) = options.msg.file_validation.as_deref()
            && !matches!(method, "filesize" | "buildid" | "build-id")
        {
            return Err(Error::new(Phase::Options, "--file-validation", format!("there is no method {method}"))
                .hint("filesize or buildid")
                .errno(libc::EBADRQC));
        }
        let entries = entries(images)?;
        let mut plan = Plan {
            opts: options.msg.clone(),
            images: images
                .fd()
                .try_clone_to_owned()
                .map(ImageDir::new)
                .map_err(|e| Error::os(Phase::Load, "images", "dup", e))?,
            entries: Rc::new(entries),
            tables: Vec::new(),
            first_user: HashMap::default(),
            users: Vec::new(),
            ghosts: GhostFiles::load(images)?,
            inherit: inherit(&options.msg)?,
        };
        let read = |table: &(u32, usize)| images.read_all::<FdinfoEntry>(Kind::Fdinfo, u64::from(table.0));
        for (at, (&(files_id, _), fds)) in tables.iter().zip(parallel::map(tables, read)).enumerate() {
            let fds = fds.map_err(loading)?;
            check_table(&plan, files_id, &fds)?;
            for fd in &fds {
                plan.first_user.entry(fd.id).or_insert(at);
            }
            plan.tables.push((files_id, fds));
        }
        let kinds = KINDS.iter().map(|k| (k.restore)()).collect();
        let locks = RestoreLocks::load(images, options.msg.file_locks())?;
        let table_at = plan.tables.iter().enumerate().map(|(at, (files_id, _))| (*files_id, at)).collect();
        let (opened, held, members) = (HashMap::default(), HashMap::default(), HashMap::default());
        let (late, mapped_locks) = (Late::default(), BTreeSet::new());
        let mut files = RestoreFiles { plan, kinds, locks, opened, late, held, members, table_at, mapped_locks };
        for entry in files.plan.entries.values() {
            kind_of(entry)?;
        }
        for kind in &mut files.kinds {
            kind.load(&files.plan, images)?;
        }
        for entry in files.plan.entries.values() {
            let object = files.object(entry)?;
            files.members.entry(object).or_default().push(entry.id);
        }
        Ok(files)
    }

    /// Tells a task that uses each table, in the order in which the tables were given: messages name it.
    pub fn set_users(&mut self, pids: Vec<i32>) {
        self.plan.users = pids;
    }

    /// Says which table each task has, by pid: file locks are told of by pid.
    pub fn assign_locks(&mut self, table_of: impl Fn(i32) -> Option<u32>) -> Result<()> {
        self.locks.assign(table_of)
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The descriptors of a table.
    pub(super) fn table(&self, files_id: u32) -> Option<&[FdinfoEntry]> {
        self.table_at.get(&files_id).map(|&at| self.plan.tables[at].1.as_slice())
    }

    /// The buffers that io_uring instances of the table `files_id` have registered of the task `pid`'s memory, by descriptor.
    pub fn uring_buffers(&self, files_id: u32, pid: i32) -> Vec<(RawFd, &IoUringBuffersEntry)> {
        let mut seen = BTreeSet::new();
        let fds = self.table(files_id).unwrap_or_default().iter();
        let fds = fds.filter(|fd| fd.r#type() == FdTypes::Iouring && seen.insert(fd.id));
        let buffers = |id| self.plan.entries.get(&id)?.uring.as_ref()?.buffers.as_ref().filter(|b| b.pid == pid);
        fds.filter_map(|fd| Some((fd.fd as RawFd, buffers(fd.id)?))).collect()
    }

    /// Under which number the table `files_id` has a description.
    pub fn number_of(&self, files_id: u32, id: FileId) -> Option<RawFd> {
        self.table(files_id)?.iter().find(|fd| fd.id == id).map(|fd| fd.fd as RawFd)
    }

    pub(super) fn has_locks(&self, files_id: u32) -> bool {
        self.locks.has(files_id)
    }

    /// In the coordinator, before it forks: opens what more than one table uses, for all tasks to inherit.
    pub fn open_shared(&mut self) -> Result<()> {
        self.plan.ghosts.make(&self.plan.images, &self.plan.entries)?;
        for kind in &mut self.kinds {
            kind.prepare(&mut self.plan)?;
        }
        let is_early = |o: &Object| self.kinds.iter().any(|k| k.early(*o));
        if self.plan.tables.len() < 2 && !self.members.keys().any(is_early) {
            return Ok(());
        }
        let mut users: ByNumber<FileId, BTreeSet<u32>> = HashMap::default();
        for (files_id, fds) in &self.plan.tables {
            for fd in fds {
                users.entry(fd.id).or_default().insert(*files_id);
            }
        }
        let users = self.users_of_objects(users)?;
        let in_coordinator = |o: &Object, tables: &BTreeSet<u32>| tables.len() > 1 || is_early(o);
        let shared: Vec<Object> =
            users.into_iter().filter(|(o, tables)| in_coordinator(o, tables)).map(|(o, _)| o).collect();
        let mut now = BTreeSet::new();
        for object in shared {
            if self.is_late(object)? {
                self.expect_late(object)?;
            } else {
                now.insert(object);
            }
        }
        let shared = self.with_needs(now)?;
        self.open_objects(&shared.into_iter().collect::<Vec<_>>())
    }

    /// In a task: opens what its table alone uses, puts every descriptor at its number and closes all others except
    /// `keep`; those in the way are moved, and their new numbers left in `keep`. Needs every task of the tree to exist.
    ///
    /// Nothing can be opened by this value afterwards.
    pub fn install(&mut self, files_id: u32, keep: &mut [RawFd]) -> Result<()> {
        let pid = std::process::id() as i32;
        self.install_table(files_id, keep).map_err(|e| e.or_pid(pid))
    }

    /// Opens a description of the same file as `id`'s, with other status flags when `flags` says so: for mappings,
    /// executables and directories.
    pub fn open(&mut self, id: FileId, flags: Option<u32>) -> Result<OwnedFd> {
        let entries = Rc::clone(&self.plan.entries);
        let entry =
            entries.get(&id).ok_or_else(|| Error::new(Phase::Files, format!("file {id}"), "is not in files.img"))?;
        let own = entry.reg.as_ref().map(|r| r.flags).or(entry.memfd.as_ref().map(|m| m.flags)).unwrap_or(0);
        let kind = kind_of(entry)?;
        self.kinds[kind].open_again(&mut self.plan, entry, flags.unwrap_or(own))
    }

    /// Opens a file for a mapping, with the lock that only the mapping keeps if this task has taken it.
    pub fn open_mapped(&mut self, id: FileId, flags: u32) -> Result<OwnedFd> {
        let fd = self.open(id, Some(flags))?;
        let Some(reg) = self.plan.entries.get(&id).and_then(|e| e.reg.as_ref()) else { return Ok(fd) };
        if let Some(kind) = reg.mapped_lock
            && reg.mapped_lock_pid == Some(std::process::id())
            && self.mapped_locks.insert(id)
        {
            let how = if kind == libc::F_RDLCK as u32 { libc::F_RDLCK } else { libc::F_WRLCK };
            crate::sys::lock::flock(fd.as_fd(), how).map_err(|e| {
                let error = Error::os(
                    Phase::Files,
                    format!("lock of the mapped file {}", super::path::shown(&reg.name)),
                    "flock",
                    e,
                );
                error.hint("nobody else may have locked the file meanwhile")
            })?;
        }
        Ok(fd)
    }

    /// In the coordinator, before it forks: opens those of `ids`, of files that tasks hold without descriptors, that are held
    /// more than once. What cannot be opened is left to the tasks, which say so.
    pub fn open_held(&mut self, ids: impl IntoIterator<Item = FileId>) {
        let mut seen = BTreeSet::new();
        for id in ids {
            if !seen.insert(id)
                && !self.held.contains_key(&id)
                && let Ok(fd) = self.open(id, None)
            {
                self.held.insert(id, fd);
            }
        }
    }

    /// As `open`, for what a task holds without a descriptor: a duplicate of what `open_held` has opened.
    pub fn hold(&mut self, id: FileId) -> Result<OwnedFd> {
        let Some(fd) = self.held.get(&id) else { return self.open(id, None) };
        rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|e| Error::os(Phase::Files, format!("file {id}"), "dup", e))
    }

    /// In the coordinator, before it forks: masters of terminals that were made for who restores.
    pub fn orphans(&mut self) -> Vec<OwnedFd> {
        self.kinds.iter_mut().flat_map(|k| k.orphans()).collect()
    }

    /// The terminal that a session's leader has to take as the controlling one, and its foreground group.
    pub fn controlling(&self, session: i32) -> Option<(BorrowedFd<'_>, i32)> {
        self.kinds.iter().find_map(|k| k.controlling(session))
    }

    /// In the coordinator, when every task is ready to run: what stood still so far goes on.
    pub fn resume(&self) -> Result<()> {
        self.kinds.iter().try_for_each(|k| k.resume(&self.plan))
    }

    /// In the coordinator, when every task is ready to run: what `resume` begins and `wake` completes.
    pub(crate) fn unfinished(&self) -> Result<Vec<Box<dyn Unfinished>>> {
        self.kinds.iter().filter_map(|k| k.unfinished(&self.plan).transpose()).collect()
    }

    /// In the coordinator, when the tasks outlive it, and before they run: removes links that the dump made for it.
    ///
    /// # Errors
    /// The first; every kind has been woken as far as it goes.
    pub fn wake(&mut self) -> Result<()> {
        self.plan.ghosts.remove_links();
        self.kinds.iter().map(|k| k.wake(&self.plan)).fold(Ok(()), Result::and)
    }

    /// In the coordinator, when the restore is complete.
    pub fn finished(&mut self) {
        self.plan.ghosts.remove_links();
        self.kinds.iter_mut().for_each(|k| k.finished());
    }

    /// In the coordinator, when there is nothing more to do. The process ends soon: it does not give back what was read of
    /// each file piece by piece.
    pub fn leave(self) {
        std::mem::forget(self.plan.entries);
    }

    /// In the coordinator, when every task has its own: closes what was opened for them.
    pub fn close_all(&mut self) {
        self.opened.clear();
        self.late.clear();
        self.held.clear();
        self.plan.ghosts.close();
        self.kinds.iter_mut().for_each(|k| k.hand_over());
    }

    fn object(&self, entry: &FileEntry) -> Result<Object> {
        Ok(self.kinds[kind_of(entry)?].object(entry))
    }

    fn install_table(&mut self, files_id: u32, keep: &mut [RawFd]) -> Result<()> {
        let at = self.table_at.get(&files_id).copied();
        let at = at.ok_or_else(|| Error::new(Phase::Files, format!("fdinfo-{files_id}.img"), "was not loaded"))?;
        let fds = self.plan.tables[at].1.clone();
        self.open_late(at, &fds)?;
        let mut own = BTreeSet::new();
        for fd in fds.iter().filter(|f| !self.opened.contains_key(&f.id)) {
            if let Some(entry) = self.plan.entries.get(&fd.id) {
                own.insert(self.object(entry)?);
            }
        }
        self.open_objects(&self.with_needs(own)?.into_iter().collect::<Vec<_>>())?;

        let mut moves = Vec::with_capacity(fds.len());
        for fd in &fds {
            let source = self.opened.get(&fd.id).ok_or_else(|| missing(fd.id))?;
            moves.push(install::Move { from: source.as_fd(), to: fd.fd as RawFd, cloexec: fd.flags & 1 != 0 });
        }
        let moves = install::plan(&moves, keep)?;
        // From here on descriptors are numbers: their owners let go, what is not in the table gets closed.
        let sources = std::mem::take(&mut self.opened);
        self.plan.ghosts.close();
        self.kinds.iter_mut().for_each(|k| k.close());
        moves.carry_out(sources, keep)?;
        self.attach(at, &fds)?;
        self.locks.set(files_id, |number| fds.iter().any(|f| f.fd as RawFd == number))
    }

    /// What is done with descriptions when they are at their numbers.
    fn attach(&mut self, at: usize, fds: &[FdinfoEntry]) -> Result<()> {
        let mut done = BTreeSet::new();
        for fd in fds {
            if !done.insert(fd.id) {
                continue;
            }
            let Some(entry) = self.plan.entries.get(&fd.id) else { continue };
            self.kinds[kind_of(entry)?].attach(&self.plan, entry, fd.fd as RawFd, at)?;
            if self.plan.first_user.get(&fd.id) == Some(&at)
                && let Some((fown, flags)) = owner(&self.plan, entry)
            {
                set_owner(fd.fd as RawFd, fown, flags)?;
            }
        }
        Ok(())
    }
}

fn missing(id: FileId) -> Error {
    Error::new(Phase::Files, format!("file {id}"), "was not opened")
}

pub(crate) fn loading(e: ImageError) -> Error {
    Error::image(Phase::Load, e)
}
