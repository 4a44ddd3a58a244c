//! Commit and release: the images are complete; the tasks are killed, or go on.

use std::time::Instant;

use criu_compel::{Resume, SeizedTask};
use criu_images::Kind;
use rustix::process::{Signal, pidfd_send_signal};

use super::DumpOutcome;
use super::apart::Shelter;
use crate::error::{Error, Phase, Result};
use crate::file::DumpFiles;
use crate::options::Options;
use crate::stats::DumpStats;

/// The living tasks, the root first; dropping it lets them run on.
#[derive(Debug)]
pub(super) struct Stopped {
    pub seized: Vec<SeizedTask>,
    pub since: Instant,
}

/// A checkpoint that is complete.
#[derive(Debug)]
pub(super) struct Committed {
    pub files: DumpFiles,
    /// None, when they run on already.
    pub stopped: Stopped,
    pub tasks: usize,
    pub stats: DumpStats,
}

fn failed(e: criu_compel::Error) -> Error {
    Error::new(Phase::Release, "task", e.to_string()).pid(e.tid)
}

/// The checkpoint is complete, and what is done with connections is done as far as it goes.
fn log_failure(result: Result<()>, consequence: &str) {
    if let Err(e) = result {
        log::error!("{e}: {consequence}");
    }
}

impl Stopped {
    /// Lets all go; gives the microseconds since the first was stopped.
    ///
    /// # Errors
    /// The first task that could not be set going; all others were.
    pub fn release(&mut self, resume: Resume) -> Result<u32> {
        let mut first = Ok(());
        for task in self.seized.drain(..) {
            first = first.and(task.release(resume).map_err(failed));
        }
        first.map(|()| u32::try_from(self.since.elapsed().as_micros()).unwrap_or(u32::MAX))
    }

    /// Their connections vanish without a word, as soon as no task can run any more: an engine that dies before they do
    /// is noticed by their peers.
    fn kill(&mut self, files: &mut DumpFiles) -> Result<u32> {
        // All at once: no task sees another die.
        for task in &self.seized {
            // A task that is dead already does not matter here; `kill` reports what else is wrong.
            let _ = pidfd_send_signal(task.pidfd(), Signal::KILL);
        }
        log_failure(files.released(true), "peers may hear of the tasks' end before the restore");
        let mut first = Ok(());
        for task in self.seized.drain(..) {
            first = first.and(task.kill().map_err(failed));
        }
        first.map(|()| u32::try_from(self.since.elapsed().as_micros()).unwrap_or(u32::MAX))
    }
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
    pub fn release(self, options: &Options) -> Result<DumpOutcome> {
        let Committed { mut files, mut stopped, tasks, mut stats } = self;
        files.commit();
        if stopped.seized.is_empty() {
            return Ok(DumpOutcome { tasks, stats });
        }
        let resume = match (options.msg.leave_stopped(), options.msg.leave_running()) {
            (true, _) => Resume::Stopped,
            (false, true) => Resume::AsBefore,
            (false, false) => {
                let shelter = files.are_delicate().then(Shelter::enter);
                let killed = stopped.kill(&mut files);
                // It is done, whoever is left to hear of it.
                let _ = shelter.map(Shelter::leave);
                stats.frozen_us = killed?;
                return Ok(DumpOutcome { tasks, stats });
            }
        };
        // Connections of tasks that go on have to be free before.
        log_failure(files.released(false), "its end ends the network lock");
        drop(files);
        stats.frozen_us = stopped.release(resume)?;
        Ok(DumpOutcome { tasks, stats })
    }
}
