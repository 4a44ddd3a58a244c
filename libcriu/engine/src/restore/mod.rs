//! Restore: load -> check -> plan -> fork -> files -> memory -> threads -> resume.

use crate::error::{Error, Phase, Result};
use crate::options::Options;
use crate::progress::Operator;
use crate::stats::RestoreStats;

/// What a finished restore tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// The root task's pid in the engine's pid namespace.
    pub pid: i32,
    pub stats: RestoreStats,
}

/// Restores the tree in the images directory.
///
/// # Errors
/// Whatever stood in the way; no task, mount or rule is then left.
pub fn restore(_options: &Options, _operator: &mut dyn Operator) -> Result<RestoreOutcome> {
    Err(Error::new(Phase::Load, "restore", "not implemented yet"))
}
