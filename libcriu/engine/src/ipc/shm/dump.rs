//! Segments that tasks of the tree have attached, and nobody else. Their contents are saved by `mem::shmem`, through a
//! task's mapping.

use std::collections::{HashMap, HashSet};

use criu_images::messages::IpcShmEntry;
use criu_images::{ImageDir, Kind};

use super::SHM_HUGETLB;
use crate::error::{Blocker, Error, Phase, Result};
use crate::ipc::dump::Attached;
use crate::ipc::object::{are_in, describe, list};
use crate::mem::huge;
use crate::sys::ipc::Family;

pub(crate) fn resolve(
    attached: &HashMap<u32, Attached>,
    tree: &HashSet<i32>,
    blockers: &mut Vec<Blocker>,
) -> Result<Vec<IpcShmEntry>> {
    let rows =
        list(Family::Shm).map_err(|e| Error::os(Phase::Collect, Family::Shm.name(), "reading /proc/sysvipc/shm", e))?;
    let mut segments = Vec::with_capacity(attached.len());
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
        let size = row.get("size") as u64;
        let hugetlb_flag = huge_page.map(|page_bytes| SHM_HUGETLB | huge::size_flags(page_bytes));
        segments.push(IpcShmEntry { desc: row.desc, size, in_pagemaps: Some(true), hugetlb_flag });
    }
    for row in rows.iter().filter(|r| !attached.contains_key(&r.desc.id) && r.get("nattch") == 0) {
        if are_in(tree, [row.get("cpid") as i32]) {
            log::warn!("{}: nobody has it attached; it stays where it is", describe(Family::Shm, &row.desc));
        }
    }
    segments.sort_by_key(|s| s.desc.id);
    Ok(segments)
}

pub(crate) fn save(images: &ImageDir, id: u64, segments: &[IpcShmEntry]) -> Result<()> {
    let image = |e| Error::image(Phase::Save, e);
    if segments.is_empty() {
        // One of an earlier dump into the same directory.
        return images.remove(&Kind::IpcnsShm.file_name(id)).map_err(image);
    }
    let mut out = images.create(Kind::IpcnsShm, id).map_err(image)?;
    for s in segments {
        out.segment(s, None).map_err(image)?;
    }
    out.finish().map_err(image)
}
