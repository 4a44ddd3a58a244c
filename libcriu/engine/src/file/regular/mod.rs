//! Files that a path leads to: regular files, directories, device nodes without state of their own, anything opened
//! O_PATH. Size, mode and (of mapped executables) the build id are kept, and checked before they are opened again.
//!
//! Limits: paths must lead to the same inode from the engine's root directory; names are UTF-8; a device keeps state
//! unless it is known not to, and is then refused. A reader of /dev/kmsg comes back at its place (`kmsg`); files of /proc of
//! processes that are gone are opened while another process has their pid. Where a file system is read-only, deleted files
//! of it are refused.

mod build_id;
mod dump;
mod kmsg;
mod pressure;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) use dump::{entry, plain};
pub(crate) use restore::open_path;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Reg],
    dump: || Box::<dump::Regular>::default(),
    restore: || Box::<restore::Regular>::default(),
};
