//! The engine is killed at random moments of a dump and of a restore: no target is harmed and nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::apart::{self, Job, Surroundings};
use crate::case::Route;
use crate::descendants::{self, adopt_orphans, below, kill_all, reap_all, signal, try_wait, wait_for};
use crate::engine::Engine;
use crate::layout::Layout;
use crate::subject::Subject;
use crate::suite::{self, wanted};
use crate::trial::{Running, accepted};
use crate::verdict::{Outcome, Stop, Summary, failed};

/// Subjects with much to disturb; ten moments each.
const SUBJECTS: [&str; 7] = [
    "tree_sessions",
    "threads.many",
    "seccomp.chains",
    "seccomp.forbid",
    "memory_cow",
    "pipe.shared",
    "inet_connected.many",
];
const MOMENTS: u64 = 10;

pub fn run(layout: &Layout, filters: &[String]) -> Summary {
    let jobs: Vec<Job> = ["dump", "restore"]
        .iter()
        .flat_map(|action| SUBJECTS.iter().map(move |s| format!("kill/{action}/{s}")))
        .filter(|name| wanted(name, filters))
        .map(|name| Job { name, surroundings: Surroundings::Plain })
        .collect();
    apart::run(&jobs, layout, 2)
}

/// `dump/tree_sessions`
pub fn one(name: &str, layout: &Layout, folder: &Path) -> Outcome {
    let (action, subject) = name.split_once('/').ok_or_else(|| failed(format!("no kill test {name}")))?;
    let subjects = suite::subjects(layout).map_err(failed)?;
    let subject = subjects.iter().find(|s| s.name == subject).ok_or_else(|| failed(format!("no subject {subject}")))?;
    adopt_orphans()?;
    let mut random = u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let typical = typical(action, subject, layout, folder)?;
    for n in 0..MOMENTS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Spread over the whole operation, and at random within each part.
        let part = typical / MOMENTS as u32;
        let moment = part * n as u32 + part.mul_f64((random % 1000) as f64 / 1000.0);
        let attempt = Attempt {
            subject,
            layout,
            folder: folder.with_file_name(format!("{}-{n}", folder.file_name().unwrap_or_default().to_string_lossy())),
            moment,
        };
        let outcome = if action == "dump" { attempt.dump() } else { attempt.restore() };
        kill_all();
        outcome.map_err(|stop| match stop {
            Stop::Failed(text) => failed(format!("killed after {moment:?} of {typical:?}: {text}")),
            skipped => skipped,
        })?;
    }
    Ok(())
}

/// How long the operation takes when nobody disturbs it.
fn typical(action: &str, subject: &Subject, layout: &Layout, folder: &Path) -> Outcome<Duration> {
    let engine = Engine { layout, route: Route::Command, patience: Duration::from_secs(60), terminal: false };
    let running = Running::start(
        subject,
        layout,
        &folder.with_file_name(format!("{}-t", folder.file_name().unwrap_or_default().to_string_lossy())),
    )?;
    running.await_ready()?;
    let images = running.images(1)?;
    let dump = engine.dump(running.pid, &images, &subject.dump_options)?;
    accepted("dump", &dump)?;
    reap_all(Duration::from_secs(5))?;
    let restore = engine.restore(&images, &subject.restore_options)?;
    accepted("restore", &restore)?;
    running.check()?;
    Ok(if action == "dump" { dump.took } else { restore.took })
}

struct Attempt<'a> {
    subject: &'a Subject,
    layout: &'a Layout,
    folder: PathBuf,
    moment: Duration,
}

impl Attempt<'_> {
    fn engine(&self) -> Engine<'_> {
        Engine { layout: self.layout, route: Route::Command, patience: Duration::from_secs(60), terminal: false }
    }

    /// Starts the command, and kills it after the moment; Some(pid) of it, and whether it had ended before.
    fn start_and_kill(&self, action: &str, images: &Path, rest: &[String]) -> Outcome {
        let engine = self.engine();
        let child = Command::new(engine.program())
            .args(engine.arguments(action, images, rest))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        sleep(self.moment);
        let pid = child.id() as i32;
        if try_wait(pid).is_none() {
            signal(pid, Signal::KILL)?;
            wait_for(pid, Duration::from_secs(5))?;
        }
        Ok(())
    }

    fn dump(&self) -> Outcome {
        let running = Running::start(self.subject, self.layout, &self.folder)?;
        running.await_ready()?;
        let images = running.images(1)?;
        let outside = Outside::look(&running.folder);
        let tree: BTreeSet<i32> = below(std::process::id() as i32).into_iter().collect();
        let before = running.snapshot();
        let rest = [vec!["-t".into(), running.pid.to_string()], self.subject.dump_options.clone()].concat();
        self.start_and_kill("dump", &images, &rest)?;
        if descendants::ended(running.pid) || images.join("inventory.img").exists() {
            // The checkpoint was complete and the tree is being killed, or was: the images are what counts.
            return self.complete(&running, &images);
        }
        let end = Instant::now() + Duration::from_secs(3);
        loop {
            let now: BTreeSet<i32> = below(std::process::id() as i32).into_iter().collect();
            for orphan in now.difference(&tree) {
                // The engine's own processes end after it, and are this one's to collect.
                let _ = try_wait(*orphan);
            }
            let differences = before.differences(&running.snapshot(), &self.subject.ignore);
            if now == tree && differences.is_empty() {
                break;
            }
            if Instant::now() > end {
                let shown: Vec<&String> = differences.iter().take(8).collect();
                return Err(failed(format!("processes before {tree:?}, now {now:?}; what changed: {shown:#?}")));
            }
            sleep(Duration::from_millis(5));
        }
        untraced(&tree)?;
        outside.unchanged(&running.folder)?;
        running.check()
    }

    /// After the commit: whatever still lives is ended, and the images bring everything back.
    fn complete(&self, running: &Running, images: &Path) -> Outcome {
        kill_all();
        running.forget_result();
        accepted("restore of the completed dump", &self.engine().restore(images, &self.subject.restore_options)?)?;
        running.check()
    }

    fn restore(&self) -> Outcome {
        let running = Running::start(self.subject, self.layout, &self.folder)?;
        running.await_ready()?;
        let images = running.images(1)?;
        accepted("dump", &self.engine().dump(running.pid, &images, &self.subject.dump_options)?)?;
        reap_all(Duration::from_secs(5))?;
        let outside = Outside::look(&running.folder);
        let rest = [vec!["-d".into()], self.subject.restore_options.clone()].concat();
        self.start_and_kill("restore", &images, &rest)?;
        // Either all of it is there, or, very soon, nothing.
        sleep(Duration::from_millis(300));
        if reap_all(Duration::from_millis(1)).is_err() {
            return running.check().map_err(|stop| match stop {
                Stop::Failed(text) => failed(format!("it outlived the engine, but: {text}")),
                skipped => skipped,
            });
        }
        outside.unchanged(&running.folder)?;
        running.forget_result();
        accepted("restore afterwards", &self.engine().restore(&images, &self.subject.restore_options)?)?;
        running.check()
    }
}

/// No task is stopped, and none has a tracer.
fn untraced(tree: &BTreeSet<i32>) -> Outcome {
    for pid in tree {
        for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let bad = |l: &&str| {
                l.starts_with("State:\tT")
                    || l.starts_with("State:\tt")
                    || (l.starts_with("TracerPid:") && *l != "TracerPid:\t0")
            };
            if let Some(line) = status.lines().find(bad) {
                return Err(failed(format!("{}: {line}", entry.path().display())));
            }
        }
    }
    Ok(())
}

/// What an engine could leave on the machine: files beside the images, shared memory, mounts.
struct Outside {
    names: BTreeSet<String>,
    mounts: String,
}

impl Outside {
    fn look(folder: &Path) -> Outside {
        let mut names = BTreeSet::new();
        for dir in [folder, Path::new("/dev/shm"), Path::new("/run/criu")] {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                names.insert(entry.path().display().to_string());
            }
        }
        Outside { names, mounts: fs::read_to_string("/proc/self/mountinfo").unwrap_or_default() }
    }

    fn unchanged(&self, folder: &Path) -> Outcome {
        let now = Outside::look(folder);
        let new: Vec<&String> = now.names.difference(&self.names).collect();
        if !new.is_empty() {
            return Err(failed(format!("files left behind: {new:?}")));
        }
        if now.mounts != self.mounts {
            return Err(failed("mounts left behind"));
        }
        Ok(())
    }
}
