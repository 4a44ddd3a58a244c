//! pidfds: of tasks in the tree, zombies among them, and of processes that are dead and reaped. Dead ones that were of the same
//! process still are.
//!
//! Limits: a process outside, or a thread that is not its process's first, is refused by name.

mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Pidfd],
    dump: || Box::<dump::Pidfds>::default(),
    restore: || Box::<restore::Pidfds>::default(),
};

/// What pidfd_open takes: PIDFD_NONBLOCK and PIDFD_THREAD.
const FLAGS: u32 = (libc::O_NONBLOCK | libc::O_EXCL) as u32;
/// `nspid` of a process that is gone.
const GONE: i32 = -1;
