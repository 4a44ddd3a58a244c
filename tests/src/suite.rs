//! All cases of all subjects, several at a time, each in a process of its own.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::case::{self, Case};
use crate::layout::Layout;
use crate::subject::{self, Subject};
use crate::verdict::{Stop, Summary, Verdict, decode, failed};

/// Subjects of the two folders.
pub fn subjects(layout: &Layout) -> io::Result<Vec<Subject>> {
    let mut all = subject::read_folder(&layout.root.join("tests/victims"))?;
    all.extend(subject::read_folder(&layout.root.join("tests/programs"))?);
    Ok(all)
}

/// Runs every case whose name contains one of `filters` (all, when there is none), `jobs` at a time.
pub fn run(subjects: &[Subject], layout: &Layout, filters: &[String], jobs: usize) -> Summary {
    let wanted = |c: &Case| filters.is_empty() || filters.iter().any(|f| c.name().contains(f.as_str()));
    let cases: Vec<Case> = subjects.iter().flat_map(case::all).filter(wanted).collect();
    let next = AtomicUsize::new(0);
    let summary = Mutex::new(Summary::default());
    // A subject that does not work on this machine by itself says nothing about the engine.
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = one(case, layout);
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

/// One line for a pass, more for the others.
pub fn show(verdict: &Verdict) {
    let mut out = io::stdout().lock();
    let _ = match &verdict.outcome {
        Ok(()) => writeln!(out, "  ok    {}", verdict.name),
        Err(Stop::Skipped(why)) => writeln!(out, "  skip  {}: {why}", verdict.name),
        Err(Stop::Failed(why)) => writeln!(out, "  FAIL  {}: {}", verdict.name, why.replace('\n', "\n          ")),
    };
}

fn one(case: &Case, layout: &Layout) -> Verdict {
    let name = case.name();
    let folder = layout.room.join(name.replace('/', "."));
    let outcome = run_apart(case, layout, &folder);
    let keep = std::env::var_os("CRIU_TEST_KEEP").is_some() && matches!(outcome, Err(Stop::Failed(_)));
    if !keep {
        for ending in ["", "images-1", "images-2"] {
            let _ = fs::remove_dir_all(folder.with_extension(ending));
        }
        clear(&folder);
    }
    Verdict { name, outcome }
}

/// Removes a case's folder and everything that stands beside it under the same name.
fn clear(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    let stem = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in folder.parent().map(fs::read_dir).into_iter().flatten().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&stem) {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

/// The case in a process of its own; in a terminal of its own where the subject wants one.
fn run_apart(case: &Case, layout: &Layout, folder: &Path) -> crate::verdict::Outcome {
    let me = std::env::current_exe().map_err(failed)?;
    fs::create_dir_all(&layout.room).map_err(failed)?;
    let args = ["run-case".to_string(), case.name(), folder.display().to_string()];
    let output = if case.subject.terminal {
        let line = format!("{} {}", me.display(), args.join(" "));
        Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output()
    } else {
        Command::new(me).args(&args).stdin(Stdio::null()).output()
    };
    let output = output.map_err(failed)?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    decode(&text.replace('\r', ""), &output.status.to_string())
}
