//! Sets that only tasks of the tree have changed.

use std::collections::HashSet;
use std::io;

use criu_images::messages::IpcSemEntry;
use criu_images::{ImageDir, Kind};

use crate::error::{Error, Phase, Result};
use crate::ipc::object::{Row, are_in, describe, list};
use crate::sys::ipc::{Family, sem_pid, sem_values};

/// Those who last changed each semaphore.
pub(super) fn users(row: &Row) -> io::Result<Vec<i32>> {
    (0..row.get("nsems") as u32).map(|n| sem_pid(row.desc.id, n)).collect()
}

/// Removed while it was looked at.
pub(in crate::ipc) fn is_gone(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EIDRM))
}

pub(crate) fn resolve(tree: &HashSet<i32>) -> Result<Vec<(IpcSemEntry, Vec<u16>)>> {
    let rows =
        list(Family::Sem).map_err(|e| Error::os(Phase::Collect, Family::Sem.name(), "reading /proc/sysvipc/sem", e))?;
    let mut sets = Vec::new();
    for row in rows {
        let found = users(&row).and_then(|users| {
            if !are_in(tree, users) {
                return Ok(None);
            }
            let nsems = row.get("nsems") as u32;
            Ok(Some((IpcSemEntry { desc: row.desc, nsems }, sem_values(row.desc.id, nsems)?)))
        });
        match found {
            Ok(set) => sets.extend(set),
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(Error::os(Phase::Collect, describe(Family::Sem, &row.desc), "semctl", e)),
        }
    }
    Ok(sets)
}

pub(crate) fn save(images: &ImageDir, id: u64, sets: &[(IpcSemEntry, Vec<u16>)]) -> Result<()> {
    let image = |e| Error::image(Phase::Save, e);
    if sets.is_empty() {
        return images.remove(&Kind::IpcnsSem.file_name(id)).map_err(image);
    }
    let mut out = images.create(Kind::IpcnsSem, id).map_err(image)?;
    for (entry, values) in sets {
        out.semaphores(entry, values).map_err(image)?;
    }
    out.finish().map_err(image)
}
