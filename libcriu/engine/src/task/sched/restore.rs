//! Scheduling of a thread on this machine.

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
