//! The operator of an operation that the command line asked for: action scripts, signals.

use std::os::fd::BorrowedFd;

use criu_engine::script::ActionScripts;
use criu_engine::sys::signal;
use criu_engine::{Error, Operator, Phase, Result, Stage};

use crate::foreground::Foreground;

/// Runs action scripts; a signal that asks to end cancels.
pub struct CommandOperator {
    scripts: ActionScripts,
    /// Of a shell job that is waited for.
    pub foreground: Foreground,
    phase: Option<Phase>,
}

impl CommandOperator {
    pub fn new(scripts: ActionScripts) -> Self {
        CommandOperator { scripts, foreground: Foreground::default(), phase: None }
    }
}

impl Operator for CommandOperator {
    fn stage(&mut self, stage: Stage, pid: Option<i32>, _fd: Option<BorrowedFd<'_>>) -> Result<()> {
        log::debug!("stage {}", stage.name());
        self.scripts.run(stage, pid)?;
        if let (Stage::PreResume, Some(root)) = (stage, pid) {
            self.foreground.give(root);
        }
        Ok(())
    }

    fn is_awaited(&self, _: Stage) -> bool {
        !self.scripts.is_empty()
    }

    fn progress(&mut self, phase: Phase, done: u64, total: u64) {
        if self.phase != Some(phase) {
            self.phase = Some(phase);
            log::info!("phase {}", phase.name());
        }
        log::debug!("{}: {done} of {total}", phase.name());
    }

    fn check_cancelled(&mut self, phase: Phase) -> Result<()> {
        if signal::terminated() {
            return Err(Error::new(phase, "the operation", "a signal asked to end").errno(4));
        }
        Ok(())
    }
}
