//! Descriptors that are not looked at one by one, because the kernel's memory tells enough of them.

use std::collections::HashMap;

use criu_images::messages::FdinfoEntry;
use rustix::fs::{major, minor};

use super::{DumpFiles, Table};
use crate::file::fdinfo::FdInfo;
use crate::file::table::{self, Plain};
use crate::file::{DumpTask, FileId, path, regular};

impl DumpFiles {
    /// An ordinary file by its name in a directory that is known, if it is there: nothing else need be looked at.
    pub(super) fn plain(&mut self, file: &Plain, directory: &[u8], info: &FdInfo) -> Option<FileId> {
        let path = [directory, b"/", &file.name].concat();
        // Those have something to be looked at. What `external` names goes by other things than its path.
        if path.starts_with(b"/proc/") || path.starts_with(b"/memfd:") || !self.common.opts.external.is_empty() {
            return None;
        }
        let stat = path::lstat(&path).ok()?;
        let is_it = (major(stat.st_dev), minor(stat.st_dev)) == file.dev && stat.st_ino == file.ino;
        let is_regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG && info.flags & libc::O_PATH as u32 == 0;
        if !(is_it && is_regular) {
            return None;
        }
        let id = self.common.new_id();
        let entry = regular::plain(id, path, info, &stat);
        self.add(id, info.ino, entry);
        Some(id)
    }

    /// Takes over the table of another task, `models`, if all of its descriptors were collected and no locks can be held through
    /// them. The task has the same ones, `fds`: number, what it leads to, whether an execve closes it.
    pub fn copy_fds(&mut self, task: &DumpTask<'_>, files_id: u32, models: u32, fds: &[(u32, u64, bool)]) -> bool {
        if !fds.iter().all(|&(_, file, _)| self.is_never_locked(file)) {
            return false;
        }
        let Some(table) = self.common.tables.get(&models) else { return false };
        let mut ids = HashMap::new();
        let is_same = |(entry, &(fd, file, closes)): (&FdinfoEntry, &(u32, u64, bool))| {
            (entry.fd, entry.flags) == (fd, u32::from(closes)) && *ids.entry(file).or_insert(entry.id) == entry.id
        };
        if table.fds.len() != fds.len() || !table.fds.iter().zip(fds).all(is_same) {
            return false;
        }
        let table = Table { pid: task.pid, fds: table.fds.clone() };
        self.common.tasks.extend([(task.pid, task.vpid), (task.vpid, task.vpid)]);
        self.common.tables.insert(files_id, table);
        true
    }

    /// Nobody has ever locked what the file at this address is of, or got a lease of it.
    fn is_never_locked(&mut self, file: u64) -> bool {
        if let Some(known) = self.never_locked.get(&file) {
            return *known;
        }
        let told = self.kernel().and_then(|kernel| table::is_never_locked(kernel, file).map_err(|e| e.to_string()));
        *self.never_locked.entry(file).or_insert(told.unwrap_or(false))
    }
}

impl Plain {
    /// What its directory is called if the file itself is called `path`.
    pub(super) fn directory_in(&self, path: &[u8]) -> Option<Vec<u8>> {
        let directory = path.strip_suffix(self.name.as_slice())?.strip_suffix(b"/")?;
        directory.starts_with(b"/").then(|| directory.to_vec())
    }
}
