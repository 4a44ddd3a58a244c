//! Older checkpoints: what CRIU has in the core and mm images today, it wrote to images of their own before. Those are looked for
//! where an entry lacks the part, so that nothing of a task is lost.

use criu_images::messages::{
    CredsEntry, ItimerEntry, MmEntry, PosixTimerEntry, RlimitEntry, SignalQueueEntry, TaskCoreEntry, TaskRlimitsEntry,
    TaskTimersEntry, ThreadCoreEntry,
};
use criu_images::{ImageDir, Kind};

use super::load::{corrupt, image};
use crate::error::Result;

/// What `core-PID.img` of a living task lacks.
pub(super) fn complete_task(images: &ImageDir, pid: u32, tc: &mut TaskCoreEntry) -> Result<()> {
    let id = u64::from(pid);
    if tc.sigactions.is_empty() {
        tc.sigactions = images.read_all(Kind::Sigact, id).map_err(image)?;
    }
    if tc.rlimits.is_none() {
        let rlimits: Vec<RlimitEntry> = images.read_all(Kind::Rlimit, id).map_err(image)?;
        tc.rlimits = (!rlimits.is_empty()).then_some(TaskRlimitsEntry { rlimits });
    }
    if tc.timers.is_none() {
        tc.timers = timers(images, id)?;
    }
    if tc.signals_s.is_none() {
        tc.signals_s = signals(images, Kind::Signal, id)?;
    }
    Ok(())
}

/// What `core-TID.img` lacks of a thread of `pid`.
pub(super) fn complete_thread(images: &ImageDir, pid: u32, tid: u32, core: &mut ThreadCoreEntry) -> Result<()> {
    if core.signals_p.is_none() {
        core.signals_p = signals(images, Kind::Psignal, tid.into())?;
    }
    if core.creds.is_none() {
        let creds: Vec<CredsEntry> = images.read_all(Kind::Creds, pid.into()).map_err(image)?;
        core.creds = creds.into_iter().next();
    }
    Ok(())
}

/// The areas that `mm-PID.img` lacks.
pub(super) fn complete_memory(images: &ImageDir, pid: u64, mm: &mut MmEntry) -> Result<()> {
    if mm.vmas.is_empty() {
        mm.vmas = images.read_all(Kind::Vmas, pid).map_err(image)?;
    }
    Ok(())
}

fn timers(images: &ImageDir, id: u64) -> Result<Option<TaskTimersEntry>> {
    let interval: Vec<ItimerEntry> = images.read_all(Kind::Itimers, id).map_err(image)?;
    let posix: Vec<PosixTimerEntry> = images.read_all(Kind::PosixTimers, id).map_err(image)?;
    let [real, virt, prof] = match <[ItimerEntry; 3]>::try_from(interval) {
        Ok(three) => three,
        Err(none) if none.is_empty() && posix.is_empty() => return Ok(None),
        Err(none) if none.is_empty() => [ItimerEntry::default(); 3],
        Err(some) => {
            return Err(corrupt(Kind::Itimers.file_name(id), format!("{} interval timers, not 3", some.len())));
        }
    };
    Ok(Some(TaskTimersEntry { real, virt, prof, posix }))
}

fn signals(images: &ImageDir, kind: Kind, id: u64) -> Result<Option<SignalQueueEntry>> {
    let queues: Vec<SignalQueueEntry> = images.read_all(kind, id).map_err(image)?;
    let signals: Vec<_> = queues.into_iter().flat_map(|queue| queue.signals).collect();
    Ok((!signals.is_empty()).then_some(SignalQueueEntry { signals }))
}
