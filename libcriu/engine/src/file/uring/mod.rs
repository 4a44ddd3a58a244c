//! io_uring: instances in which nothing is in flight.
//!
//! The kernel counts requests taken and completions given, and nobody can set these counts: a restore makes a new instance and
//! has it count up to them, by requests for nothing (IORING_OP_NOP). What its mappings show is written back then: requests that
//! were not given to the kernel yet, completions that nobody has taken.
//!
//! That nothing is in flight, and that there is nothing else to an instance, no system call tells: the kernel's record of it is
//! compared with that of a new one (`record`), and what differs is refused by name.
//!
//! A mapping cannot be put where the caller wants it (the kernel refuses an address even with MAP_FIXED): the restorer takes all
//! other places meanwhile that the kernel would choose before the right one.
//!
//! Registered files and buffers have to be those of the task: files are found among its descriptors, and the pages that the
//! kernel keeps are compared with those that the task has there (`memory`). Buffers are registered by the restorer, when memory
//! is final.
//!
//! Limits, refused by name: requests in flight; counts beyond [`MOST_NOPS`] and [`MOST_SINGLE`]; what else is registered;
//! kernel threads that poll; instances that several tables of descriptors have, whose only issuer is not the main thread, or
//! whose descriptors are closed while they are mapped; a kernel whose memory may not be read. Memory is not counted against
//! RLIMIT_MEMLOCK any more, and idle workers of the kernel's are left out.

mod dump;
mod holders;
mod memory;
mod reach;
mod record;
mod registered;
mod restore;
#[cfg(test)]
mod tests;
mod threads;

use criu_images::messages::{FdTypes, IoUringEntry};

pub(crate) use self::holders::{Held, find_strangers};
pub(crate) use self::threads::{Thread, of as threads_of};

use super::kind::FileKind;
use crate::sys::uring::Params;

pub(crate) const KIND: FileKind =
    FileKind { types: &[FdTypes::Iouring], dump: || Box::new(dump::Urings), restore: || Box::new(restore::Urings) };

/// IORING_SETUP_*
const CQSIZE: u32 = 1 << 3;
const R_DISABLED: u32 = 1 << 6;
const SQE128: u32 = 1 << 10;
const CQE32: u32 = 1 << 11;
const SINGLE_ISSUER: u32 = 1 << 12;
const NO_SQARRAY: u32 = 1 << 16;

/// Those that are kept: beside the above CLAMP, SUBMIT_ALL, COOP_TASKRUN, TASKRUN_FLAG and DEFER_TASKRUN.
const KEPT: u32 =
    CQSIZE | R_DISABLED | SQE128 | CQE32 | SINGLE_ISSUER | NO_SQARRAY | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 13;

/// The others by their bits.
const REFUSED: &[(u32, &str)] = &[
    (0, "IORING_SETUP_IOPOLL"),
    (1, "IORING_SETUP_SQPOLL"),
    (2, "IORING_SETUP_SQ_AFF"),
    (5, "IORING_SETUP_ATTACH_WQ"),
    (14, "IORING_SETUP_NO_MMAP"),
    (15, "IORING_SETUP_REGISTERED_FD_ONLY"),
    (17, "IORING_SETUP_HYBRID_IOPOLL"),
    (18, "IORING_SETUP_CQE_MIXED"),
];

/// Where the requests begin for mmap(2): IORING_OFF_SQES.
const REQUESTS_AT: u64 = 0x1000_0000;
/// Where the rings begin, both of which are one mapping: IORING_OFF_SQ_RING and IORING_OFF_CQ_RING.
const RINGS_AT: [u64; 2] = [0, 0x800_0000];

/// What the kernel makes at most: IORING_MAX_ENTRIES and IORING_MAX_CQ_ENTRIES.
const MOST_ENTRIES: u32 = 32768;
const MOST_COMPLETIONS: u32 = 2 * MOST_ENTRIES;

/// By one thread: IO_RINGFD_REG_MAX.
const MOST_REGISTERED: u32 = 16;

/// IORING_MAX_FIXED_FILES, and IORING_MAX_REG_BUFFERS.
const MOST_FILES: u32 = 1 << 20;
const MOST_BUFFERS: u32 = 1 << 14;

/// Some ten millions of requests for nothing take a second.
const MOST_NOPS: u32 = 1 << 26;
/// Of what takes a call each, three millions do.
const MOST_SINGLE: u32 = 1 << 23;

const PAGE_BYTES: usize = 4096;

/// Bytes of the mapping of both rings.
fn rings_bytes(p: &Params) -> usize {
    let completion = 16 << u32::from(p.flags & CQE32 != 0);
    let completions_end = p.cq.completions as usize + p.cq_entries as usize * completion;
    let array_end = if p.flags & NO_SQARRAY != 0 { 0 } else { p.sq.array as usize + 4 * p.sq_entries as usize };
    completions_end.max(array_end).next_multiple_of(PAGE_BYTES)
}

fn request_bytes(p: &Params) -> usize {
    64 << u32::from(p.flags & SQE128 != 0)
}

/// Bytes of the mapping of the requests.
fn requests_bytes(p: &Params) -> usize {
    (p.sq_entries as usize * request_bytes(p)).next_multiple_of(PAGE_BYTES)
}

/// From where an instance can be mapped, and how much of it: by the bytes of its rings and of its requests.
pub(super) fn mappings([rings, requests]: [u64; 2]) -> [(u64, u64); 3] {
    let [submission, completion] = RINGS_AT;
    [(submission, rings), (completion, rings), (REQUESTS_AT, requests)]
}

/// How an instance is to be made. The kernel chooses the size of the second ring unless it is told one.
fn params(uring: &IoUringEntry) -> Params {
    let cq_entries = if uring.setup_flags & CQSIZE != 0 { uring.cq_entries } else { 0 };
    Params::new(uring.sq_entries, cq_entries, uring.setup_flags)
}

/// What brings an instance to its counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Steps {
    /// Requests for nothing: each is taken, and gives a completion.
    nops: u32,
    /// Taken without a completion, which tells of failures only. They leave their mark: `drain_disabled`.
    skipped: u32,
    /// Taken without one, for there is no such request: a call each.
    dropped: u32,
    /// Completions that another instance sends (IORING_OP_MSG_RING).
    sent: u32,
}

impl Steps {
    /// # Errors
    /// Why there is no way, in words.
    fn to(uring: &IoUringEntry) -> Result<Steps, String> {
        let (taken, given) = (uring.taken, uring.given);
        let all = taken.min(given);
        let mut steps = Steps { nops: all, sent: given - all, ..Steps::default() };
        if uring.drain_disabled() {
            steps.skipped = taken - all;
            if steps.skipped == 0 && taken > 0 {
                // It has had one.
                steps = Steps { nops: all - 1, skipped: 1, sent: steps.sent + 1, ..steps };
            }
        } else {
            steps.dropped = taken - all;
        }
        let is_far = steps.nops > MOST_NOPS
            || steps.skipped > MOST_NOPS
            || steps.dropped > MOST_SINGLE
            || steps.sent > MOST_SINGLE;
        if is_far {
            return Err(format!("with {taken} requests taken and {given} completions given, too many to count up to"));
        }
        if steps.dropped > 0 && uring.setup_flags & NO_SQARRAY != 0 {
            return Err(format!("with {taken} requests taken, {given} completions given, and IORING_SETUP_NO_SQARRAY"));
        }
        if uring.drain_disabled() && taken == 0 || uring.setup_flags & R_DISABLED != 0 && (taken, given) != (0, 0) {
            return Err("with counts that it cannot have come to".into());
        }
        Ok(steps)
    }
}
