//! A checkpoint in memory: what the images say, in one tree, believed only as far as `load` has checked it.

use std::sync::Arc;

use criu_images::messages::{
    FsEntry, InventoryEntry, MmEntry, SeccompFilter, TaskCoreEntry, TaskKobjIdsEntry, ThreadCoreEntry, ThreadInfoX86,
};

use crate::mem::pages::restore::PageSet;
use crate::mem::vma::restore::Layout;

/// The highest pid Linux gives out.
pub(crate) const PID_LIMIT: u32 = 1 << 22;

#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub inventory: InventoryEntry,
    /// Parents come before their children; the first is the root.
    pub tasks: Vec<Task>,
    /// seccomp.img: filters, each with the index of the one installed next.
    pub filters: Vec<SeccompFilter>,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub pid: i32,
    pub pgid: i32,
    pub sid: i32,
    /// Index of the parent; `None` for the root.
    pub parent: Option<usize>,
    pub children: Vec<usize>,
    pub core: TaskCoreEntry,
    pub body: Body,
}

/// What is left of a task.
#[derive(Debug)]
pub(crate) enum Body {
    /// A zombie, with the raw status its parent will get.
    Dead {
        status: i32,
    },
    Alive(Box<Alive>),
}

#[derive(Debug)]
pub(crate) struct Alive {
    /// The signal that stopped it, for a stopped task.
    pub stopped: Option<i32>,
    pub ids: TaskKobjIdsEntry,
    /// The leader first.
    pub threads: Vec<Thread>,
    /// The status with which the leader exits at the end of the restore, as it had while others went on.
    pub leader_exit: Option<i32>,
    /// Tasks that are alike in it share what was read.
    pub mm: Arc<MmEntry>,
    pub layout: Arc<Layout>,
    pub pages: PageSet,
    pub fs: FsEntry,
}

#[derive(Debug)]
pub(crate) struct Thread {
    pub tid: i32,
    pub info: ThreadInfoX86,
    pub core: ThreadCoreEntry,
}

impl Task {
    pub fn alive(&self) -> Option<&Alive> {
        match &self.body {
            Body::Alive(a) => Some(a),
            Body::Dead { .. } => None,
        }
    }
}
