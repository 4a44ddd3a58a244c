//! Images as older versions of CRIU wrote them.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use criu_images::messages::{CoreEntry, PstreeEntry};
use criu_images::{ImageDir, Kind};

use crate::subject::Subject;
use crate::verdict::{Outcome, failed};

/// What a subject's fact `Images` asks for is done to the images of its dump.
pub fn age(subject: &Subject, images: &Path) -> Outcome {
    match subject.images.as_deref() {
        None => Ok(()),
        Some("per-task-filters") => per_task_filters(images),
        Some(other) => Err(failed(format!("no images are known as `{other}`"))),
    }
}

/// Before there were seccomp filters per thread, mode and chain stood once for the task.
fn per_task_filters(images: &Path) -> Outcome {
    let dir = ImageDir::new(OwnedFd::from(fs::File::open(images).map_err(failed)?));
    let tree: Vec<PstreeEntry> = dir.read_all(Kind::Pstree, 0).map_err(failed)?;
    let mut moved = 0;
    for task in tree {
        for tid in task.threads {
            let mut core: CoreEntry = dir.read_one(Kind::Core, tid.into()).map_err(failed)?;
            let thread = core.thread_core.get_or_insert_default();
            let (mode, filter) = (thread.seccomp_mode.take(), thread.seccomp_filter.take());
            if tid == task.pid {
                let tc = core.tc.as_mut().ok_or_else(|| failed("a task without a task_core_entry"))?;
                (tc.old_seccomp_mode, tc.old_seccomp_filter) = (mode, filter);
                moved += usize::from(filter.is_some());
            }
            dir.write_one(Kind::Core, tid.into(), &core).map_err(failed)?;
        }
    }
    if moved == 0 { Err(failed("no task has seccomp filters")) } else { Ok(()) }
}
