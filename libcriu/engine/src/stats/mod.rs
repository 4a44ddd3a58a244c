//! What an operation cost: kept by the phases, written to the work directory as `stats-dump` and `stats-restore`.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;

use criu_images::messages::{DumpStatsEntry, RestoreStatsEntry, StatsEntry};
use criu_images::{ImageDir, Kind};
use prost::Message;

use crate::error::{Error, Phase, Result};
use crate::mem::pages::PageTotals;

/// Costs of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpStats {
    /// From the first task seized until all were.
    pub freezing_us: u32,
    /// From the first task seized until all went on (or were killed).
    pub frozen_us: u32,
    /// Taking the memory of all tasks.
    pub memdump_us: u32,
    /// Writing that memory to the images; a part of `memdump_us`.
    pub memwrite_us: u32,
    pub pages_scanned: u64,
    pub pages_skipped_parent: u64,
    pub pages_written: u64,
    pub pages_lazy: u64,
    pub shpages_scanned: u64,
    pub shpages_skipped_parent: u64,
    pub shpages_written: u64,
    /// Tasks whose memory was saved from a snapshot while they ran on.
    pub snapshots: u32,
    /// Tasks to be left running that stood still while their memory was copied, though it was much.
    pub copied_frozen: u32,
}

/// Costs of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreStats {
    /// Pages compared with what was inherited from the parent.
    pub pages_compared: u64,
    /// Pages of these that were equal and stayed shared.
    pub pages_skipped_cow: u64,
    pub pages_restored: u64,
    /// Until every task existed.
    pub forking_us: u32,
    /// The whole restore.
    pub restore_us: u32,
}

impl DumpStats {
    /// Adds the pages of a task.
    pub(crate) fn count(&mut self, totals: PageTotals) {
        self.pages_written += totals.pages;
        self.pages_lazy += totals.lazy;
    }

    fn entry(&self) -> StatsEntry {
        StatsEntry {
            dump: Some(DumpStatsEntry {
                freezing_time: self.freezing_us,
                frozen_time: self.frozen_us,
                memdump_time: self.memdump_us,
                memwrite_time: self.memwrite_us,
                pages_scanned: self.pages_scanned,
                pages_skipped_parent: self.pages_skipped_parent,
                pages_written: self.pages_written,
                irmap_resolve: Some(0),
                pages_lazy: self.pages_lazy,
                page_pipes: Some(0),
                page_pipe_bufs: Some(0),
                shpages_scanned: Some(self.shpages_scanned),
                shpages_skipped_parent: Some(self.shpages_skipped_parent),
                shpages_written: Some(self.shpages_written),
                snapshots: (self.snapshots != 0).then_some(self.snapshots),
                copied_frozen: (self.copied_frozen != 0).then_some(self.copied_frozen),
            }),
            restore: None,
        }
    }

    /// Writes `stats-dump` into `work_dir`.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn write(&self, work_dir: impl AsFd) -> Result<()> {
        write(work_dir, "dump", &self.entry())
    }
}

impl RestoreStats {
    fn entry(&self) -> StatsEntry {
        StatsEntry {
            dump: None,
            restore: Some(RestoreStatsEntry {
                pages_compared: self.pages_compared,
                pages_skipped_cow: self.pages_skipped_cow,
                forking_time: self.forking_us,
                restore_time: self.restore_us,
                pages_restored: Some(self.pages_restored),
            }),
        }
    }

    /// Writes `stats-restore` into `work_dir`.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn write(&self, work_dir: impl AsFd) -> Result<()> {
        write(work_dir, "restore", &self.entry())
    }
}

/// Statistics start with the service magic, then their own; the file has no `.img` ending.
const SERVICE_MAGIC: u32 = 0x5510_5940;

fn write(work_dir: impl AsFd, what: &str, entry: &StatsEntry) -> Result<()> {
    let name = format!("stats-{what}");
    let failed = |call: &str, e: io::Error| Error::os(Phase::Commit, &name, call, e);
    let dir = ImageDir::new(work_dir.as_fd().try_clone_to_owned().map_err(|e| failed("dup", e))?);
    let mut file = dir.create_raw(&name).map_err(|e| Error::new(Phase::Commit, &name, e.to_string()))?;
    let message = entry.encode_to_vec();
    let mut bytes = Vec::with_capacity(12 + message.len());
    bytes.extend(SERVICE_MAGIC.to_le_bytes());
    bytes.extend(Kind::Stats.magic().to_le_bytes());
    // A few numbers: far below 4 GiB.
    bytes.extend((message.len() as u32).to_le_bytes());
    bytes.extend(message);
    file.write_all(&bytes).map_err(|e| failed("write", e))
}

impl fmt::Display for DumpStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Displaying dump stats:")?;
        writeln!(f, "Freezing time: {} us", self.freezing_us)?;
        writeln!(f, "Frozen time: {} us", self.frozen_us)?;
        writeln!(f, "Memory dump time: {} us", self.memdump_us)?;
        writeln!(f, "Memory write time: {} us", self.memwrite_us)?;
        writeln!(f, "Memory pages scanned: {} (shared: {})", self.pages_scanned, self.shpages_scanned)?;
        writeln!(
            f,
            "Memory pages in the parent: {} (shared: {})",
            self.pages_skipped_parent, self.shpages_skipped_parent
        )?;
        writeln!(f, "Memory pages written: {} (shared: {})", self.pages_written, self.shpages_written)?;
        write!(f, "Lazy memory pages: {}", self.pages_lazy)
    }
}

impl fmt::Display for RestoreStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Displaying restore stats:")?;
        writeln!(f, "Pages compared: {}", self.pages_compared)?;
        writeln!(f, "Pages shared by copy-on-write: {}", self.pages_skipped_cow)?;
        writeln!(f, "Pages restored: {}", self.pages_restored)?;
        writeln!(f, "Forking time: {} us", self.forking_us)?;
        write!(f, "Restore time: {} us", self.restore_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (std::path::PathBuf, std::fs::File) {
        let path = std::env::temp_dir().join(format!("stats-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let dir = std::fs::File::open(&path).unwrap();
        (path, dir)
    }

    #[test]
    fn both_files_read_back_as_stats_images() {
        let (path, dir) = dir();
        let dump = DumpStats { freezing_us: 7, pages_written: 9, shpages_written: 3, ..Default::default() };
        dump.write(&dir).unwrap();
        RestoreStats { pages_restored: 11, ..Default::default() }.write(&dir).unwrap();
        for (file, want) in [
            ("stats-dump", dump.entry()),
            ("stats-restore", RestoreStats { pages_restored: 11, ..Default::default() }.entry()),
        ] {
            let bytes = std::fs::read(path.join(file)).unwrap();
            assert_eq!(bytes[..4], SERVICE_MAGIC.to_le_bytes());
            assert_eq!(bytes[4..8], 0x5709_3306u32.to_le_bytes());
            let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
            assert_eq!(bytes.len(), 12 + len);
            assert_eq!(StatsEntry::decode(&bytes[12..]).unwrap(), want);
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}
