//! Read from outside by sched_getattr.

use std::io;
use std::sync::OnceLock;

use criu_images::messages::SchedDeadlineEntry;

use super::{DEADLINE, FLAG_RESET_ON_FORK, FLAGS_OF_DEADLINE, RESET_ON_FORK, listed};
use crate::sys::task::{cpu_affinity, ioprio, nice, sched_getattr};

const SCHED_OTHER: u32 = 0;
const SCHED_BATCH: u32 = 3;
const SCHED_EXT: u32 = 7;

/// A thread's scheduling as `thread_core_entry` has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sched {
    pub policy: u32,
    pub nice: i32,
    /// For the real-time policies.
    pub priority: Option<u32>,
    /// The slice of time it was given, under a fair policy.
    pub slice_ns: Option<u64>,
    /// Few have it.
    pub deadline: Option<Box<SchedDeadlineEntry>>,
    /// The CPUs it is bound to, as words of a mask; empty when it may use all.
    pub affinity: Vec<u64>,
    /// As ioprio_set takes it; 0 when none was set.
    pub ioprio: u32,
}

/// Reads the scheduling of a thread; the inner error tells why it cannot be saved.
///
/// # Errors
/// Those of sched_getattr(2).
pub fn read(tid: i32) -> io::Result<Result<Sched, &'static str>> {
    let a = sched_getattr(tid)?;
    if a.policy == SCHED_EXT {
        return Ok(Err("scheduling by a BPF program cannot be saved"));
    }
    let reset = if a.flags & FLAG_RESET_ON_FORK != 0 { RESET_ON_FORK } else { 0 };
    let priority = (a.priority != 0).then_some(a.priority);
    let is_fair = matches!(a.policy, SCHED_OTHER | SCHED_BATCH);
    let nice = if is_fair { a.nice } else { nice(tid)? };
    let slice_ns = (is_fair && a.runtime != own_slice()).then_some(a.runtime);
    let promised = || SchedDeadlineEntry {
        runtime: a.runtime,
        deadline: a.deadline,
        period: a.period,
        flags: Some(a.flags & FLAGS_OF_DEADLINE).filter(|flags| *flags != 0),
    };
    let deadline = (a.policy == DEADLINE).then(|| Box::new(promised()));
    let affinity = cpu_affinity(tid)?;
    let affinity = if is_everywhere(&affinity) { Vec::new() } else { trimmed(affinity) };
    Ok(Ok(Sched { policy: a.policy | reset, nice, priority, slice_ns, deadline, affinity, ioprio: ioprio(tid)? }))
}

/// The kernel tells a slice also of threads that were given none: that of all of these, this one among them (Linux 6.12; 0 before).
fn own_slice() -> u64 {
    static SLICE: OnceLock<u64> = OnceLock::new();
    *SLICE.get_or_init(|| sched_getattr(0).map_or(0, |a| a.runtime))
}

/// Has the mask every CPU that is online? Then it says nothing, and binds to nothing on another machine.
fn is_everywhere(mask: &[u64]) -> bool {
    // One look for all threads: a CPU that comes or goes in the middle of a dump makes no difference to any of them.
    static ONLINE: OnceLock<String> = OnceLock::new();
    let online = ONLINE.get_or_init(|| std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default());
    let has = |cpu: usize| mask.get(cpu / 64).is_some_and(|w| w >> (cpu % 64) & 1 == 1);
    !online.is_empty() && listed(online).all(has)
}

fn trimmed(mut mask: Vec<u64>) -> Vec<u64> {
    while mask.last() == Some(&0) {
        mask.pop();
    }
    mask
}
