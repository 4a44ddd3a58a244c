//! Read from outside by sched_getattr.

use std::io;

use crate::sys::task::sched_getattr;

const SCHED_DEADLINE: u32 = 6;
const SCHED_EXT: u32 = 7;
/// Stands in the policy of sched_setscheduler(2), as in the image.
const RESET_ON_FORK: u32 = 0x4000_0000;
const FLAG_RESET_ON_FORK: u64 = 1;

/// A thread's scheduling as `thread_core_entry` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sched {
    pub policy: u32,
    pub nice: i32,
    /// For the real-time policies.
    pub priority: Option<u32>,
}

/// Reads the scheduling of a thread; the inner error tells why it cannot be saved.
///
/// # Errors
/// Those of sched_getattr(2).
pub fn read(tid: i32) -> io::Result<Result<Sched, &'static str>> {
    let a = sched_getattr(tid)?;
    match a.policy {
        SCHED_DEADLINE => return Ok(Err("deadline scheduling cannot be saved")),
        SCHED_EXT => return Ok(Err("scheduling by a BPF program cannot be saved")),
        _ => {}
    }
    let reset = if a.flags & FLAG_RESET_ON_FORK != 0 { RESET_ON_FORK } else { 0 };
    let priority = (a.priority != 0).then_some(a.priority);
    Ok(Ok(Sched { policy: a.policy | reset, nice: a.nice, priority }))
}
