//! Signals that somebody outside sends to a process while its images are written. They are put into its image: it has them no more
//! than that when it is killed.

use criu_images::messages::CoreEntry;
use criu_images::{ImageDir, Kind};

use super::infect::InformedTask;
use super::save::image;
use crate::error::Result;
use crate::task::signals;

/// Looks once more at what waits for each process, which stands still, and whose images are there.
pub(super) fn keep(tasks: &[InformedTask], images: &ImageDir) -> Result<()> {
    for task in tasks {
        let Some(living) = &task.task.living else { continue };
        // One that was killed meanwhile has none.
        let now = living.seized.threads().first().and_then(|t| signals::queue(t.tid, true).ok());
        let late = signals::sent_since(&living.pending, now.unwrap_or_default());
        if late.is_empty() {
            continue;
        }
        let pid = task.task.item.pid as u64;
        let mut core: CoreEntry = images.read_one(Kind::Core, pid).map_err(image)?;
        if let Some(tc) = &mut core.tc {
            tc.signals_s.get_or_insert_default().signals.extend(late);
        }
        images.write_one(Kind::Core, pid, &core).map_err(image)?;
    }
    Ok(())
}
