//! `criu check`: what the kernel offers, found by using it.

mod features;
mod probe;

use std::fmt;

pub use features::FEATURES;

use crate::error::{Blocker, Error, Phase, Result};

/// How much a check asks for; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Without these nothing works.
    Basic,
    /// Needed for some kinds of state.
    Extra,
    /// New, or rarely there.
    Experimental,
}

/// The answer of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    Present,
    /// Why not: what the kernel answered.
    Absent(String),
}

/// One feature, by its name for `criu check --feature`.
pub struct Feature {
    pub name: &'static str,
    pub level: Level,
    /// What it is for.
    pub purpose: &'static str,
    pub probe: fn() -> Probe,
}

/// What a check found missing.
#[derive(Debug, Default)]
pub struct Report {
    pub missing: Vec<(&'static Feature, String)>,
}

impl fmt::Debug for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The feature of this name.
pub fn feature(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|f| f.name == name)
}

/// Whether the feature of this name is there; an unknown name is not.
pub fn has_feature(name: &str) -> bool {
    feature(name).is_some_and(|f| (f.probe)() == Probe::Present)
}

/// Probes every feature up to `level`.
pub fn check(level: Level) -> Report {
    let mut report = Report::default();
    for f in FEATURES.iter().filter(|f| f.level <= level) {
        match (f.probe)() {
            Probe::Present => log::debug!("{}: there", f.name),
            Probe::Absent(why) => {
                log::info!("{} ({}) is missing: {why}", f.name, f.purpose);
                report.missing.push((f, why));
            }
        }
    }
    report
}

impl Report {
    /// # Errors
    /// Every feature that is missing, as blockers.
    pub fn refuse(self) -> Result<()> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let found = self.missing.into_iter().map(|(f, why)| Blocker::new(0, format!("kernel feature {}", f.name), why));
        Err(Error::refused(Phase::Check, found.collect()))
    }
}
