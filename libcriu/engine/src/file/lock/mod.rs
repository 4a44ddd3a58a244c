//! File locks of all kinds: POSIX (of a descriptor table), flock and open-file-description locks (of a description), leases.
//! `filelocks.img` names each by a task and one of its descriptors.
//!
//! /proc/PID/fdinfo tells them, through every descriptor of the description that they were made with. They are set again when
//! descriptors are at their numbers and nothing of the file is closed any more: closing would release POSIX locks.
//!
//! A lease that is being broken is taken and broken again, without a word to its owner; its time (lease-break-time) starts anew.
//!
//! A lock of flock(2) outlives its descriptor when the file is mapped (the JVM has one so): /proc/locks tells of it, and the
//! task that took it sets it again through the description that it maps.
//!
//! Limits: without `file_locks` refused, but locks that only a private mapping keeps, of a file that was opened for reading:
//! those are lost (to look for them takes long, and every program has such mappings); what somebody else has locked meanwhile fails the restore.

mod dump;
mod restore;
#[cfg(test)]
mod tests;

pub(crate) use dump::Locks;
pub(crate) use restore::RestoreLocks;

/// Bits of `file_lock_entry.flag`.
const POSIX: u32 = 1;
const FLOCK: u32 = 2;
const OFD: u32 = 4;
const LEASE: u32 = 8;

/// Bit of the `file_lock_entry.type` of a lease: it is being broken, and the rest is what it is to become.
const BREAKING: u32 = 4;

/// For [`crate::parsers`].
pub(super) fn text(line: &str) {
    let _ = dump::Line::parse(line);
}
