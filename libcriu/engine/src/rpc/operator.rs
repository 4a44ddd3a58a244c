//! The client of a connection as the engine's operator: notifications there and back, progress, cancellation, deadline.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use criu_images::messages::{CriuNotify, CriuProgress, CriuReq, CriuReqType, CriuResp, CriuRestoreResp};

use super::connection::{Connection, Received};
use crate::error::{Error, Phase, Result};
use crate::progress::{Operator, Stage};
use crate::script::ActionScripts;
use crate::sys::signal;

/// Between two progress messages of the same phase.
const PROGRESS_PERIOD: Duration = Duration::from_millis(50);

/// Between two looks for a message of the client in the same phase.
const LOOK_PERIOD: Duration = Duration::from_millis(1);

/// What the client asked to be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// `notify_scripts`: wait for its answer at every stage.
    pub notify: bool,
    /// Progress messages.
    pub progress: bool,
    /// The client itself is part of what is dumped: while it is frozen it cannot answer.
    pub is_target: bool,
    pub deadline: Option<Instant>,
    /// The client becomes the parent of what is restored, and wants its pid as soon as there is one.
    pub is_parent: bool,
}

/// The operator of one operation.
pub struct RpcOperator<'a> {
    connection: &'a Connection,
    wishes: Wishes,
    scripts: ActionScripts,
    last_progress: Option<(Phase, Instant)>,
    last_look: Option<(Phase, Instant)>,
}

impl<'a> RpcOperator<'a> {
    /// `scripts` run at each stage before the client is asked.
    pub fn new(connection: &'a Connection, wishes: Wishes, scripts: ActionScripts) -> Self {
        RpcOperator { connection, wishes, scripts, last_progress: None, last_look: None }
    }

    fn late(&self, phase: Phase) -> Error {
        Error::new(phase, "the operation", "its deadline has passed").errno(libc::ETIMEDOUT)
    }

    /// What a message that arrives while the engine works means for the operation.
    fn interrupted(phase: Phase, received: &Received) -> Result<()> {
        match received {
            Received::Nothing => Ok(()),
            Received::Closed => {
                Err(Error::new(phase, "the operation", "the client closed the connection").errno(libc::ECANCELED))
            }
            Received::Request(r) if r.r#type == CriuReqType::Cancel as i32 => {
                Err(Error::new(phase, "the operation", "cancelled by the client").errno(libc::ECANCELED))
            }
            Received::Request(r) => Err(Error::new(
                phase,
                "request",
                format!("type {} while an operation is under way; only NOTIFY and CANCEL are taken then", r.r#type),
            )
            .errno(libc::EBADRQC)),
        }
    }

    /// Runs the scripts of a stage and asks the client; its answer, when it is asked.
    fn ask(&self, stage: Stage, pid: Option<i32>, fd: Option<BorrowedFd<'_>>) -> Result<Option<Box<CriuReq>>> {
        self.scripts.run(stage, pid)?;
        if !self.wishes.notify {
            return Ok(None);
        }
        if self.wishes.is_target && stage != Stage::PreDump {
            log::info!("stage {}: the client is the target and frozen, it is not asked", stage.name());
            return Ok(None);
        }
        let message = CriuResp {
            r#type: CriuReqType::Notify as i32,
            success: true,
            notify: Some(CriuNotify { script: Some(stage.name().to_owned()), pid }),
            ..Default::default()
        };
        log::debug!("notify the client: {}", stage.name());
        self.connection.send(&message, fd)?;
        self.answer(stage).map(Some)
    }

    fn answer(&self, stage: Stage) -> Result<Box<CriuReq>> {
        match self.connection.receive(self.wishes.deadline)? {
            Received::Nothing => Err(self.late(Phase::Service)),
            Received::Request(r) if r.r#type == CriuReqType::Notify as i32 => {
                if r.notify_success == Some(true) {
                    return Ok(r);
                }
                Err(Error::new(Phase::Service, format!("stage {}", stage.name()), "the client's callback failed"))
            }
            other => Err(Self::interrupted(Phase::Service, &other).err().unwrap_or_else(|| self.late(Phase::Service))),
        }
    }
}

impl Operator for RpcOperator<'_> {
    fn stage(&mut self, stage: Stage, pid: Option<i32>, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.ask(stage, pid, fd).map(drop)
    }

    fn external_sockets(&mut self) -> Result<Vec<u32>> {
        let answer = self.ask(Stage::QueryExtFiles, None, None)?;
        let opts = answer.and_then(|a| a.opts).unwrap_or_default();
        Ok(opts.unix_sk_ino.iter().map(|s| s.inode).collect())
    }

    fn is_awaited(&self, stage: Stage) -> bool {
        let asks = self.wishes.notify && (stage == Stage::PreDump || !self.wishes.is_target);
        asks || !self.scripts.is_empty()
    }

    fn takes_descriptors(&self) -> bool {
        self.wishes.notify && !self.wishes.is_target
    }

    fn progress(&mut self, phase: Phase, done: u64, total: u64) {
        if !self.wishes.progress || self.wishes.is_target {
            return;
        }
        let now = Instant::now();
        let finished = total != 0 && done == total;
        if let Some((last, at)) = self.last_progress
            && last == phase
            && !finished
            && now.duration_since(at) < PROGRESS_PERIOD
        {
            return;
        }
        self.last_progress = Some((phase, now));
        self.connection.offer(&CriuResp {
            r#type: CriuReqType::Progress as i32,
            success: true,
            progress: Some(CriuProgress { phase: Some(phase.name().to_owned()), done: Some(done), total: Some(total) }),
            ..Default::default()
        });
    }

    fn root_forked(&mut self, pid: i32) {
        if self.wishes.is_parent {
            self.connection.offer(&CriuResp {
                r#type: CriuReqType::Progress as i32,
                success: true,
                restore: Some(CriuRestoreResp { pid }),
                ..Default::default()
            });
        }
    }

    fn check_cancelled(&mut self, phase: Phase) -> Result<()> {
        let now = Instant::now();
        if self.wishes.deadline.is_some_and(|d| now >= d) {
            return Err(self.late(phase));
        }
        if signal::terminated() {
            let cause = "a signal asked this process to end";
            return Err(Error::new(phase, "the operation", cause).errno(libc::ECANCELED));
        }
        if let Some((last, at)) = self.last_look
            && last == phase
            && now.duration_since(at) < LOOK_PERIOD
        {
            return Ok(());
        }
        self.last_look = Some((phase, now));
        Self::interrupted(phase, &self.connection.take()?)
    }
}
