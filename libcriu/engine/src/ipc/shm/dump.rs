//! Segments that tasks of the tree have attached, and nobody else; and those that a task has made and nobody has attached.
//! The contents of the first are saved with memory, through a task's mapping.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

use criu_images::messages::IpcShmEntry;
use criu_images::{ImageDir, Kind};
use rustix::fs::fstat;

use super::{SHM_HUGETLB, goes_when_detached};
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::{BE_ROOT_OUTSIDE, UNREACHABLE};
use crate::ipc::dump::Attached;
use crate::ipc::object::{Row, describe, is_done_by, list};
use crate::ipc::sem::dump::is_gone;
use crate::mem::pages::{GoOn, PagesIds};
use crate::mem::{huge, shmem};
use crate::sys::ipc::{Family, can_follow_mappings, shm_file};

/// What is to be saved.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    attached: Vec<IpcShmEntry>,
    /// Nobody has them attached.
    pub(in crate::ipc) detached: Vec<IpcShmEntry>,
}

fn entry(row: &Row, huge_page: Option<u64>) -> IpcShmEntry {
    let size = row.get("size") as u64;
    IpcShmEntry { desc: row.desc, size, in_pagemaps: Some(true), hugetlb_flag: hugetlb_flag(huge_page) }
}

fn hugetlb_flag(huge_page: Option<u64>) -> Option<u32> {
    huge_page.map(|page_bytes| SHM_HUGETLB | huge::size_flags(page_bytes))
}

pub(crate) fn resolve(
    attached: &HashMap<u32, Attached>,
    tree: &HashSet<i32>,
    blockers: &mut Vec<Blocker>,
) -> Result<Segments> {
    let rows =
        list(Family::Shm).map_err(|e| Error::os(Phase::Collect, Family::Shm.name(), "reading /proc/sysvipc/shm", e))?;
    let mut segments = Segments::default();
    for (id, Attached { times, pid, huge_page }) in attached {
        let Some(row) = rows.iter().find(|r| r.desc.id == *id) else {
            let object = format!("{} {id}", Family::Shm.name());
            blockers.push(Blocker::new(*pid, object, "it belongs to another IPC namespace; this cannot be saved"));
            continue;
        };
        let all = row.get("nattch") as u64;
        if all != *times {
            let cause = format!("it is attached outside of the tree, too ({all} times in all, {times} in the tree)");
            let hint = "dump them together, or in an IPC namespace of their own";
            blockers.push(Blocker::new(*pid, describe(Family::Shm, &row.desc), cause).hint(hint));
            continue;
        }
        segments.attached.push(entry(row, *huge_page));
    }
    let mut obstacles = None;
    for row in rows.iter().filter(|r| !attached.contains_key(&r.desc.id) && r.get("nattch") == 0) {
        let maker = row.get("cpid") as i32;
        if !is_done_by(maker, row.get("ctime"), |pid| tree.contains(&pid)) {
            continue;
        }
        if is_used_outside(row, tree) {
            let object = describe(Family::Shm, &row.desc);
            log::warn!("{object}: nobody has it attached, process {} has used it; it stays as it is", row.get("lpid"));
            continue;
        }
        match obstacles.get_or_insert_with(obstacle) {
            Some((cause, hint)) => {
                blockers.push(Blocker::new(maker, describe(Family::Shm, &row.desc), *cause).hint(*hint));
            }
            None => segments.detached.push(entry(row, None)),
        }
    }
    segments.attached.sort_by_key(|s| s.desc.id);
    Ok(segments)
}

/// Why segments that nobody has attached cannot be looked at, and what would help.
fn obstacle() -> Option<(&'static str, &'static str)> {
    if goes_when_detached() {
        let cause =
            "nobody has attached it, and the kernel would remove it behind a look at it (kernel.shm_rmid_forced)";
        return Some((cause, "attach it in the process before the dump"));
    }
    (!can_follow_mappings()).then_some((UNREACHABLE, BE_ROOT_OUTSIDE))
}

/// Is its last user a process that lives and is none of the tree?
pub(super) fn is_used_outside(row: &Row, tree: &HashSet<i32>) -> bool {
    let time = row.get("atime").max(row.get("dtime"));
    is_done_by(row.get("lpid") as i32, time, |pid| !tree.contains(&pid))
}

/// Writes the list, and the contents of those that no task has attached; gives the number of their pages.
pub(crate) fn save(
    images: &ImageDir,
    id: u64,
    segments: &Segments,
    ids: &mut PagesIds,
    go_on: GoOn<'_>,
) -> Result<u64> {
    let image = |e| Error::image(Phase::Save, e);
    let mut written = 0;
    let mut all = segments.attached.clone();
    for segment in &segments.detached {
        if let Some((entry, pages)) = save_detached(images, *segment, ids, go_on)? {
            all.push(entry);
            written += pages;
        }
    }
    if all.is_empty() {
        // One of an earlier dump into the same directory.
        images.remove(&Kind::IpcnsShm.file_name(id)).map_err(image)?;
        return Ok(written);
    }
    let mut out = images.create(Kind::IpcnsShm, id).map_err(image)?;
    for s in all {
        out.segment(&s, None).map_err(image)?;
    }
    out.finish().map_err(image)?;
    Ok(written)
}

/// `None`: it was removed meanwhile.
fn save_detached(
    images: &ImageDir,
    mut entry: IpcShmEntry,
    ids: &mut PagesIds,
    go_on: GoOn<'_>,
) -> Result<Option<(IpcShmEntry, u64)>> {
    let object = || describe(Family::Shm, &entry.desc);
    let failed = |call: &'static str| move |e| Error::os(Phase::Save, object(), call, e);
    let file = match shm_file(entry.desc.id) {
        Ok(file) => file,
        Err(e) if is_gone(&e) => return Ok(None),
        Err(e) => {
            let hint = "that takes CAP_IPC_OWNER and CAP_CHECKPOINT_RESTORE";
            return Err(failed("looking at its pages")(e).hint(hint));
        }
    };
    let shmid = u64::from(entry.desc.id);
    if !ids.claim_shared(shmid) {
        // Their images would have one name.
        let cause = "an anonymous segment has the same number; this cannot be saved";
        return Err(Error::new(Phase::Save, object(), cause));
    }
    let there = fstat(&file).map_err(|e| failed("fstat")(e.into()))?;
    let size = there.st_size as u64;
    let huge_page = huge::page_bytes_of(there.st_dev);
    let totals = shmem::dump_whole_pages(images, shmid, file.as_fd(), (size, huge_page), ids, go_on)?;
    entry.hugetlb_flag = hugetlb_flag(huge_page);
    Ok(Some((entry, totals.pages)))
}
