//! Snapshots: a task with much memory that is left running goes on before that memory is written. It is read from a copy of the
//! task, made by clone while the task stands still and gone when the dump ends.

use std::io;
use std::os::fd::AsFd;

use criu_compel::{Copy, Infected};
use criu_images::messages::VmaEntry;
use criu_images::{ImageDir, Kind};
use rustix::fs::OFlags;

use crate::error::{Error, Phase, Result};
use crate::mem::pages::{GoOn, Known, PageTotals, Run, Source, dump_pagemap, dump_pages, private_runs};
use crate::mem::vma::{flags, status};
use crate::options::Options;
use crate::proc::ProcDir;
use crate::progress::{Operator, Stage};

/// From here on a copy is made faster than the pages are copied (8 MiB).
pub(super) const WORTHWHILE_PAGES: u64 = 2048;

/// A copy of a task; when it is dropped, no trace of it is left. The task must run then, or be gone.
#[derive(Debug)]
pub(super) struct Snapshot {
    copy: Option<Copy>,
    pid: i32,
}

/// What is looked for and written when the tasks run on: the pagemap and the pages.
#[derive(Debug)]
pub(super) struct Deferred {
    pub snapshot: Snapshot,
    pub pages_id: u32,
    /// `None`: the copy, whose pages are those that the task had, is asked.
    pub runs: Option<Vec<Run>>,
    /// The areas of the task.
    pub vmas: Vec<VmaEntry>,
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

/// What is to be done about a task's memory.
#[derive(Debug)]
pub(super) enum Wanted {
    /// It is written while the task stands still.
    Nothing,
    /// All of it stands in a copy.
    Copy,
    /// A copy lacks some areas; these pages are to be kept.
    CopyOf(Vec<Run>),
}

impl Wanted {
    /// # Errors
    /// Those of reading /proc/PID/pagemap.
    pub fn of(dir: &ProcDir, vmas: &[VmaEntry]) -> io::Result<Wanted> {
        if anonymous_pages(dir)? < WORTHWHILE_PAGES {
            return Ok(Wanted::Nothing);
        }
        if !vmas.iter().any(is_not_for_copies) {
            return Ok(Wanted::Copy);
        }
        let runs = private_runs(dir, vmas)?;
        Ok(if is_worthwhile(&runs) { Wanted::CopyOf(runs) } else { Wanted::Nothing })
    }

    pub fn is_nothing(&self) -> bool {
        matches!(self, Wanted::Nothing)
    }
}

/// Pages in memory that are of no file, about.
fn anonymous_pages(dir: &ProcDir) -> io::Result<u64> {
    let text = dir.text("statm")?;
    let number = |at: usize| text.split(' ').nth(at).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let (resident, shared) = (number(1), number(2));
    Ok(resident.saturating_sub(shared))
}

/// `None` when no exact copy can be made: it has memory that a copy would not have, or may not be cloned.
///
/// Which pages a copy has is what its task had: the kernel gives it the entries of every area with pages of its own.
///
/// # Errors
/// When the task is as good as gone.
pub(super) fn take(
    infected: &mut Infected,
    pid: i32,
    vmas: &[VmaEntry],
    wanted: &Wanted,
) -> criu_compel::Result<Option<Snapshot>> {
    let runs = match wanted {
        Wanted::Nothing => return Ok(None),
        Wanted::Copy => &[],
        Wanted::CopyOf(runs) => runs.as_slice(),
    };
    if let Some(vma) =
        vmas.iter().find(|v| is_not_for_copies(v) && runs.iter().any(|r| r.start < v.end && v.start < r.end()))
    {
        log::info!("pid {pid}: stands still while its memory is copied: {:#x} is not for a copy", vma.start);
        return Ok(None);
    }
    match infected.copy() {
        Ok(copy) => Ok(Some(Snapshot { copy: Some(copy), pid })),
        Err(e) if matches!(e.kind, criu_compel::Kind::Remote { .. }) => {
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
    pub fn write(self, images: &ImageDir, go_on: GoOn<'_>) -> Result<PageTotals> {
        let pid = self.snapshot.pid;
        let Some(copy) = &self.snapshot.copy else { return Ok(PageTotals::default()) };
        let failed = |call| move |e| Error::os(Phase::Save, "memory of the snapshot", call, e).pid(pid);
        let dir = ProcDir::open(copy.pid()).map_err(failed("open"))?;
        let runs = match self.runs {
            Some(runs) => runs,
            None => private_runs(&dir, &self.vmas).map_err(failed("scanning the pagemap"))?,
        };
        let totals = dump_pagemap(images, Kind::Pagemap, pid as u64, self.pages_id, &runs)?;
        let mem = dir.open_at("mem", OFlags::RDONLY).map_err(failed("open"))?;
        // The copy shares every page with the task.
        let source = Source::Task { pid: copy.pid(), mem: mem.as_fd(), kin: true };
        dump_pages(images, self.pages_id, source, &runs, &self.known, go_on).map_err(|e| e.or_pid(pid))?;
        Ok(totals)
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
