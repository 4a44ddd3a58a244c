//! Scheduling of a thread on this machine.

use crate::sys::task::cpu_affinity;

/// The CPUs to bind the thread to: those of the image that this process may use itself. Where there is none of them, the
/// thread stays unbound, which the log tells.
pub fn affinity(tid: i32, image: &[u64]) -> Vec<u64> {
    let own = cpu_affinity(0).unwrap_or_default();
    let mask: Vec<u64> = image.iter().zip(&own).map(|(a, b)| a & b).collect();
    if mask.iter().all(|w| *w == 0) {
        if !image.is_empty() {
            log::warn!("thread {tid}: none of the CPUs it was bound to is there; it may use all");
        }
        return Vec::new();
    }
    mask
}
