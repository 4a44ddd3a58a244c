//! What the engine tells whoever asked for the operation, and what it asks them, while it works.

use std::os::fd::BorrowedFd;

use crate::error::{Phase, Result};

/// The stages at which callbacks and action scripts run, by their names on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    PreStream,
    PreDump,
    PostDump,
    PreRestore,
    PostRestore,
    NetworkLock,
    NetworkUnlock,
    SetupNamespaces,
    PostSetupNamespaces,
    PreResume,
    PostResume,
    OrphanPtsMaster,
    StatusReady,
    QueryExtFiles,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::PreStream => "pre-stream",
            Stage::PreDump => "pre-dump",
            Stage::PostDump => "post-dump",
            Stage::PreRestore => "pre-restore",
            Stage::PostRestore => "post-restore",
            Stage::NetworkLock => "network-lock",
            Stage::NetworkUnlock => "network-unlock",
            Stage::SetupNamespaces => "setup-namespaces",
            Stage::PostSetupNamespaces => "post-setup-namespaces",
            Stage::PreResume => "pre-resume",
            Stage::PostResume => "post-resume",
            Stage::OrphanPtsMaster => "orphan-pts-master",
            Stage::StatusReady => "status-ready",
            Stage::QueryExtFiles => "query-ext-files",
        }
    }
}

/// Whoever asked for an operation: the RPC connection, or the command line with its action scripts.
pub trait Operator {
    /// Runs the callbacks of `stage`. `pid` is the root's, where the stage has one; `fd` goes along with
    /// `OrphanPtsMaster`. An error fails the operation.
    fn stage(&mut self, stage: Stage, pid: Option<i32>, fd: Option<BorrowedFd<'_>>) -> Result<()>;

    /// Whether anybody is to act at `stage`. At `PostDump` they find the tasks as the dump found them, standing still.
    fn is_awaited(&self, stage: Stage) -> bool;

    /// Whether a descriptor that goes along with a stage gets to somebody.
    fn takes_descriptors(&self) -> bool {
        false
    }

    /// Asks which sockets that the tree is connected to may stay outside of it; answers their inodes.
    fn external_sockets(&mut self) -> Result<Vec<u32>> {
        self.stage(Stage::QueryExtFiles, None, None)?;
        Ok(Vec::new())
    }

    /// Reports progress; `total` is 0 while unknown.
    fn progress(&mut self, phase: Phase, done: u64, total: u64);

    /// The root of a tree under restore exists, with this pid. A caller whose child it is has to collect it when the restore
    /// fails: nobody else can.
    fn root_forked(&mut self, _pid: i32) {}

    /// Fails when the operation was cancelled, its deadline has passed or its client is gone. Phases call it between
    /// objects, never while a target could be harmed by stopping there.
    fn check_cancelled(&mut self, phase: Phase) -> Result<()>;
}
