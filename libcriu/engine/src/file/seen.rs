//! A description met for the first time, with all that can be told from outside.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use criu_images::messages::FownEntry;
use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, openat};
use rustix::net::sockopt::socket_domain;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::DumpTask;
use super::fdinfo::FdInfo;
use super::kind::Unsaved;
use super::path;
use crate::socket::Told;

/// What of an open file description can be seen without changing it. `dup` is a duplicate: offset and status flags are
/// shared with the task, so nothing that moves either may be done with it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub task: DumpTask<'a>,
    /// Whom messages name: of a descriptor in a message the task whose queue that is in, while `task` is this process.
    pub holder_pid: i32,
    /// The number in the task's table; -1 for a file held without one.
    pub fd: i32,
    /// What it is held by, in words: `fd 7`, `current directory`.
    pub holder: String,
    /// Text of the /proc link: a path, perhaps with ` (deleted)`, or `kind:[ino]`.
    pub link: Vec<u8>,
    pub info: FdInfo,
    pub dup: Rc<OwnedFd>,
    pub stat: Stat,
    pub fown: FownEntry,
    /// Of a socket of a large table: what is known without asking it.
    pub told: Option<Told>,
}

/// A socket of a large table, as the kernel's memory tells of it; nobody is signalled about it.
#[derive(Debug)]
pub(crate) struct Unseen<'a> {
    pub task: DumpTask<'a>,
    pub fd: i32,
    pub info: &'a FdInfo,
    pub ino: u64,
    pub told: Told,
}

impl Unseen<'_> {
    /// `None`: it cannot be had, or is of something else.
    pub(crate) fn duplicate(&self) -> Option<OwnedFd> {
        let dup = pidfd_getfd(self.task.pidfd, self.fd, PidfdGetfdFlags::empty()).ok()?;
        fstat(&dup).is_ok_and(|stat| stat.st_ino == self.ino).then_some(dup)
    }
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

    /// AF_UNIX and its like; `None` for what is no socket.
    pub(crate) fn socket_family(&self) -> Option<u32> {
        if self.file_type() != libc::S_IFSOCK || !self.link.starts_with(b"socket:[") {
            return None;
        }
        match &self.told {
            Some(told) => Some(told.family),
            None => socket_domain(&self.dup).ok().map(|domain| domain.as_raw().into()),
        }
    }

    pub(crate) fn is_o_path(&self) -> bool {
        self.info.flags & libc::O_PATH as u32 != 0
    }

    /// fdinfo does not say what it has to: a kernel older or newer than this knows.
    pub(crate) fn no_line(&self, name: &str) -> Unsaved {
        Unsaved::because(format!("fdinfo tells no valid \"{name}\""))
    }

    /// fdinfo as it is now.
    pub(crate) fn info_again(&self) -> Result<FdInfo, Unsaved> {
        let dir = openat(CWD, format!("/proc/{}/fdinfo", self.task.pid), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let dir = dir.map_err(|e| Unsaved::os(self, "open fdinfo", e))?;
        FdInfo::read(dir.as_fd(), self.fd, &mut Vec::new()).map_err(|e| Unsaved::os(self, "fdinfo", e))
    }

    /// Whether the link says `anon_inode:NAME`.
    pub(crate) fn is_anon(&self, name: &str) -> bool {
        self.link.strip_prefix(b"anon_inode:").is_some_and(|n| n == name.as_bytes())
    }
}
