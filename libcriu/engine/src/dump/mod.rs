//! Dump: freeze -> collect -> infect -> save -> commit -> release.

use crate::error::{Blocker, Error, Phase, Result};
use crate::options::Options;
use crate::progress::Operator;
use crate::stats::DumpStats;

/// What a finished dump tells its caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpOutcome {
    /// Tasks that were saved.
    pub tasks: usize,
    pub stats: DumpStats,
}

/// Dumps the tree rooted at `options.pid` into the images directory.
///
/// # Errors
/// Whatever stood in the way; the tree then runs on as before.
pub fn dump(options: &Options, _operator: &mut dyn Operator) -> Result<DumpOutcome> {
    Err(Error::new(Phase::Freeze, "dump", "not implemented yet").pid(options.pid))
}

/// Everything that would make this dump fail; changes nothing.
pub fn preflight(options: &Options, _operator: &mut dyn Operator) -> Result<Vec<Blocker>> {
    Err(Error::new(Phase::Freeze, "preflight", "not implemented yet").pid(options.pid))
}
