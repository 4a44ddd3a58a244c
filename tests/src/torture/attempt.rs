//! One dump or restore that is disturbed, and everything that must be true afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::case::Route;
use crate::descendants::{PATIENCE, kill_all, reap_all};
use crate::engine::Engine;
use crate::layout::Layout;
use crate::subject::Subject;
use crate::traces::{Before, Outside};
use crate::trial::{Running, accepted};
use crate::verdict::{Outcome, Stop, failed};

/// What became of the disturbed engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    Failed,
    /// It could not say.
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Dump,
    /// With `--leave-running`.
    Leave,
    Restore,
}

impl Action {
    pub const ALL: [Action; 3] = [Action::Dump, Action::Leave, Action::Restore];

    pub fn name(self) -> &'static str {
        match self {
            Action::Dump => "dump",
            Action::Leave => "leave",
            Action::Restore => "restore",
        }
    }

    /// What the command has to be asked for.
    pub fn verb(self) -> &'static str {
        if self == Action::Restore { "restore" } else { "dump" }
    }

    pub fn find(name: &str) -> Outcome<Action> {
        Action::ALL.into_iter().find(|a| a.name() == name).ok_or_else(|| failed(format!("no action {name}")))
    }
}

/// Where attempts are made.
pub struct Scene<'a> {
    pub layout: &'a Layout,
    pub subject: &'a Subject,
    pub action: Action,
    pub folder: PathBuf,
}

/// The disturbed call: target, images directory, the options that the call needs.
pub type Disturb<'a> = dyn Fn(&Running, &Path, &[String]) -> Outcome<Ending> + 'a;

impl Scene<'_> {
    pub fn engine(&self) -> Engine<'_> {
        Engine { layout: self.layout, route: Route::Command, patience: Duration::from_secs(30), terminal: false }
    }

    /// The attempt of this number; nothing of it stays.
    pub fn attempt(&self, number: u64, disturb: &Disturb) -> Outcome {
        let stem = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = self.folder.with_file_name(format!("{stem}-{number}"));
        let outcome = match self.action {
            Action::Restore => self.restore(&folder, disturb),
            _ => self.dump(&folder, disturb),
        };
        kill_all();
        if outcome.is_ok() || std::env::var_os("CRIU_TEST_KEEP").is_none() {
            for extension in ["", "images-1", "images-2"] {
                let _ = fs::remove_dir_all(folder.with_extension(extension));
            }
        }
        outcome
    }

    fn start(&self, folder: &Path) -> Outcome<Running<'_>> {
        let running = Running::start(self.subject, self.layout, folder)?;
        running.await_ready()?;
        Ok(running)
    }

    fn dump(&self, folder: &Path, disturb: &Disturb) -> Outcome {
        let running = self.start(folder)?;
        let images = running.images(1)?;
        let before = Before::look(&running);
        let mut rest = vec!["-t".into(), running.pid.to_string()];
        rest.extend(self.subject.dump_options.clone());
        if self.action == Action::Leave {
            rest.push("--leave-running".into());
        }
        let ending = disturb(&running, &images, &rest)?;
        let committed = match ending {
            Ending::Killed => before.gone_or_again(&running)?,
            _ => ending == Ending::Succeeded && self.action == Action::Dump,
        };
        let complete = images.join("inventory.img").exists();
        match (ending, complete) {
            (Ending::Succeeded, false) => return Err(failed("the dump succeeded without an inventory.img")),
            (Ending::Failed, true) => return Err(failed("the dump failed, and there is an inventory.img")),
            _ => {}
        }
        if committed {
            if !complete {
                return Err(failed("the target is dead, and there is no inventory.img"));
            }
            // What is not dead yet was to die: the images are what counts.
            kill_all();
            running.forget_result();
            accepted("restore of the completed dump", &self.engine().restore(&images, &self.subject.restore_options)?)?;
            return running.check();
        }
        before.again(&running)?;
        self.round(&running, 2).map_err(|s| after("second try", s))?;
        running.check()
    }

    /// Dumped and restored by an engine that nobody disturbs.
    fn round(&self, running: &Running, number: u32) -> Outcome {
        let images = running.images(number)?;
        accepted("dump", &self.engine().dump(running.pid, &images, &self.subject.dump_options)?)?;
        reap_all(PATIENCE)?;
        running.forget_result();
        accepted("restore", &self.engine().restore(&images, &self.subject.restore_options)?)
    }

    fn restore(&self, folder: &Path, disturb: &Disturb) -> Outcome {
        let running = self.start(folder)?;
        let images = running.images(1)?;
        let before = Before::look(&running);
        accepted("dump", &self.engine().dump(running.pid, &images, &self.subject.dump_options)?)?;
        reap_all(PATIENCE)?;
        running.forget_result();
        let outside = Outside::look(&running.folder);
        let rest = [vec!["-d".into()], self.subject.restore_options.clone()].concat();
        let ending = disturb(&running, &images, &rest)?;
        if lives(&running, &before, ending)? {
            return running.check().map_err(|s| after("it lives after all, but", s));
        }
        outside.unchanged(&running.folder)?;
        accepted("second restore", &self.engine().restore(&images, &self.subject.restore_options)?)?;
        running.check()
    }
}

/// After a restore either all of it is there, or, very soon, nothing.
fn lives(running: &Running, before: &Before, ending: Ending) -> Outcome<bool> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = reap_all(Duration::ZERO);
        match (&left, ending) {
            (Ok(()), Ending::Succeeded) => return Err(failed("the restore succeeded, and nothing is there")),
            (Ok(()), _) => return Ok(false),
            _ => {}
        }
        let missing = if ending == Ending::Failed { Vec::new() } else { before.missing(running) };
        if ending != Ending::Failed && missing.is_empty() {
            return Ok(true);
        }
        if Instant::now() > end {
            let what = format!("the restore {ending:?}: {}", missing[..missing.len().min(6)].join("; "));
            left.map_err(|s| after(&what, s))?;
        }
        sleep(Duration::from_millis(2));
    }
}

pub fn after(place: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Failed(text) => Stop::Failed(format!("{place}: {text}")),
        skipped => skipped,
    }
}
