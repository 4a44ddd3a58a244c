//! Sets of semaphores and their values.

use std::collections::HashSet;

use criu_images::messages::IpcSemEntry;
use criu_images::{ImageDir, Kind};

use super::dump::users;
use crate::error::{Error, Phase, Result};
use crate::ipc::object::{are_in, create, describe, existing, failed, owner};
use crate::sys::ipc::{Family, sem_create, sem_set, sem_set_values};

pub(crate) type Saved = (IpcSemEntry, Vec<u16>);

pub(crate) fn load(images: &ImageDir, id: u64) -> Result<Vec<Saved>> {
    let image = |e| Error::image(Phase::Load, e);
    let Some(mut reader) = images.open(Kind::IpcnsSem, id).map_err(image)? else { return Ok(Vec::new()) };
    let mut sets = Vec::new();
    while let Some(entry) = reader.entry::<IpcSemEntry>().map_err(image)? {
        let values = reader.semaphores(&entry).map_err(image)?;
        if values.len() != entry.nsems as usize || values.is_empty() {
            let cause = format!("{} values for {} semaphores", values.len(), entry.nsems);
            return Err(Error::new(Phase::Load, describe(Family::Sem, &entry.desc), cause));
        }
        sets.push((entry, values));
    }
    Ok(sets)
}

/// Makes the set be there; `settle` gives it its values.
///
/// # Errors
/// Its key or id is taken, or others have used it since.
pub(crate) fn provide((entry, _): &Saved, tree: &HashSet<i32>, made: &mut Vec<(Family, u32)>) -> Result<()> {
    let desc = &entry.desc;
    let failed = |call: &'static str| failed(Family::Sem, desc, call);
    match existing(Family::Sem, desc)? {
        None => {
            create(Family::Sem, desc, || sem_create(desc.key, entry.nsems, desc.mode))?;
            made.push((Family::Sem, desc.id));
        }
        Some(row) => {
            let ours = are_in(tree, users(&row).map_err(failed("semctl GETPID"))?);
            if !ours || row.get("nsems") != i64::from(entry.nsems) {
                let cause = "there is one that others have used or made since";
                return Err(Error::new(Phase::Memory, describe(Family::Sem, desc), cause)
                    .errno(libc::EEXIST)
                    .hint("remove it (ipcrm), or restore inside an IPC namespace of its own"));
            }
        }
    }
    Ok(())
}

/// Sets the values: this process is the one that the kernel then names as each semaphore's last user.
pub(crate) fn settle((entry, values): &Saved) -> Result<()> {
    let failed = |call: &'static str| failed(Family::Sem, &entry.desc, call);
    sem_set_values(entry.desc.id, values).map_err(failed("semctl SETALL"))?;
    sem_set(entry.desc.id, owner(&entry.desc)).map_err(failed("semctl IPC_SET"))
}
