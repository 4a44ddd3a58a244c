//! inotify instances and fanotify groups: which inodes they watch, and for what.
//!
//! The kernel tells inodes and file handles, not paths. `whereabouts` finds the path: by the handle where the filesystem opens
//! such, otherwise by searching directories for the inode; a find counts only if a watch of our own on that path says
//! the same of it.
//!
//! Nothing puts an event into a queue: one that has not been read yet is refused at the dump. What has come into a queue by
//! the restore itself (watches that are made, tasks that open watched files) is taken out before the tasks go on. Watch
//! descriptors have their numbers again.
//!
//! Limits, refused by name: events that wait to be read; an inode whose name is gone; groups for permission events (the dump itself would wait for the
//! stopped listener); marks of mount namespaces; watch descriptors beyond `MAX_WD`.

mod dump;
mod fdinfo;
mod restore;
#[cfg(test)]
mod tests;
mod whereabouts;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Inotify, FdTypes::Fanotify],
    dump: || Box::<dump::Notifiers>::default(),
    restore: || Box::<restore::Notifiers>::default(),
};

/// The kernel gives numbers one after the other: a watch with this number takes as many calls.
const MAX_WD: u32 = 1 << 20;
/// What inotify_add_watch takes: events, IN_EXCL_UNLINK and IN_ONESHOT.
const WATCHABLE: u32 = 0xfff | 0x0400_0000 | 0x8000_0000;
const FAN_MARK_MOUNT: u32 = 0x10;
const FAN_MARK_FILESYSTEM: u32 = 0x100;
const FAN_MARK_IGNORED_MASK: u32 = 0x20;
const FAN_MARK_IGNORE: u32 = 0x400;
