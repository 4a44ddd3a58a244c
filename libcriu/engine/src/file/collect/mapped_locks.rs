//! Locks that only a mapping keeps: their descriptors are closed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};

use super::DumpFiles;
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::{FileId, path, table};

impl DumpFiles {
    /// Shared mappings may be how somebody holds a lock even if the file is open for reading only. (Private ones of such files are
    /// libraries and tables of the C library.)
    pub(crate) fn note_shared_mapping(&mut self, file: FileId) {
        self.mapped_shared.insert(file);
    }

    /// Notes down locks that mappings keep. The kernel makes whoever reads the list of all locks wait some ten milliseconds (for a grace
    /// period of RCU): without the option it is read only where a file is mapped that is open for writing, or shared, and that
    /// somebody has locked once, as far as that can be told.
    pub(super) fn resolve_mapped_locks(&mut self, blockers: &mut Vec<Blocker>) -> Result<()> {
        if !self.common.opts.file_locks() && !self.may_have_mapped_locks() {
            return Ok(());
        }
        let all = match std::fs::read_to_string("/proc/locks") {
            Ok(all) => all,
            // A kernel without locks.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::os(Phase::Collect, "/proc/locks", "read", e)),
        };
        for held in self.locks.without_descriptor(&all, |pid| self.common.tasks.contains_key(&pid)) {
            let mapped = self.links.iter().find(|((dev, inode, _), _)| held.is_of(*dev, *inode));
            let Some(((_, _, name), &Some(id))) = mapped else { continue };
            if !self.common.opts.file_locks() {
                let cause = "a lock (FLOCK) is held through its mapping";
                let blocker = Blocker::new(held.pid, format!("mapping of {}", path::shown(name)), cause);
                blockers.push(blocker.hint("allow it with --file-locks"));
                continue;
            }
            let entry = self.common.entries.iter_mut().find(|e| e.id == id).and_then(|e| e.reg.as_mut());
            if let Some(reg) = entry {
                reg.mapped_lock = Some(held.r#type);
                reg.mapped_lock_pid = self.common.tasks.get(&held.pid).map(|&vpid| vpid as u32);
            }
        }
        Ok(())
    }

    fn may_have_mapped_locks(&mut self) -> bool {
        let is_written = |e: &&criu_images::messages::FileEntry| {
            e.reg.as_ref().is_some_and(|reg| reg.flags & libc::O_ACCMODE as u32 != libc::O_RDONLY as u32)
        };
        let written: HashSet<FileId> = self.common.entries.iter().filter(is_written).map(|e| e.id).collect();
        let suspects: Vec<(u64, u64, Vec<u8>)> = self
            .links
            .iter()
            .filter(|(_, id)| id.is_some_and(|id| written.contains(&id) || self.mapped_shared.contains(&id)))
            .map(|(key, _)| key.clone())
            .collect();
        suspects.iter().any(|(dev, inode, name)| !self.is_never_locked_at(*dev, *inode, name))
    }

    /// What cannot be found, or looked at, may have been locked.
    fn is_never_locked_at(&mut self, dev: u64, inode: u64, name: &[u8]) -> bool {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(file) = openat(CWD, OsStr::from_bytes(name), flags, Mode::empty()) else { return false };
        if !fstat(&file).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (dev, inode)) {
            return false;
        }
        let told = self.kernel().and_then(|kernel| {
            kernel.file(file.as_fd()).and_then(|file| table::is_never_locked(kernel, file)).map_err(|e| e.to_string())
        });
        told.unwrap_or(false)
    }
}
