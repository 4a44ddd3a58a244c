//! Scheduling of a thread on this machine.

use std::sync::LazyLock;

use criu_images::messages::ThreadCoreEntry;

use super::{DEADLINE, FLAG_RESET_ON_FORK, FLAGS_OF_DEADLINE, RESET_ON_FORK, listed};
use crate::sys::task::SchedAttr;

const LAST_PLAIN_POLICY: u32 = 5;

/// The policy that a thread sets for itself.
///
/// # Errors
/// Why there is none, in words.
pub fn own_policy(core: &ThreadCoreEntry) -> Result<u32, &'static str> {
    match core.sched_policy() & !RESET_ON_FORK {
        DEADLINE if core.sched_deadline.is_none() => {
            Err("what it was promised under SCHED_DEADLINE is not in its image")
        }
        // It waits for that as what every thread begins as.
        DEADLINE => Ok(0),
        policy if policy <= LAST_PLAIN_POLICY => Ok(policy),
        _ => Err("its policy cannot be restored"),
    }
}

/// What sched_setattr(2) is to give a thread under SCHED_DEADLINE.
pub fn deadline(core: &ThreadCoreEntry) -> Option<SchedAttr> {
    let promised = core.sched_deadline.as_ref()?;
    let policy = core.sched_policy();
    let reset = if policy & RESET_ON_FORK != 0 { FLAG_RESET_ON_FORK } else { 0 };
    (policy & !RESET_ON_FORK == DEADLINE).then(|| SchedAttr {
        policy: DEADLINE,
        flags: promised.flags() & FLAGS_OF_DEADLINE | reset,
        runtime: promised.runtime,
        deadline: promised.deadline,
        period: promised.period,
        ..SchedAttr::default()
    })
}

/// The CPUs to bind the thread to: those of the image that this process may use itself, `own`; none when it may use just
/// these. Where there is none of them, the
/// thread stays unbound, which the log tells.
pub fn affinity(tid: i32, image: &[u64], own: &[u64]) -> Vec<u64> {
    let mask: Vec<u64> = image.iter().zip(own).map(|(a, b)| a & b).collect();
    if mask.iter().all(|w| *w == 0) {
        if !image.is_empty() {
            log::warn!("thread {tid}: none of the CPUs it was bound to is there; it may use all");
        }
        return Vec::new();
    }
    let is_own = own.iter().enumerate().all(|(n, word)| mask.get(n).copied().unwrap_or(0) == *word);
    if is_own { Vec::new() } else { mask }
}

/// The memory policy of a thread or area with the nodes that are here; where none of its nodes is, it has none, which the log tells.
pub fn mempolicy(whose: &str, mode: u32, image: &[u64]) -> Option<(u32, Vec<u64>)> {
    static ONLINE: LazyLock<String> =
        LazyLock::new(|| std::fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default());
    let mut here = vec![0; image.len()];
    for node in listed(&ONLINE).filter(|node| node / 64 < image.len()) {
        here[node / 64] |= image[node / 64] & 1 << (node % 64);
    }
    if !image.is_empty() && here.iter().all(|w| *w == 0) {
        log::warn!("{whose}: none of the nodes of its memory policy is there; it gets memory from all");
        return None;
    }
    Some((mode, here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_not_here_are_left_out() {
        assert_eq!(mempolicy("a thread", 3, &[0b1, 1 << 63]), Some((3, vec![1, 0])));
        assert_eq!(mempolicy("a thread", 3, &[0, 1 << 63]), None);
        // MPOL_LOCAL has no nodes.
        assert_eq!(mempolicy("a thread", 4, &[]), Some((4, Vec::new())));
    }
}
