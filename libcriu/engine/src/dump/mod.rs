//! Dump: freeze -> collect -> infect -> save -> commit -> release.
//!
//! Each phase is a type that owns what has been learned so far and is consumed by the next. Dropping any of them lets the tasks run on as
//! before; only `Committed::release` kills.

mod ahead;
mod alike;
mod apart;
mod collect;
mod freeze;
mod infect;
mod kin;
mod latecomers;
mod look;
mod newcomers;
mod release;
mod save;
mod snapshot;
mod timed;
mod verdict;
mod write;

use crate::error::{Blocker, Error, Phase, Result};
use crate::options::Options;
use crate::progress::{Operator, Stage};
use crate::stats::DumpStats;
use crate::sys::spawn;

use apart::Shelter;
use collect::Collected;
use freeze::Frozen;
use newcomers::Newcomers;

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
pub fn dump(options: &Options, operator: &mut dyn Operator) -> Result<DumpOutcome> {
    operator.stage(Stage::PreDump, Some(options.pid), None)?;
    keep_time();
    let mut newcomers = Newcomers::default();
    loop {
        match attempt(options, operator) {
            Err(e) if newcomers.are_let_in(&e, options) => log::info!("the dump begins anew after: {e}"),
            outcome => return outcome,
        }
    }
}

/// The timer slack of a caller, which may be seconds, would be added to every wait while the tasks stand still.
fn keep_time() {
    const USUAL_NS: i32 = 50_000;
    if !spawn::prctl(libc::PR_GET_TIMERSLACK, 0).is_ok_and(|ns| (1..=USUAL_NS).contains(&ns)) {
        let _ = spawn::prctl(libc::PR_SET_TIMERSLACK, USUAL_NS as u64);
    }
}

fn attempt(options: &Options, operator: &mut dyn Operator) -> Result<DumpOutcome> {
    if !ahead::by_a_copy(options, operator) {
        let collected = collect(options, operator)?;
        let snapshots = snapshot::are_wanted(options, operator) && collected.is_large();
        if !collected.is_delicate() && !snapshots {
            return finish(collected, options, operator);
        }
        // Everything goes on while the copy starts anew.
    }
    match apart::run(|| finish(collect(options, operator)?, options, operator)) {
        Some(result) => result,
        None => {
            log::debug!("a process with threads cannot be copied: this one does all itself");
            finish(collect(options, operator)?, options, operator)
        }
    }
}

fn collect(options: &Options, operator: &mut dyn Operator) -> Result<Collected> {
    ahead::prepare(options);
    let collected = Frozen::freeze(options, operator)?.collect(options, operator)?;
    if collected.blockers.is_empty() { Ok(collected) } else { Err(Error::refused(Phase::Collect, collected.blockers)) }
}

fn finish(collected: Collected, options: &Options, operator: &mut dyn Operator) -> Result<DumpOutcome> {
    let shelter = Shelter::enter();
    let informed = collected.infect(options, operator);
    // Whatever has a snapshot is not left alone with it.
    let shelter = match &informed {
        Ok(informed) if informed.has_snapshots() => Some(shelter),
        _ => shelter.leave().map(|()| None)?,
    };
    let committed = informed?.save(options, operator, shelter)?;
    match operator.stage(Stage::PostDump, Some(options.pid), None) {
        Ok(()) => committed.release(options),
        Err(e) => {
            committed.withdraw(options);
            Err(e)
        }
    }
}

/// Everything that would make this dump fail; changes nothing. The tree is stopped while it is looked at.
///
/// # Errors
/// What kept it from looking: no such process, a missing right.
pub fn preflight(options: &Options, operator: &mut dyn Operator) -> Result<Vec<Blocker>> {
    let collected = Frozen::freeze(options, operator)?.collect(options, operator)?;
    Ok(collected.blockers)
}
