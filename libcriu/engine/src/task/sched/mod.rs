//! Scheduling of a thread: policy, nice value, real-time priority, timer slack.

mod dump;
pub mod restore;

/// The numbers in a list of the kernel's, as `0-3,8`.
fn listed(text: &str) -> impl Iterator<Item = usize> {
    let ranges = text.trim().split(',').filter_map(|r| {
        let (first, last) = r.split_once('-').unwrap_or((r, r));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    });
    ranges.flatten()
}

pub use dump::{Sched, read};

/// Stands in the policy of sched_setscheduler(2), as in the image.
pub const RESET_ON_FORK: u32 = 0x4000_0000;
/// SCHED_FLAG_RESET_ON_FORK of sched_setattr(2).
pub const FLAG_RESET_ON_FORK: u64 = 1;
/// SCHED_DEADLINE. Whoever has it may not fork unless it is reset then, must be allowed all CPUs, and waits when it has used up its time: so the
/// coordinator gives it to a thread that has nothing more to do for its restore.
pub const DEADLINE: u32 = 6;
/// SCHED_FLAG_RECLAIM and SCHED_FLAG_DL_OVERRUN.
pub const FLAGS_OF_DEADLINE: u64 = 2 | 4;
