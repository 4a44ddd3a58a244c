//! timerfd: clock, what is left, interval, and expirations not yet read.
//!
//! What is left at the dump is left after the restore. A timer set to an absolute time of a settable clock keeps that
//! time instead, in a field of our own; CRIU's images, and CRIU with ours, count what was left from the restore on.

mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::{FdTypes, TimerfdEntry};

use super::kind::FileKind;

pub(crate) const KIND: FileKind =
    FileKind { types: &[FdTypes::Timerfd], dump: || Box::new(dump::Timerfds), restore: || Box::new(restore::Timerfds) };

pub(super) const ABSTIME: u32 = 1;
pub(super) const NSEC: u64 = 1_000_000_000;

/// Clocks that somebody may set: CLOCK_REALTIME, CLOCK_REALTIME_ALARM.
pub(super) fn is_settable(clockid: u32) -> bool {
    matches!(clockid, 0 | 8)
}

/// Has a periodic timer expired, and not been set anew yet? One that is not armed has no unread expirations.
pub(super) fn awaits_a_look(tfd: &TimerfdEntry) -> bool {
    tfd.ticks > 0 && (tfd.vsec, tfd.vnsec) == (0, 0) && (tfd.isec, tfd.insec) != (0, 0)
}

/// For [`crate::parsers`].
pub(super) fn text(info: &super::fdinfo::FdInfo) {
    let _ = dump::parse(info);
}
