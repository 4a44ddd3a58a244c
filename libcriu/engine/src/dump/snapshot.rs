//! Snapshots: a task with much memory that is left running goes on before that memory is written. It is read from a copy of the
//! task, made by clone while the task stands still and gone when the dump ends.

use std::fs::File;
use std::os::fd::AsFd;

use criu_compel::{Copy, Infected, Kind};
use criu_images::ImageDir;
use criu_images::messages::VmaEntry;

use crate::error::{Error, Phase, Result};
use crate::mem::pages::{GoOn, Known, Run, Source, dump_pages};
use crate::mem::vma::{flags, status};
use crate::options::Options;
use crate::progress::{Operator, Stage};

/// From here on a copy is made faster than the pages are copied (8 MiB).
pub(super) const WORTHWHILE_PAGES: u64 = 2048;

/// A copy of a task; when it is dropped, no trace of it is left. The task must run then, or be gone.
#[derive(Debug)]
pub(super) struct Snapshot {
    copy: Option<Copy>,
    pid: i32,
}

/// Pages that are written when the tasks run on.
#[derive(Debug)]
pub(super) struct Deferred {
    pub snapshot: Snapshot,
    pub pages_id: u32,
    pub runs: Vec<Run>,
    /// What the copy shares with the task, so that it changes.
    pub known: Vec<Known>,
}

/// May the tasks go on before their memory is written? Not when somebody wants to find them standing still after the dump.
pub(super) fn are_wanted(options: &Options, operator: &dyn Operator) -> bool {
    options.msg.leave_running() && !options.msg.leave_stopped() && !operator.is_awaited(Stage::PostDump)
}

/// Is there so much memory that it pays?
pub(super) fn is_worthwhile(runs: &[Run]) -> bool {
    runs.iter().map(|r| r.pages).sum::<u64>() >= WORTHWHILE_PAGES
}

/// `None` when no exact copy can be made: it has memory that a copy would not have, or may not be cloned.
///
/// # Errors
/// When the task is as good as gone.
pub(super) fn take(
    infected: &mut Infected,
    pid: i32,
    vmas: &[VmaEntry],
    runs: &[Run],
) -> criu_compel::Result<Option<Snapshot>> {
    if let Some(vma) =
        vmas.iter().find(|v| is_not_for_copies(v) && runs.iter().any(|r| r.start < v.end && v.start < r.end()))
    {
        log::info!("pid {pid}: stands still while its memory is copied: {:#x} is not for a copy", vma.start);
        return Ok(None);
    }
    match infected.copy() {
        Ok(copy) => Ok(Some(Snapshot { copy: Some(copy), pid })),
        Err(e) if matches!(e.kind, Kind::Remote { .. }) => {
            log::info!("pid {pid}: stands still while its memory is copied: {e}");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Memory that a copy does not have (MADV_DONTFORK, MADV_WIPEONFORK, MAP_DROPPABLE) or that a task is not to share with one: when
/// there is no other huge page, the kernel kills whoever writes to a shared one, or takes it away from the other.
fn is_not_for_copies(vma: &VmaEntry) -> bool {
    let advised = |advice: i32| vma.madv.unwrap_or(0) & 1 << advice != 0;
    let is_private_huge =
        vma.flags & flags::HUGETLB != 0 && vma.status & (status::ANON_PRIVATE | status::FILE_PRIVATE) != 0;
    is_private_huge
        || advised(libc::MADV_DONTFORK)
        || advised(libc::MADV_WIPEONFORK)
        || vma.flags & flags::DROPPABLE != 0
}

impl Deferred {
    /// # Errors
    /// A page that cannot be read, a file that cannot be written.
    pub fn write(self, images: &ImageDir, go_on: GoOn<'_>) -> Result<()> {
        let Some(copy) = &self.snapshot.copy else { return Ok(()) };
        let failed = |e| Error::os(Phase::Save, "memory of the snapshot", "open", e).pid(self.snapshot.pid);
        let mem = File::open(format!("/proc/{}/mem", copy.pid())).map_err(failed)?;
        // The copy shares every page with the task.
        let source = Source::Task { pid: copy.pid(), mem: mem.as_fd(), kin: true };
        dump_pages(images, self.pages_id, source, &self.runs, &self.known, go_on)
            .map_err(|e| e.or_pid(self.snapshot.pid))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Some(Err(e)) = self.copy.take().map(Copy::end) {
            log::warn!("pid {}: the end of its snapshot: {e}", self.pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_copy_is_not_to_have() {
        let area = |flags, status| VmaEntry { flags, status, ..VmaEntry::default() };
        assert!(!is_not_for_copies(&area(flags::PRIVATE, status::ANON_PRIVATE)));
        assert!(is_not_for_copies(&area(flags::PRIVATE | flags::HUGETLB, status::ANON_PRIVATE)));
        assert!(is_not_for_copies(&area(flags::PRIVATE | flags::HUGETLB, status::FILE_PRIVATE | status::MEMFD)));
        assert!(!is_not_for_copies(&area(flags::SHARED | flags::HUGETLB, status::ANON_SHARED)));
        let kept_from_children =
            VmaEntry { madv: Some(1 << libc::MADV_DONTFORK), ..area(flags::PRIVATE, status::ANON_PRIVATE) };
        assert!(is_not_for_copies(&kept_from_children));
    }
}
