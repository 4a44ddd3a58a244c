//! Checkpoints made by CRIU 4.2, restored by this engine: the restored program says whether it holds what it held.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use criu_images::messages::{CoreEntry, PstreeEntry};
use criu_images::{ImageDir, Kind};
use rustix::process::Signal;

use crate::aged;
use crate::apart::{self, Job, Surroundings};
use crate::case::Route;
use crate::descendants::{self, PATIENCE, adopt_orphans, kill_all, reap_all, wait_for};
use crate::engine::Engine;
use crate::layout::Layout;
use crate::suite::wanted;
use crate::trial::accepted;
use crate::verdict::{Outcome, Stop, Summary, failed};

/// Folders whose kinds the engine restores so far, and the options they need.
const FOLDERS: &[(&str, &[&str])] = &[
    ("files", &[]),
    ("threads", &[]),
    ("tree", &[]),
    ("task", &[]),
    ("memory", &[]),
    ("unix", &[]),
    ("tty", &["--shell-job"]),
    ("watch", &[]),
    ("locks", &["--file-locks"]),
    ("inet", &["--tcp-established"]),
    ("sockets", &["--tcp-established"]),
];

/// Behind the name of a folder: its images as CRIU wrote them when parts of a task had images of their own.
const OLDER: &str = ".older";

/// Folders that are restored in that form as well.
const ALSO_OLDER: [&str; 8] = ["files", "task", "threads", "tree", "unix", "tty", "watch", "inet"];

/// xsave component bits and the CPU flag that each needs.
const COMPONENTS: [(u32, &str); 8] = [
    (2, "avx"),
    (5, "avx512f"),
    (6, "avx512f"),
    (7, "avx512f"),
    (9, "pku"),
    (11, "user_shstk"),
    (17, "amx_tile"),
    (18, "amx_tile"),
];

/// One at a time: they share names under /tmp.
pub fn run(layout: &Layout, filters: &[String]) -> Summary {
    let folders = FOLDERS.iter().map(|f| f.0.to_string()).chain(ALSO_OLDER.map(|name| format!("{name}{OLDER}")));
    let jobs: Vec<Job> = folders
        .flat_map(|f| Route::ALL.iter().map(move |r| format!("golden/{f}/{}", r.name())))
        .filter(|name| wanted(name, filters))
        .map(|name| Job { name, surroundings: Surroundings::Namespaces })
        .collect();
    apart::run(&jobs, layout, 1)
}

/// `files/api`, in fresh pid and network namespaces.
pub fn restore(name: &str, layout: &Layout, folder: &Path) -> Outcome {
    let (which, route) = name.split_once('/').ok_or_else(|| failed(format!("no golden test {name}")))?;
    let route = if route == "api" { Route::Api } else { Route::Command };
    adopt_orphans()?;
    let outcome = steps(which, route, layout, folder);
    kill_all();
    outcome
}

fn steps(which: &str, route: Route, layout: &Layout, folder: &Path) -> Outcome {
    let (which, is_older) = which.strip_suffix(OLDER).map_or((which, false), |which| (which, true));
    let golden = layout.root.join("tests/golden");
    let images = folder.join("images");
    fs::create_dir_all(&images).map_err(failed)?;
    for entry in fs::read_dir(golden.join(which)).map_err(failed)?.flatten().filter(|e| e.path().is_file()) {
        fs::copy(entry.path(), images.join(entry.file_name())).map_err(failed)?;
    }
    if is_older {
        aged::parts_apart(&images)?;
    }
    let ready = Command::new("sh").arg(golden.join("setup.sh")).status().map_err(failed)?;
    if !ready.success() {
        return Err(failed(format!("setup.sh: {ready}")));
    }
    let result = format!("/tmp/golden-{which}.res");
    let _ = fs::remove_file(&result);
    let (tree, lacking) = needs(&images)?;
    let root = tree[0];
    let options = FOLDERS.iter().find(|f| f.0 == which).map_or(&[][..], |f| f.1);
    let options: Vec<String> = options.iter().map(|o| o.to_string()).collect();
    let answer =
        Engine { layout, route, patience: Duration::from_secs(60), terminal: false }.restore(&images, &options)?;
    if !lacking.is_empty() {
        return refused_for_cpu(&lacking, answer.ok, &format!("{}\n{}", answer.output, answer.log));
    }
    accepted("restore", &answer)?;
    descendants::signal(root, Signal::USR1)?;
    let said = await_file(&result)?;
    if said.trim() != "OK" {
        return Err(failed(format!("it says: {said}")));
    }
    wait_for(root, PATIENCE)?;
    let _ = fs::remove_file(&result);
    // One that only pauses outlives the others.
    for pid in tree.into_iter().filter(|&pid| !descendants::ended(pid)) {
        descendants::signal(pid, Signal::KILL)?;
    }
    reap_all(PATIENCE)
}

/// The refusal is right, and says so; there is nothing more to learn on this machine.
fn refused_for_cpu(lacking: &[&str], ok: bool, text: &str) -> Outcome {
    if ok {
        return Err(failed(format!("restored on a CPU that lacks {}", lacking.join(", "))));
    }
    let named = text.lines().any(|l| l.contains("Error") && l.contains("processor lacks"));
    if !named {
        return Err(failed(format!("the CPU lacks {}, but the refusal does not say so: {text}", lacking.join(", "))));
    }
    reap_all(PATIENCE)?;
    Err(Stop::Skipped(format!("refused by name, as it must be: this CPU lacks {}", lacking.join(", "))))
}

/// The pids, the root's first, and the CPU flags that the saved registers need and this machine lacks.
fn needs(images: &Path) -> Outcome<(Vec<i32>, Vec<&'static str>)> {
    let dir = ImageDir::new(OwnedFd::from(fs::File::open(images).map_err(failed)?));
    let tree: Vec<PstreeEntry> = dir.read_all(Kind::Pstree, 0).map_err(failed)?;
    let pids = tree.iter().map(|t| i32::try_from(t.pid)).collect::<Result<Vec<i32>, _>>().map_err(failed)?;
    if pids.is_empty() {
        return Err(failed("an empty pstree.img"));
    }
    let cpu = fs::read_to_string("/proc/cpuinfo").map_err(failed)?;
    let flags: Vec<&str> =
        cpu.lines().find(|l| l.starts_with("flags")).unwrap_or_default().split_whitespace().collect();
    let mut used = 0;
    for task in &tree {
        for tid in &task.threads {
            let Ok(core) = dir.read_one::<CoreEntry>(Kind::Core, u64::from(*tid)) else { continue };
            let xsave = core.thread_info.and_then(|t| t.fpregs.xsave);
            used |= xsave.map_or(0, |x| x.xstate_bv);
        }
    }
    let mut lacking: Vec<&str> =
        COMPONENTS.iter().filter(|c| used >> c.0 & 1 == 1 && !flags.contains(&c.1)).map(|c| c.1).collect();
    lacking.dedup();
    Ok((pids, lacking))
}

fn await_file(path: &str) -> Outcome<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return Ok(text),
            _ if Instant::now() > end => return Err(failed(format!("no {path} within 15 s"))),
            _ => sleep(Duration::from_millis(5)),
        }
    }
}
