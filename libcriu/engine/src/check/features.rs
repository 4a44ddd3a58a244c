//! The features, each with its probe.

use super::{Feature, Level, Probe};

const fn feature(name: &'static str, level: Level, purpose: &'static str, probe: fn() -> Probe) -> Feature {
    Feature { name, level, purpose, probe }
}

/// Every feature that `criu check --feature` knows.
pub const FEATURES: &[Feature] =
    &[feature("mnt_id", Level::Basic, "which mount a descriptor belongs to", || mnt_id("/proc/self/fdinfo/0"))];

fn mnt_id(path: &str) -> Probe {
    match std::fs::read_to_string(path) {
        Ok(t) if t.lines().any(|l| l.starts_with("mnt_id:")) => Probe::Present,
        Ok(_) => Probe::Absent(format!("no mnt_id in {path}")),
        Err(e) => Probe::Absent(format!("{path}: {e}")),
    }
}
