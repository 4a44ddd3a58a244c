//! The engine: dump, restore and check of process trees.
//!
//! Phases own order (`dump/`, `restore/`), kinds own objects (`file/`, `socket/`, `mem/`, `task/`, `namespace/`).
//! See ARCHITECTURE.md for the road through them.

pub mod error;
pub mod options;
#[doc(hidden)]
pub mod parsers;
pub mod progress;

pub use error::{Blocker, Error, Phase, Result};
pub use options::Options;
pub use progress::{Operator, Stage};

pub mod check;
pub mod config;
pub mod cpuinfo;
pub mod dump;
pub mod file;
mod ipc;
pub mod log;
pub mod mem;
pub mod namespace;
pub mod netlock;
pub mod not_yet;
mod numbers;
mod parallel;
pub mod proc;
pub mod pstree;
pub mod restore;
pub mod rpc;
mod run_id;
pub mod script;
mod socket;
pub mod stats;
pub mod sys;
pub mod task;

pub use dump::{DumpOutcome, dump, preflight};
pub use restore::{RestoreOutcome, restore};
