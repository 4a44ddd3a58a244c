//! Locks that only a mapping keeps: their descriptors are closed.

use std::collections::HashSet;

use super::DumpFiles;
use crate::error::{Error, Phase, Result};
use crate::file::FileId;

impl DumpFiles {
    /// Notes down locks that mappings keep. The kernel makes whoever reads the list of all locks wait some ten milliseconds (for a grace
    /// period of RCU): without the option it is read only where a file is mapped that is open for writing.
    pub(super) fn resolve_mapped_locks(&mut self) -> Result<()> {
        if !self.common.opts.file_locks() && !self.maps_for_writing() {
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
            let Some((_, &Some(id))) = mapped else { continue };
            if !self.common.opts.file_locks() {
                log::warn!(
                    "pid {}: a lock (FLOCK) that a mapping keeps would be lost; keep it with --file-locks",
                    held.pid
                );
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

    fn maps_for_writing(&self) -> bool {
        let linked: HashSet<FileId> = self.links.values().copied().flatten().collect();
        let mut entries = self.common.entries.iter().filter(|e| linked.contains(&e.id)).filter_map(|e| e.reg.as_ref());
        entries.any(|reg| reg.flags & libc::O_ACCMODE as u32 != libc::O_RDONLY as u32)
    }
}
