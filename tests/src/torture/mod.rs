//! The engine is disturbed in every way there is: no target is harmed, nothing is left, and a second try succeeds.
//!
//! A job is `torture/KIND/ACTION/SUBJECT/COUNT/SEED`. For the kinds of `moment` and `unrest` COUNT is a number of attempts and
//! SEED makes them random; for those of `fault` and `disk` every COUNT-th of all cases is tried from the SEED-th on. Jobs run in
//! namespaces of their own, so that every pid is free for a second restore.

mod attempt;
mod disk;
mod fault;
mod moment;
mod unrest;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use attempt::{Action, Scene};
use disk::Short;
use fault::At;
use moment::Blow;
use unrest::Unrest;

use crate::apart::{self, Job, Surroundings};
use crate::descendants::adopt_orphans;
use crate::layout::Layout;
use crate::suite::{self, wanted};
use crate::verdict::{Outcome, Stop, Summary, failed};

/// Subjects with much to disturb.
const SUBJECTS: [&str; 9] = [
    "pipe.data",
    "tree_sessions",
    "threads.many",
    "seccomp.chains",
    "memory_cow",
    "sysv_shm.keyed",
    "inet_connected.many",
    "unix_messages.descriptors",
    "memory_private",
];

/// Those whose engine is killed in the sample too.
const KILLED: [&str; 7] = [
    "tree_sessions",
    "threads.many",
    "seccomp.chains",
    "seccomp.forbid",
    "memory_cow",
    "pipe.shared",
    "inet_connected.many",
];

/// Failures after which a job gives up.
const ENOUGH: usize = 4;

/// What a job found, attempt by attempt.
#[derive(Default)]
struct Harm(Vec<String>);

impl Harm {
    /// # Errors
    /// It is enough.
    fn add(&mut self, outcome: Outcome) -> Outcome {
        match outcome {
            Ok(()) => return Ok(()),
            Err(Stop::Failed(text)) => self.0.push(text),
            Err(skipped) => return Err(skipped),
        }
        if self.0.len() < ENOUGH { Ok(()) } else { Err(failed(self.0.join("\n"))) }
    }

    fn outcome(&self) -> Outcome {
        if self.0.is_empty() { Ok(()) } else { Err(failed(self.0.join("\n"))) }
    }
}

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n.max(1)
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.below(1 << 20) as f64 / (1 << 20) as f64
    }
}

fn job(kind: &str, action: Action, subject: &str, count: u64, seed: u64) -> Job {
    let name = format!("torture/{kind}/{}/{subject}/{count}/{seed}", action.name());
    Job { name, surroundings: Surroundings::Alone }
}

/// A sample of everything.
pub fn run(layout: &Layout, filters: &[String]) -> Summary {
    let mut jobs = Vec::new();
    let seed = u64::from(std::process::id());
    for (n, subject) in SUBJECTS.iter().enumerate() {
        let blow = Blow::ALL[n % Blow::ALL.len()];
        let action = Action::ALL[n % Action::ALL.len()];
        jobs.push(job(blow.name(), action, subject, 4, seed));
    }
    for action in [Action::Dump, Action::Restore] {
        jobs.extend(KILLED.map(|subject| job(Blow::Kill.name(), action, subject, 10, seed)));
    }
    for action in Action::ALL {
        jobs.push(job(At::Fault.name(), action, "tree_sessions", 2503, seed % 2503));
        jobs.push(job(At::KillAt.name(), action, "inet_connected.many", 211, seed % 211));
    }
    jobs.extend(Short::ALL.map(|short| job(short.name(), Action::Dump, "pipe.shared", 5, seed % 5)));
    jobs.extend(Unrest::ALL.map(|unrest| job(unrest.name(), Action::Leave, &unrest.subject(), 2, seed)));
    jobs.retain(|j| wanted(&j.name, filters));
    apart::run(&jobs, layout, 2)
}

/// Until each of the kinds of `moment` and `unrest` had so many rounds, and those of `fault` and `disk` one full.
pub fn at_length(layout: &Layout, filters: &[String], rounds: u64) -> Summary {
    const PART: u64 = 25;
    const STRIDE: u64 = 101;
    let mut jobs = Vec::new();
    for part in 0..rounds.div_ceil(PART) {
        let subject = SUBJECTS[part as usize % SUBJECTS.len()];
        for blow in Blow::ALL {
            // Kills are what the figures are about; the others get a quarter.
            if blow == Blow::Kill || part % 4 == 0 {
                jobs.extend(Action::ALL.map(|action| job(blow.name(), action, subject, PART, part)));
            }
        }
        if part % 4 == 0 {
            jobs.extend(Unrest::ALL.map(|unrest| job(unrest.name(), Action::Leave, &unrest.subject(), PART, part)));
            jobs.extend(Unrest::ALL.map(|unrest| job(unrest.name(), Action::Dump, &unrest.subject(), PART, part)));
        }
    }
    for subject in ["pipe.data", "tree_sessions", "threads.names", "inet_connected.unread"] {
        for offset in 0..STRIDE {
            jobs.extend(Action::ALL.map(|action| job(At::Fault.name(), action, subject, STRIDE, offset)));
        }
    }
    for subject in ["pipe.data", "tree_sessions", "inet_connected.unread"] {
        for offset in 0..STRIDE {
            jobs.extend(Action::ALL.map(|action| job(At::KillAt.name(), action, subject, STRIDE, offset)));
        }
    }
    for subject in SUBJECTS {
        jobs.extend(Short::ALL.map(|short| job(short.name(), Action::Dump, subject, 1, 0)));
    }
    jobs.retain(|j| wanted(&j.name, filters));
    jobs.extend(
        filters
            .iter()
            .filter_map(|f| asked_for(f))
            .filter(|j| jobs.iter().all(|o| o.name != j.name))
            .collect::<Vec<_>>(),
    );
    let _ = fs::remove_file(tally_file(layout));
    let summary = apart::run(&jobs, layout, 1);
    println!("\n{}", tally(layout));
    summary
}

/// A job that is named in full is run as it is, of whatever length.
fn asked_for(filter: &str) -> Option<Job> {
    let name = filter.strip_prefix("torture/").unwrap_or(filter);
    let [_, _, _, count, seed] = name.split('/').collect::<Vec<_>>()[..] else { return None };
    (count.parse::<u64>().is_ok_and(|n| n > 0) && seed.parse::<u64>().is_ok())
        .then(|| Job { name: format!("torture/{name}"), surroundings: Surroundings::Alone })
}

/// `kill/dump/threads.many/25/3`
pub fn one(name: &str, layout: &Layout, folder: &Path) -> Outcome {
    let parts: Vec<&str> = name.split('/').collect();
    let [kind, action, subject, count, seed] = parts[..] else { return Err(failed(format!("no test {name}"))) };
    let (count, seed) = (count.parse::<u64>().map_err(failed)?, seed.parse::<u64>().map_err(failed)?);
    adopt_orphans()?;
    let mut subjects = suite::subjects(layout).map_err(failed)?;
    subjects.extend(unrest::subjects(layout).map_err(failed)?);
    let subject = subjects.iter().find(|s| s.name == subject).ok_or_else(|| failed(format!("no subject {subject}")))?;
    let scene = Scene { layout, subject, action: Action::find(action)?, folder: folder.into() };
    let mut made = 0;
    let outcome = if let Some(blow) = Blow::ALL.into_iter().find(|b| b.name() == kind) {
        moment::run(blow, &scene, count, seed, &mut made)
    } else if let Some(short) = Short::ALL.into_iter().find(|s| s.name() == kind) {
        disk::run(short, &scene, count, seed, &mut made)
    } else if let Some(unrest) = Unrest::ALL.into_iter().find(|u| u.name() == kind) {
        unrest::run(unrest, &scene, count, seed, &mut made)
    } else if let Some(at) = At::ALL.into_iter().find(|a| a.name() == kind) {
        fault::run(at, &scene, count, seed, &mut made)
    } else {
        return Err(failed(format!("no kind {kind}")));
    };
    let line = format!("{kind} {action} {} {made} {}\n", subject.name, u8::from(outcome.is_err()));
    let file = fs::OpenOptions::new().append(true).create(true).open(tally_file(layout));
    file.and_then(|mut f| f.write_all(line.as_bytes())).map_err(failed)?;
    outcome
}

fn tally_file(layout: &Layout) -> PathBuf {
    layout.built.join("torture.tally")
}

/// Attempts by kind and action.
fn tally(layout: &Layout) -> String {
    let text = fs::read_to_string(tally_file(layout)).unwrap_or_default();
    let mut sums: Vec<(String, u64, u64)> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, action, _, made, bad] = words[..] else { continue };
        let name = format!("{kind} {action}");
        let (made, bad) = (made.parse().unwrap_or(0), bad.parse().unwrap_or(0));
        match sums.iter_mut().find(|s| s.0 == name) {
            Some(sum) => (sum.1, sum.2) = (sum.1 + made, sum.2 + bad),
            None => sums.push((name, made, bad)),
        }
    }
    let rows = sums.iter().map(|(name, made, bad)| format!("{name:<20} {made:>7} attempts, {bad} jobs with harm\n"));
    rows.collect()
}
