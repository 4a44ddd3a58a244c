//! Tasks of the target that do not keep still, or that somebody else kills or stops, under the dump.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::attempt::{Action, Scene, after};
use super::{Harm, Random};
use crate::descendants::{self, PATIENCE, below, kill_all, reap_all, signal, try_wait, wait_for};
use crate::layout::Layout;
use crate::subject::{self, Subject};
use crate::traces::{Outside, untraced};
use crate::trial::{Running, accepted};
use crate::verdict::{Outcome, failed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrest {
    Forks,
    Execs,
    Threads,
    Exits,
    /// One task is killed.
    Killed,
    /// One task is stopped.
    Stopped,
}

/// Of a dump that its target's unrest may spoil, some try soon gets through.
const TRIES: u32 = 5;

impl Unrest {
    pub const ALL: [Unrest; 6] =
        [Unrest::Forks, Unrest::Execs, Unrest::Threads, Unrest::Exits, Unrest::Killed, Unrest::Stopped];

    pub fn name(self) -> &'static str {
        match self {
            Unrest::Forks => "forks",
            Unrest::Execs => "execs",
            Unrest::Threads => "threads",
            Unrest::Exits => "exits",
            Unrest::Killed => "killed",
            Unrest::Stopped => "stopped",
        }
    }

    /// The variant of the program.
    pub fn subject(self) -> String {
        let variant = if matches!(self, Unrest::Killed | Unrest::Stopped) { "still" } else { self.name() };
        format!("unrest.{variant}")
    }
}

/// The program of these tests, with its variants.
pub fn subjects(layout: &Layout) -> io::Result<Vec<Subject>> {
    subject::read(&layout.root.join("tests/tools/unrest.c"))
}

pub fn run(unrest: Unrest, scene: &Scene, count: u64, seed: u64, made: &mut u64) -> Outcome {
    let mut random = Random::new(seed);
    let mut harm = Harm::default();
    let stem = scene.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for n in 0..count {
        let folder = scene.folder.with_file_name(format!("{stem}-{n}"));
        let moment = Duration::from_micros(random.below(15_000));
        let outcome = one(unrest, scene, &folder, moment);
        kill_all();
        *made += 1;
        harm.add(outcome.map_err(|s| after(&format!("{} after {moment:?}", unrest.name()), s)))?;
    }
    harm.outcome()
}

fn one(unrest: Unrest, scene: &Scene, folder: &Path, moment: Duration) -> Outcome {
    let running = Running::start(scene.subject, scene.layout, folder)?;
    running.await_ready()?;
    let end = Instant::now() + PATIENCE;
    // It gives itself its name.
    while spare(&running).is_none() && Instant::now() < end {
        sleep(Duration::from_millis(1));
    }
    let outside = Outside::look(&running.folder);
    let mut tries = 0;
    let images = loop {
        tries += 1;
        let images = running.images(tries)?;
        let disturbed = tries == 1 && matches!(unrest, Unrest::Killed | Unrest::Stopped);
        if dump(unrest, scene, &running, &images, disturbed.then_some(moment))? {
            break images;
        }
        if images.join("inventory.img").exists() {
            return Err(failed("the dump failed, and there is an inventory.img"));
        }
        at_work(&running)?;
        outside.unchanged(&running.folder)?;
        if tries == TRIES {
            let log = fs::read_to_string(images.join("dump.log")).unwrap_or_default();
            let errors: Vec<&str> = log.lines().filter(|l| l.contains("Error")).take(3).collect();
            return Err(failed(format!("no dump of {TRIES} got through: {}", errors.join("; "))));
        }
    };
    if scene.action == Action::Leave {
        at_work(&running)?;
        outside.unchanged(&running.folder)?;
    } else {
        reap_all(PATIENCE).map_err(|s| after("after the dump", s))?;
        running.forget_result();
        accepted("restore", &scene.engine().restore(&images, &scene.subject.restore_options)?)?;
    }
    if unrest == Unrest::Stopped {
        resume_spare(&running, tries == 1 && scene.action == Action::Leave)?;
    }
    running.check()
}

/// Did it succeed? Something happens to the spare task after the moment.
fn dump(unrest: Unrest, scene: &Scene, running: &Running, images: &Path, moment: Option<Duration>) -> Outcome<bool> {
    let mut rest = vec!["-t".into(), running.pid.to_string()];
    if scene.action == Action::Leave {
        rest.push("--leave-running".into());
    }
    let engine = scene.engine();
    let child = Command::new(engine.program())
        .args(engine.arguments("dump", images, &rest))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(moment) = moment {
        sleep(moment);
        // After a dump that killed, there is none.
        if let Some(spare) = spare(running) {
            let _ = signal(spare, if unrest == Unrest::Killed { Signal::KILL } else { Signal::STOP });
        }
    }
    let status = wait_for(child.id() as i32, PATIENCE).map_err(|s| after("it hangs", s))?;
    match status.exit_status() {
        Some(code) => Ok(code == 0),
        None => Err(failed(format!("the engine ended by {}", descendants::describe(status)))),
    }
}

fn spare(running: &Running) -> Option<i32> {
    let named = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c == "spare\n");
    below(running.pid).into_iter().find(named)
}

/// The root lives, nothing of the tree is traced, and no process is there that is not of the tree.
fn at_work(running: &Running) -> Outcome {
    let end = Instant::now() + PATIENCE;
    loop {
        if descendants::ended(running.pid) {
            return Err(failed("the target is dead"));
        }
        let all = below(std::process::id() as i32);
        let tree = below(running.pid);
        let strangers: Vec<i32> = all.into_iter().filter(|p| *p != running.pid && !tree.contains(p)).collect();
        for stranger in &strangers {
            let _ = try_wait(*stranger);
        }
        let traced = untraced(&tree.iter().copied().chain([running.pid]).collect());
        if strangers.is_empty() && traced.is_ok() {
            return Ok(());
        }
        if Instant::now() > end {
            traced?;
            return Err(failed(format!("processes left behind: {strangers:?}")));
        }
        sleep(Duration::from_millis(2));
    }
}

/// A stop that came under the dump holds until the signal to continue.
fn resume_spare(running: &Running, stopped: bool) -> Outcome {
    let spare = spare(running).ok_or_else(|| failed("no spare task"))?;
    if stopped {
        await_state(spare, 'T')?;
    }
    signal(spare, Signal::CONT)?;
    await_state(spare, 'S')
}

fn await_state(pid: i32, wanted: char) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while descendants::state(pid) != Some(wanted) {
        if Instant::now() > end {
            return Err(failed(format!("pid {pid} is in state {:?}, not {wanted}", descendants::state(pid))));
        }
        sleep(Duration::from_millis(1));
    }
    Ok(())
}
