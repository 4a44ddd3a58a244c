//! inotify instances and fanotify groups: which inodes they watch, and for what.
//!
//! The kernel tells inodes and file handles, not paths. `whereabouts` finds the path: by the handle where the filesystem opens
//! such, otherwise by searching directories for the inode; a find counts only if a watch of our own on that path says
//! the same of it. An inode without a name is watched again as the ghost that comes back for it. Where an image has only a
//! handle, as CRIU's may have, the restore opens that.
//!
//! Nothing puts an event into a queue: one that has not been read yet is refused at the dump. What has come into a queue by
//! the restore itself (watches that are made, tasks that open watched files) is taken out before the tasks go on. Watch
//! descriptors have their numbers again, and the next one has the number that it would have had (the kernel does not give the
//! number of a removed watch again before it has given all others).
//!
//! Limits, refused by name: events that wait to be read; an inode whose name is gone and that no task has open; groups for permission
//! events (the dump itself would wait for the stopped listener); marks of mount namespaces.

mod dump;
mod fdinfo;
mod restore;
#[cfg(test)]
mod tests;
mod whereabouts;

use criu_images::messages::{FdTypes, InotifyWdEntry};

use super::kind::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Inotify, FdTypes::Fanotify],
    dump: || Box::<dump::Notifiers>::default(),
    restore: || Box::<restore::Notifiers>::default(),
};

/// Numbers are those of an int.
const HIGHEST_WD: u32 = i32::MAX as u32;
/// Where the kernel cannot be told which number is next it gives one after the other, so that this one takes as many calls.
const MAX_WD_IN_TURN: u32 = 1 << 20;

/// The number that the kernel gives next when these watches have been made in their order.
fn number_after(watches: &[InotifyWdEntry]) -> u32 {
    watches.iter().map(|w| w.wd).max().map_or(1, |highest| highest.saturating_add(1))
}
/// What inotify_add_watch takes: events, IN_EXCL_UNLINK and IN_ONESHOT.
const WATCHABLE: u32 = 0xfff | 0x0400_0000 | 0x8000_0000;
const FAN_MARK_MOUNT: u32 = 0x10;
const FAN_MARK_FILESYSTEM: u32 = 0x100;
const FAN_MARK_IGNORED_MASK: u32 = 0x20;
const FAN_MARK_IGNORE: u32 = 0x400;
