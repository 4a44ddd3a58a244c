//! `criu dump`.

use criu_images::options::Settings;

use crate::operator::CommandOperator;
use crate::{Failure, prepare, print};

/// Dumps the tree of `--tree`.
pub fn dump(settings: Settings) -> Result<u8, Failure> {
    let pid = settings.msg.pid.ok_or_else(|| Failure::Usage("dump needs --tree PID".into()))?;
    let prepared = prepare::operation(settings, pid)?;
    let mut operator = CommandOperator::new(prepared.scripts);
    note_signals();
    let outcome = criu_engine::dump(&prepared.options, &mut operator)?;
    outcome.stats.write(&prepared.options.work_dir).unwrap_or_else(|e| log::warn!("{e}"));
    if prepared.options.msg.display_stats() {
        print::line(outcome.stats);
    }
    if let Some(status) = prepared.status {
        status.ready();
    }
    log::info!("{} tasks are saved", outcome.tasks);
    Ok(0)
}

/// From here on a signal that asks to end leads to an orderly retreat.
pub fn note_signals() {
    if let Err(e) = criu_engine::sys::signal::note_termination() {
        log::warn!("sigaction: {e}");
    }
}
