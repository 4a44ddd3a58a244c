//! Scheduling of a thread on this machine.

use std::sync::LazyLock;

use super::listed;

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
