//! Scheduling of a thread: policy, nice value, real-time priority, timer slack.

mod dump;
pub mod restore;

pub use dump::{Sched, read};

/// Stands in the policy of sched_setscheduler(2), as in the image.
pub const RESET_ON_FORK: u32 = 0x4000_0000;
/// SCHED_FLAG_RESET_ON_FORK of sched_setattr(2).
pub const FLAG_RESET_ON_FORK: u64 = 1;
