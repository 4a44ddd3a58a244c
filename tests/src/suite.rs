//! All cases of all subjects, and the names by which single tests are run apart.

use std::io::{self, Write};
use std::path::Path;

use crate::apart::{self, Job, Surroundings};
use crate::case::{self, Case};
use crate::layout::Layout;
use crate::subject::{self, Subject};
use crate::verdict::{Outcome, Stop, Summary, Verdict, failed};
use crate::{bad_input, golden, mutated, torture, trial, within};

/// Subjects of the two folders.
pub fn subjects(layout: &Layout) -> io::Result<Vec<Subject>> {
    let mut all = subject::read_folder(&layout.root.join("tests/victims"))?;
    all.extend(subject::read_folder(&layout.root.join("tests/programs"))?);
    Ok(all)
}

/// Runs every case whose name contains one of `filters` (all, when there is none), `at_once` at a time.
pub fn run(subjects: &[Subject], layout: &Layout, filters: &[String], at_once: usize) -> Summary {
    let job = |c: &Case| Job {
        name: c.name(),
        surroundings: match &c.subject {
            s if s.terminal => Surroundings::Terminal,
            s if s.own_terminals => Surroundings::OwnTerminals,
            s if s.own_network => Surroundings::OwnNetwork,
            _ => Surroundings::Plain,
        },
    };
    let jobs: Vec<Job> =
        subjects.iter().flat_map(case::all).map(|c| job(&c)).filter(|j| wanted(&j.name, filters)).collect();
    apart::run(&jobs, layout, at_once)
}

/// Is there no filter, or is one of them part of the name?
pub fn wanted(name: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str()))
}

/// Runs the test of this name in this process.
pub fn run_here(name: &str, layout: &Layout, folder: &Path) -> Outcome {
    match name.split_once('/') {
        Some((within::NAME, rest)) => {
            let subjects = within::subjects(subjects(layout).map_err(failed)?);
            case_of(&subjects, rest, layout, folder)
        }
        Some(("golden", rest)) => golden::restore(rest, layout, folder),
        Some(("mutated", rest)) => mutated::one(rest, layout, folder),
        Some(("torture", rest)) => torture::one(rest, layout, folder),
        Some(("input", rest)) => bad_input::one(rest, layout, folder),
        _ => case_of(&subjects(layout).map_err(failed)?, name, layout, folder),
    }
}

fn case_of(subjects: &[Subject], name: &str, layout: &Layout, folder: &Path) -> Outcome {
    let case = Case::find(subjects, name).ok_or_else(|| failed(format!("no case {name}")))?;
    trial::run(&case, layout, folder)
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
