//! Sets that only tasks of the tree have changed.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::io;

use criu_images::messages::IpcSemEntry;
use criu_images::{ImageDir, Kind};

use crate::error::{Blocker, Error, Phase, Result};
use crate::ipc::object::{Row, are_in, describe, list, may_use};
use crate::proc::ProcDir;
use crate::sys::ipc::{Family, sem_pid, sem_values};
use crate::sys::kcmp::{Kobj, kcmp};
use crate::sys::spawn::run_apart;

/// Those who last changed each semaphore.
pub(super) fn users(row: &Row) -> io::Result<Vec<i32>> {
    (0..row.get("nsems") as u32).map(|n| sem_pid(row.desc.id, n)).collect()
}

/// Removed while it was looked at.
pub(in crate::ipc) fn is_gone(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EIDRM))
}

pub(crate) fn resolve(
    tree: &HashSet<i32>,
    living: &HashMap<i32, usize>,
    blockers: &mut Vec<Blocker>,
) -> Result<Vec<(IpcSemEntry, Vec<u16>)>> {
    let rows =
        list(Family::Sem).map_err(|e| Error::os(Phase::Collect, Family::Sem.name(), "reading /proc/sysvipc/sem", e))?;
    let mut sets = Vec::new();
    let mut used: HashMap<i32, String> = HashMap::new();
    for row in rows {
        let found = users(&row).and_then(|users| {
            for pid in users.iter().filter(|pid| living.contains_key(pid)) {
                used.entry(*pid).or_insert_with(|| describe(Family::Sem, &row.desc));
            }
            if !are_in(tree, users) {
                return Ok(None);
            }
            let nsems = row.get("nsems") as u32;
            Ok(Some((IpcSemEntry { desc: row.desc, nsems }, sem_values(row.desc.id, nsems)?)))
        });
        match found {
            Ok(set) => sets.extend(set),
            Err(e) if is_gone(&e) => {}
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
                let object = describe(Family::Sem, &row.desc);
                match tree.iter().find(|pid| has_access(**pid, &row)) {
                    None => log::debug!("{object}: neither this process nor the tree may use it"),
                    Some(&pid) => {
                        let cause = "the tree could have used it, and who has must not be asked here (semctl: EACCES)";
                        blockers.push(Blocker::new(pid, object, cause).hint("dump with CAP_IPC_OWNER"));
                    }
                }
            }
            Err(e) => return Err(Error::os(Phase::Collect, describe(Family::Sem, &row.desc), "semctl", e)),
        }
    }
    refuse_undo(&used, living, blockers)?;
    Ok(sets)
}

/// A task of which nothing is to be told has all rights.
fn has_access(pid: i32, row: &Row) -> bool {
    ProcDir::open(pid).and_then(|dir| dir.status()).map_or(true, |status| may_use(&row.desc, &status))
}

/// Refuses tasks for which a change of a semaphore is to be undone when they end: the kernel does that when the dump kills them,
/// and tells nobody what it would undo. Of a process with threads it always keeps a list, be it empty.
fn refuse_undo(used: &HashMap<i32, String>, living: &HashMap<i32, usize>, blockers: &mut Vec<Blocker>) -> Result<()> {
    let alone: Vec<i32> = used.keys().copied().filter(|pid| living[pid] == 1).collect();
    if let Some((pid, set)) = used.iter().find(|(pid, _)| living[pid] > 1) {
        log::warn!(
            "{set}: whether thread group {pid} has adjustments to undo (SEM_UNDO) nothing tells; they would be lost"
        );
    }
    if alone.is_empty() {
        return Ok(());
    }
    // A new process has no list.
    let lists = run_apart(|| {
        let own = std::process::id() as i32;
        let has_list = |pid: &i32| kcmp(own, *pid, Kobj::SysvUndo).is_ok_and(Ordering::is_ne);
        alone.iter().map(|pid| u8::from(has_list(pid))).collect()
    })
    .map_err(|e| Error::os(Phase::Collect, Family::Sem.name(), "fork", e))?;
    for (pid, _) in alone.iter().zip(lists).filter(|(_, has)| *has != 0) {
        let cause = "the process may have changes of it to undo at its end (SEM_UNDO), of which nothing tells";
        blockers
            .push(Blocker::new(*pid, used[pid].as_str(), cause).hint("dump it when it holds no semaphore that way"));
    }
    Ok(())
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
