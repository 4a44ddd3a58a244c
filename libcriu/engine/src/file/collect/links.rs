//! Files that are held without a descriptor: executables, directories, mappings.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use criu_images::messages::FownEntry;
use rustix::fs::{CWD, Mode, OFlags, fstat, major, minor, openat, readlinkat};
use rustix::io::Errno;

use super::{BE_ROOT_OUTSIDE, DumpFiles, UNREACHABLE, failed};
use crate::error::{Blocker, Result};
use crate::file::fdinfo::FdInfo;
use crate::file::seen::Seen;
use crate::file::{DumpTask, FileId, Link, path};

/// The file behind a mapping, for whoever may not follow the links of map_files: what is at its path, if it is the same.
fn by_path(link: Link, path: &[u8]) -> Option<OwnedFd> {
    let Link::Mapped { dev, inode, .. } = link else { return None };
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let found = openat(CWD, OsStr::from_bytes(path), flags, Mode::empty()).ok()?;
    let stat = fstat(&found).ok()?;
    ((major(stat.st_dev), minor(stat.st_dev)) == dev && stat.st_ino == inode).then_some(found)
}

impl DumpFiles {
    /// Collects a file that is held without a descriptor; `None` when it was refused. Only reads.
    pub fn collect_link(
        &mut self,
        task: &DumpTask<'_>,
        link: Link,
        blockers: &mut Vec<Blocker>,
    ) -> Result<Option<FileId>> {
        self.common.tasks.insert(task.pid, task.vpid);
        let holder = link.describe();
        let name = format!("/proc/{}/{}", task.pid, link.proc_name());
        let text = readlinkat(CWD, &name, Vec::new()).map_err(|e| failed(task, &holder, "readlink", e))?.into_bytes();
        let dup = match openat(CWD, &name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::PERM) if matches!(link, Link::Mapped { .. }) => match by_path(link, &text) {
                Some(dup) => dup,
                None => {
                    let object = format!("{holder} ({})", path::shown(&text));
                    blockers.push(Blocker::new(task.vpid, object, UNREACHABLE).hint(BE_ROOT_OUTSIDE));
                    return Ok(None);
                }
            },
            opened => opened.map_err(|e| failed(task, &holder, "open", e))?,
        };
        let stat = fstat(&dup).map_err(|e| failed(task, &holder, "fstat", e))?;
        let key = (stat.st_dev, stat.st_ino, text.clone());
        if let Some(&known) = self.links.get(&key) {
            return Ok(known);
        }
        let info = FdInfo { mnt_id: -1, ino: stat.st_ino, ..FdInfo::default() };
        let (dup, fown) = (dup.into(), FownEntry::default());
        let seen =
            Seen { task: *task, holder_pid: task.pid, fd: -1, holder, link: text, info, dup, stat, fown, told: None };
        let id = self.collect(&seen, blockers)?;
        self.links.insert(key, id);
        Ok(id)
    }
}
