//! Running one test in a process of its own, and reading its verdict.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::layout::Layout;
use crate::suite::show;
use crate::verdict::{Outcome, Stop, Summary, Verdict, decode, failed};

/// Around the process of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    Plain,
    /// It leads a session on a terminal of its own.
    Terminal,
    /// /dev/pts is its own.
    OwnTerminals,
    /// It is alone in a network namespace.
    OwnNetwork,
    /// It is the first process of a pid namespace, with a /proc and /dev/pts to match, and alone in a network namespace:
    /// every other pid, every port and every number of a pseudo terminal is free.
    Namespaces,
    /// As `Namespaces`, and nobody else's System V objects or shared memory are to be seen either.
    Alone,
    /// As `Alone`, and only the folder of the run can be written to.
    Sealed,
    /// As `Alone`, in a user namespace too, in which it is root: harness, subject and engine have no right outside of it.
    Users,
}

/// One test to run apart, by name.
#[derive(Clone, Debug)]
pub struct Job {
    pub name: String,
    pub surroundings: Surroundings,
}

/// Runs the jobs, `at_once` at a time.
pub fn run(jobs: &[Job], layout: &Layout, at_once: usize) -> Summary {
    let next = AtomicUsize::new(0);
    let summary = Mutex::new(Summary::default());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = one(job, layout);
                    show(&verdict);
                    if let Ok(mut sum) = summary.lock() {
                        sum.add(verdict);
                    }
                }
            });
        }
    });
    let _ = fs::remove_dir(&layout.room);
    summary.into_inner().unwrap_or_default()
}

/// With `CRIU_TEST_KEEP` set, the files of failed tests stay.
fn one(job: &Job, layout: &Layout) -> Verdict {
    // No dot: what belongs to it stands beside it with another extension.
    let folder = layout.room.join(job.name.replace(['/', '.'], "-"));
    let outcome = in_process(job, layout, &folder);
    let keep = std::env::var_os("CRIU_TEST_KEEP").is_some() && matches!(outcome, Err(Stop::Failed(_)));
    if !keep {
        clear(&folder);
    }
    Verdict { name: job.name.clone(), outcome }
}

/// Removes a test's folder and everything that stands beside it under the same name.
fn clear(folder: &Path) {
    let stem = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in folder.parent().map(fs::read_dir).into_iter().flatten().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == stem || name.strip_prefix(&stem).is_some_and(|rest| rest.starts_with(['.', '-'])) {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

/// Before [`OWN_TERMINALS`]: a /dev/shm of its own.
const OWN_MEMORY: &str = "mount -t tmpfs -o size=1g shm /dev/shm && ";

/// Mounts a /dev/pts of its own and becomes the program given, `$0` with its arguments.
const OWN_TERMINALS: &str = "mount -t devpts -o ptmxmode=666 devpts /dev/pts && exec \"$0\" \"$@\"";

/// Before these: everything is read-only but `room`.
fn seal(room: &Path) -> String {
    let room = room.display();
    format!("mount --bind {room} {room} && mount -o remount,bind,ro / && ")
}

fn in_process(job: &Job, layout: &Layout, folder: &Path) -> Outcome {
    let me = std::env::current_exe().map_err(failed)?;
    fs::create_dir_all(&layout.room).map_err(failed)?;
    let args = ["run-case".to_string(), job.name.clone(), folder.display().to_string()];
    let mut command = match job.surroundings {
        Surroundings::Plain => Command::new(&me),
        Surroundings::Terminal => {
            let mut script = Command::new("script");
            script.args(["-qec", &format!("{} {}", me.display(), args.join(" ")), "/dev/null"]);
            script
        }
        Surroundings::OwnTerminals => {
            let mut unshare = Command::new("unshare");
            unshare.args(["--mount", "sh", "-c", OWN_TERMINALS]).arg(&me);
            unshare
        }
        Surroundings::OwnNetwork => {
            let mut unshare = Command::new("unshare");
            unshare.args(["--net", "sh", "-c", "ip link set lo up; exec \"$0\" \"$@\""]).arg(&me);
            unshare
        }
        Surroundings::Namespaces | Surroundings::Alone | Surroundings::Sealed | Surroundings::Users => {
            let alone = job.surroundings != Surroundings::Namespaces;
            let seal = if job.surroundings == Surroundings::Sealed { seal(&layout.room) } else { String::new() };
            let mut unshare = Command::new("unshare");
            unshare
                .args((job.surroundings == Surroundings::Users).then_some("--map-root-user"))
                .args(["--pid", "--net", "--fork", "--mount-proc", "--kill-child"])
                .args(alone.then_some("--ipc"))
                .args(["sh", "-c"]);
            unshare
                .arg(format!("ip link set lo up; {seal}{}{OWN_TERMINALS}", if alone { OWN_MEMORY } else { "" }))
                .arg(&me);
            unshare
        }
    };
    if job.surroundings != Surroundings::Terminal {
        command.args(&args);
    }
    let output = command.stdin(Stdio::null()).output().map_err(|e| failed(format!("{command:?}: {e}")))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    decode(&text.replace('\r', ""), &output.status.to_string())
}
