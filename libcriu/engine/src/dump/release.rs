//! Commit and release: the images are complete; the tasks are killed, or go on.

use std::time::Instant;

use criu_compel::{Resume, SeizedTask};
use criu_images::Kind;
use rustix::process::{Signal, pidfd_send_signal};

use super::DumpOutcome;
use crate::error::{Error, Phase, Result};
use crate::file::DumpFiles;
use crate::options::Options;
use crate::stats::DumpStats;

/// A checkpoint that is complete, its tasks still stopped.
#[derive(Debug)]
pub(super) struct Committed {
    pub files: DumpFiles,
    /// Living tasks, the root first.
    pub seized: Vec<SeizedTask>,
    pub since: Instant,
    pub tasks: usize,
    pub stats: DumpStats,
}

impl Committed {
    /// The dump is not wanted after all: the directory is no checkpoint any more, and the tasks go on.
    pub fn withdraw(self, options: &Options) {
        let name = Kind::Inventory.file_name(0);
        if let Err(e) = rustix::fs::unlinkat(&options.images_dir, &name, rustix::fs::AtFlags::empty()) {
            log::warn!("{name} of a dump that failed could not be removed: {e}");
        }
    }

    /// Does with the tasks what the options say. From here on nothing can go back.
    ///
    /// # Errors
    /// A task that could not be killed or set going; all others were.
    pub fn release(mut self, options: &Options) -> Result<DumpOutcome> {
        self.files.commit();
        drop(self.files);
        let failed = |e: criu_compel::Error| Error::new(Phase::Release, "task", e.to_string()).pid(e.tid);
        let mut first = Ok(());
        let resume = match (options.msg.leave_stopped(), options.msg.leave_running()) {
            (true, _) => Some(Resume::Stopped),
            (false, true) => Some(Resume::AsBefore),
            (false, false) => None,
        };
        if resume.is_none() {
            // All at once: no task sees another die.
            for task in &self.seized {
                // A task that is dead already does not matter here; `kill` reports what else is wrong.
                let _ = pidfd_send_signal(task.pidfd(), Signal::KILL);
            }
        }
        for task in self.seized {
            let done = match resume {
                Some(resume) => task.release(resume),
                None => task.kill(),
            };
            if first.is_ok() {
                first = done.map_err(failed);
            }
        }
        let frozen_us = u32::try_from(self.since.elapsed().as_micros()).unwrap_or(u32::MAX);
        first.map(|()| DumpOutcome { tasks: self.tasks, stats: DumpStats { frozen_us, ..self.stats } })
    }
}
