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
