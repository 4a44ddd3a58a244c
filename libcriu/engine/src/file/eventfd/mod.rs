//! eventfd: a counter, perhaps counted down one at a time (EFD_SEMAPHORE).

mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) const KIND: FileKind =
    FileKind { types: &[FdTypes::Eventfd], dump: || Box::new(dump::Eventfds), restore: || Box::new(restore::Eventfds) };

/// In an entry's flags, which otherwise are status flags: EFD_SEMAPHORE. No eventfd is anything but O_RDWR (2).
pub(super) const SEMAPHORE: u32 = 1;
