//! Signals that somebody outside sends to a process or a thread while its images are written. They are put into its image: it has them no
//! more than that when it is killed.

use criu_images::messages::{CoreEntry, SiginfoEntry, SignalQueueEntry};
use criu_images::{ImageDir, Kind};

use super::infect::InformedTask;
use super::save::image;
use crate::error::Result;
use crate::task::signals;

/// Looks once more at what waits for each process and its threads, which stand still, and whose images are there.
pub(super) fn keep(tasks: &[InformedTask], images: &ImageDir) -> Result<()> {
    for task in tasks {
        let Some(living) = &task.task.living else { continue };
        let Some(first) = living.seized.threads().first() else { continue };
        let late = late(first.tid, true, &living.pending);
        if !late.is_empty() {
            add(images, task.task.item.pid, late, true)?;
        }
        for thread in &living.threads {
            let late = self::late(thread.tid, false, &thread.pending);
            if !late.is_empty() {
                add(images, thread.tid, late, false)?;
            }
        }
    }
    Ok(())
}

/// One that was killed meanwhile has none.
fn late(tid: i32, shared: bool, before: &SignalQueueEntry) -> Vec<SiginfoEntry> {
    signals::sent_since(before, signals::queue(tid, shared).unwrap_or_default())
}

fn add(images: &ImageDir, id: i32, late: Vec<SiginfoEntry>, shared: bool) -> Result<()> {
    let mut core: CoreEntry = images.read_one(Kind::Core, id as u64).map_err(image)?;
    let queue = if shared {
        core.tc.as_mut().map(|tc| tc.signals_s.get_or_insert_default())
    } else {
        core.thread_core.as_mut().map(|thread| thread.signals_p.get_or_insert_default())
    };
    if let Some(queue) = queue {
        queue.signals.extend(late);
    }
    images.write_one(Kind::Core, id as u64, &core).map_err(image)
}
