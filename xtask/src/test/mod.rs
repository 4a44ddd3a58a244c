//! `test`: everything, in order of cost, and a summary.

mod cargo;
mod go;
mod programs;
mod python;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criu_tests::layout::Layout;
use criu_tests::verdict::{Summary, Verdict, failed};
use criu_tests::{bad_input, build, descendants, golden, suite, torture, within};

use crate::workspace::Workspace;
use crate::{fuzz, install, package, packages};

/// A suite: its name on the command line and what it does.
const SUITES: [(&str, &str); 14] = [
    ("fmt", "formatting"),
    ("clippy", "lints"),
    ("rust", "Rust tests"),
    ("doc", "Rust documentation"),
    ("c", "C and C++ programs against the installed library"),
    ("subjects", "programs that hold state, dumped and restored"),
    ("namespaces", "programs that hold state inside fresh pid and user namespaces, dumped and restored there"),
    ("golden", "checkpoints made by CRIU 4.2"),
    ("torture", "an engine disturbed in every way there is, a sample"),
    ("fuzz", "mutated input of every kind"),
    ("input", "bad input"),
    ("go", "the Go module and programs that use it"),
    ("python", "pycriu and crit from their wheels"),
    ("package", "Debian packages and the source archive"),
];

/// After this much time a run is given up: something hangs.
const PATIENCE: Duration = Duration::from_secs(3000);

/// What a run has found so far, and where it is.
#[derive(Default)]
struct Progress {
    suite: &'static str,
    summary: Summary,
}

/// The suites that need the staged installation.
const STAGED: [&str; 8] = ["c", "subjects", "namespaces", "golden", "torture", "fuzz", "input", "go"];

pub fn run(workspace: &Workspace, args: &[String]) -> ExitCode {
    let start = Instant::now();
    let staged_already = args.iter().any(|a| a == "--staged");
    let args: Vec<String> = args.iter().filter(|a| *a != "--staged").cloned().collect();
    packages::install(packages::TESTS);
    let (names, filters): (Vec<String>, Vec<String>) =
        args.iter().cloned().partition(|a| SUITES.iter().any(|s| s.0 == a));
    let progress = Arc::new(Mutex::new(Progress::default()));
    give_up_when_late(Arc::clone(&progress), start);
    // A filter alone means the subjects: the suite one runs while working on a kind.
    let names = if names.is_empty() && !filters.is_empty() { vec!["subjects".to_string()] } else { names };
    let wanted = |suite: &str| names.is_empty() || names.iter().any(|n| n == suite);
    let staged = STAGED.iter().any(|s| wanted(s));
    let layout = Layout::new(&workspace.root, &workspace.target);
    now(&progress).suite = "building";
    let mut built = Summary::default();
    let ready = !staged || prepare(workspace, &layout, staged_already, &mut built);
    now(&progress).summary.absorb(built);
    for (name, what) in SUITES {
        let needs_stage = STAGED.contains(&name);
        if !wanted(name) || (needs_stage && !ready) {
            continue;
        }
        println!("\n== {what}");
        let begun = Instant::now();
        now(&progress).suite = name;
        let part = one(name, workspace, &layout, &filters);
        println!("   {part} ({:.0} s)", begun.elapsed().as_secs_f64());
        now(&progress).summary.absorb(part);
    }
    close(&now(&progress).summary, start)
}

fn now(progress: &Mutex<Progress>) -> std::sync::MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Ends a run that hangs, with its summary so far.
fn give_up_when_late(progress: Arc<Mutex<Progress>>, start: Instant) {
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE);
        let mut found = now(&progress);
        let suite = found.suite;
        found.summary.absorb(single(suite, Err(failed(format!("no end after {} s", PATIENCE.as_secs())))));
        close(&found.summary, start);
        for pid in descendants::below(std::process::id() as i32) {
            let _ = descendants::signal(pid, rustix::process::Signal::KILL);
        }
        std::process::exit(1);
    });
}

fn one(name: &str, workspace: &Workspace, layout: &Layout, filters: &[String]) -> Summary {
    match name {
        "fmt" => cargo::fmt(workspace),
        "clippy" => cargo::clippy(workspace),
        "rust" => cargo::tests(workspace),
        "doc" => cargo::doc(workspace),
        "python" => python::run(workspace),
        "package" => package::trial::run(workspace),
        "go" => go::run(layout),
        "c" => programs::run(workspace, layout),
        "golden" => golden::run(layout, filters),
        "torture" => torture::run(layout, filters),
        "fuzz" => fuzz::short(workspace, layout, filters),
        "namespaces" => within::run(layout, filters, 2),
        "input" => bad_input::run(layout, filters),
        _ => match suite::subjects(layout) {
            Ok(subjects) => suite::run(&subjects, layout, filters, 2),
            Err(e) => single("subjects", Err(failed(e))),
        },
    }
}

/// `torture --rounds N`: the suite of that name at length.
pub fn torture(workspace: &Workspace, args: &[String]) -> ExitCode {
    let start = Instant::now();
    let mut rounds = 2000;
    let mut staged = false;
    let mut filters = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--staged" => staged = true,
            "--rounds" => match rest.next().and_then(|n| n.parse().ok()) {
                Some(n) => rounds = n,
                None => return crate::complain("torture: --rounds needs a number"),
            },
            name => filters.push(name.to_string()),
        }
    }
    let layout = Layout::new(&workspace.root, &workspace.target);
    let mut summary = Summary::default();
    if prepare(workspace, &layout, staged, &mut summary) {
        summary.absorb(torture::at_length(&layout, &filters, rounds));
    }
    close(&summary, start)
}

/// Builds and installs what is tested (unless `staged`: what is there already), and the programs that test it.
pub fn prepare(workspace: &Workspace, layout: &Layout, staged: bool, summary: &mut Summary) -> bool {
    println!("\n== building");
    if !staged && let Err(e) = install::stage(workspace) {
        summary.absorb(single("build and install", Err(failed(e))));
        return false;
    }
    let subjects = match suite::subjects(layout) {
        Ok(subjects) => subjects,
        Err(e) => {
            summary.absorb(single("subjects", Err(failed(e))));
            return false;
        }
    };
    for broken in build::all(&subjects, layout, 2) {
        summary.absorb(single(&format!("compile {}", broken.name), Err(failed(broken.text))));
    }
    true
}

/// A summary of one test.
pub fn single(name: &str, outcome: criu_tests::verdict::Outcome) -> Summary {
    let mut summary = Summary::default();
    let verdict = Verdict { name: name.into(), outcome };
    suite::show(&verdict);
    summary.add(verdict);
    summary
}

pub fn close(summary: &Summary, start: Instant) -> ExitCode {
    println!("\n== summary after {:.0} s", start.elapsed().as_secs_f64());
    for (name, why) in &summary.skipped {
        println!("skipped {name}: {why}");
    }
    for (name, why) in &summary.failed {
        println!("failed {name}: {}", why.lines().next().unwrap_or_default());
    }
    println!("{summary}");
    if summary.failed.is_empty() && summary.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
