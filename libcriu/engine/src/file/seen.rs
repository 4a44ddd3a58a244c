//! A description met for the first time, with all that can be told from outside.

use std::os::fd::OwnedFd;

use criu_images::messages::FownEntry;
use rustix::fs::Stat;

use super::DumpTask;
use super::fdinfo::FdInfo;
use super::path;

/// What of an open file description can be seen without changing it. `dup` is a duplicate: offset and status flags are
/// shared with the task, so nothing that moves either may be done with it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub task: DumpTask<'a>,
    /// The number in the task's table; -1 for a file held without one.
    pub fd: i32,
    /// What it is held by, in words: `fd 7`, `current directory`.
    pub holder: String,
    /// Text of the /proc link: a path, perhaps with ` (deleted)`, or `kind:[ino]`.
    pub link: Vec<u8>,
    pub info: FdInfo,
    pub dup: OwnedFd,
    pub stat: Stat,
    pub fown: FownEntry,
}

impl Seen<'_> {
    /// `fd 7 (/tmp/x)`, for messages.
    pub(crate) fn object(&self) -> String {
        format!("{} ({})", self.holder, path::shown(&self.link))
    }

    /// S_IFMT of the inode.
    pub(crate) fn file_type(&self) -> u32 {
        self.stat.st_mode & libc::S_IFMT
    }

    pub(crate) fn is_o_path(&self) -> bool {
        self.info.flags & libc::O_PATH as u32 != 0
    }

    /// Whether the link says `anon_inode:NAME`.
    pub(crate) fn is_anon(&self, name: &str) -> bool {
        self.link.strip_prefix(b"anon_inode:").is_some_and(|n| n == name.as_bytes())
    }
}
