//! What a kind of open file has to answer, and the list of kinds.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use criu_images::ImageDir;
use criu_images::messages::{FdTypes, FileEntry};

use super::collect::Collected;
use super::load::Plan;
use super::object::Object;
use super::seen::{Seen, Unseen};
use super::{FileId, bpfmap, epoll, eventfd, memfd, notify, pidfd, pipe, regular, signalfd, timerfd, tty, tun, uring};
use crate::error::{Blocker, Error, Phase, Result};
use crate::mem::pages::PagesIds;
use crate::numbers::ByNumber;
use crate::socket::{inet, netlink, packet, unix};
use crate::sys::commit_guard::Unfinished;

/// Why a description did not become an entry.
#[derive(Debug)]
pub(crate) enum Unsaved {
    /// It cannot be saved: a blocker, to be reported with the others.
    Refused { cause: String, hint: String },
    /// Finding out failed: ends the dump.
    Failed(Error),
}

impl Unsaved {
    pub(crate) fn because(cause: impl Into<String>) -> Self {
        Unsaved::Refused { cause: cause.into(), hint: String::new() }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Unsaved::Refused { cause, .. } => Unsaved::Refused { cause, hint: hint.into() },
            failed => failed,
        }
    }

    pub(crate) fn os(seen: &Seen<'_>, call: &str, source: impl Into<std::io::Error>) -> Self {
        Unsaved::Failed(Error::os(Phase::Collect, seen.object(), call, source).pid(seen.holder_pid))
    }
}

impl From<Error> for Unsaved {
    fn from(e: Error) -> Self {
        Unsaved::Failed(e)
    }
}

/// A descriptor that waits inside of something, and belongs to no table.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// A task that has what it is in.
    pub pid: i32,
    /// What it is in, in words.
    pub holder: String,
    /// The engine's duplicate.
    pub fd: OwnedFd,
    /// How the kind that told of it knows it again.
    pub ticket: usize,
}

/// The dump of one kind: lives as long as the dump and holds what the kind has learned.
pub(crate) trait DumpKind: std::fmt::Debug {
    /// Whether this kind is responsible for what was seen. The first one in the list that says so gets it.
    fn claims(&self, seen: &Seen<'_>) -> bool;

    /// Makes the entry of a description met for the first time. Only reads.
    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved>;

    /// As `collect`, of a socket that nobody has looked at yet; `None`: it has to be.
    fn collect_unseen(&mut self, _unseen: &Unseen<'_>, _id: FileId, _common: &Collected) -> Option<FileEntry> {
        None
    }

    /// Descriptors inside of what was collected since the last call: in messages. They are collected as well, and asked
    /// for again until there are no more. Only reads.
    fn in_flight(&mut self, _common: &Collected, _blockers: &mut Vec<Blocker>) -> Result<Vec<InFlight>> {
        Ok(Vec::new())
    }

    /// The id of a descriptor that `in_flight` told of.
    fn taken_in(&mut self, _ticket: usize, _id: FileId) {}

    /// Whether something is connected to what is outside the tree, and the options do not say that it may be.
    fn has_peers_outside(&self, _common: &Collected) -> bool {
        false
    }

    /// After everything was collected: completes entries that speak of other descriptions, refuses what has its other
    /// half outside. Only reads.
    fn resolve(&mut self, _common: &mut Collected, _blockers: &mut Vec<Blocker>) -> Result<()> {
        Ok(())
    }

    /// Would somebody notice if the engine died between the beginning and the end of [`DumpKind::hold`], or of
    /// [`DumpKind::released`] after the tasks' death?
    fn is_delicate(&self) -> bool {
        false
    }

    /// Before anything is written: what changes by itself while its task stands still is made to stand still, too, and
    /// saved.
    fn hold(&mut self, _common: &mut Collected, _images: &ImageDir) -> Result<()> {
        Ok(())
    }

    /// After the commit: the tasks are dead, or about to go on.
    fn released(&mut self, _killed: bool) -> Result<()> {
        Ok(())
    }

    /// Writes the kind's own images: contents.
    fn save(&mut self, _common: &Collected, _images: &ImageDir, _ids: &mut PagesIds) -> Result<()> {
        Ok(())
    }
}

/// The restore of one kind.
pub(crate) trait RestoreKind: std::fmt::Debug {
    /// Reads the kind's own images and checks every entry of the kind in `plan`.
    fn load(&mut self, _plan: &Plan, _images: &ImageDir) -> Result<()> {
        Ok(())
    }

    /// In the coordinator, before it forks: makes what every task may need (inodes without a name).
    fn prepare(&mut self, _plan: &mut Plan) -> Result<()> {
        Ok(())
    }

    /// The object whose descriptions have to be opened together.
    fn object(&self, entry: &FileEntry) -> Object {
        Object::Alone(entry.id)
    }

    /// Opens all descriptions of an object, in the order of `members`, and fills in what it held.
    fn open(&mut self, plan: &mut Plan, object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>>;

    /// Whether an object has to be opened by the coordinator, whoever uses it.
    fn early(&self, _object: Object) -> bool {
        false
    }

    /// Whether a description can be opened when every task exists, and not before.
    fn is_late(&self, _plan: &Plan, _entry: &FileEntry) -> bool {
        false
    }

    /// Descriptions that have to be there to complete this one: those in its messages.
    fn needs(&self, _id: FileId) -> &[FileId] {
        &[]
    }

    /// Completes an object when everything that it needs is open in this process.
    fn complete(&mut self, _plan: &Plan, _members: &[&FileEntry], _opened: &ByNumber<FileId, OwnedFd>) -> Result<()> {
        Ok(())
    }

    /// In the coordinator and in every task: all that it opens is open, and complete.
    fn opened(&mut self) {}

    /// The restore is complete: what was made for it stays.
    fn finished(&mut self) {}

    /// Opens one more description of the same file, with the given status flags: for mappings and links.
    fn open_again(&mut self, _plan: &mut Plan, entry: &FileEntry, _flags: u32) -> Result<OwnedFd> {
        Err(Error::new(Phase::Files, format!("file {}", entry.id), "is of a kind that cannot be mapped or entered"))
    }

    /// In the coordinator, before it forks: masters of terminals that were made for who restores.
    fn orphans(&mut self) -> Vec<OwnedFd> {
        Vec::new()
    }

    /// In the coordinator, when every task has its own: lets go of what `resume` does not need.
    fn hand_over(&mut self) {
        self.close();
    }

    /// In the coordinator, when every task is ready to run.
    fn resume(&self, _plan: &Plan) -> Result<()> {
        Ok(())
    }

    /// Before `resume`: what that begins and `wake` completes, for when the coordinator dies in between.
    fn unfinished(&self, _plan: &Plan) -> Result<Option<Box<dyn Unfinished>>> {
        Ok(None)
    }

    /// In the coordinator, when the tasks outlive it.
    fn wake(&self, _plan: &Plan) -> Result<()> {
        Ok(())
    }

    /// Lets go of descriptors that `prepare` made: the numbers are about to be the task's.
    fn close(&mut self) {}

    /// The terminal that controls a session, for its leader to take, and the terminal's foreground group.
    fn controlling(&self, _session: i32) -> Option<(BorrowedFd<'_>, i32)> {
        None
    }

    /// In every table that has it (the `at`th), when every descriptor of that table is at its number and every task exists.
    fn attach(&mut self, _plan: &Plan, _entry: &FileEntry, _fd: RawFd, _at: usize) -> Result<()> {
        Ok(())
    }
}

/// The part of an entry that its type promises.
pub(crate) fn body<'a, T>(entry: &FileEntry, part: Option<&'a T>) -> Result<&'a T> {
    part.ok_or_else(|| Error::new(Phase::Check, format!("file {}", entry.id), "its entry has no body"))
}

/// A kind of open file: the types of entry it has in `files.img`, and its two directions.
pub(crate) struct FileKind {
    pub types: &'static [FdTypes],
    pub dump: fn() -> Box<dyn DumpKind>,
    pub restore: fn() -> Box<dyn RestoreKind>,
}

/// In the order in which they are asked.
pub(crate) const KINDS: &[FileKind] = &[
    eventfd::KIND,
    epoll::KIND,
    timerfd::KIND,
    signalfd::KIND,
    notify::KIND,
    pidfd::KIND,
    memfd::KIND,
    bpfmap::KIND,
    uring::KIND,
    unix::KIND,
    inet::KIND,
    netlink::KIND,
    packet::KIND,
    pipe::KIND,
    tun::KIND,
    tty::KIND,
    regular::KIND,
];
