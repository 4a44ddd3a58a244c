//! Files of the kernel's own tmpfs: memfds with their names and seals, and shared anonymous memory, which is such a file
//! without a descriptor. One inode (`memfd.img`) may have many descriptions and mappings; contents are stored as shared
//! memory, `shmid` being the inode's number.
//!
//! Limits: memfds of huge pages are refused; F_SEAL_FUTURE_WRITE is set before mappings are made, so that a writable
//! mapping from before the seal fails to come back.

mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Memfd],
    dump: || Box::<dump::Memfds>::default(),
    restore: || Box::<restore::Memfds>::default(),
};
