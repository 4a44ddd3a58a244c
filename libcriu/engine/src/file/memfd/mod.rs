//! Files of the kernel's own tmpfs: memfds with their names and seals, and shared anonymous memory, which is such a file
//! without a descriptor. One inode (`memfd.img`) may have many descriptions and mappings; contents are stored as shared
//! memory, `shmid` being the inode's number.
//!
//! F_SEAL_FUTURE_WRITE forbids writable mappings that are not there yet: such a file is sealed when all has been mapped.

mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) use restore::{HugePages, shown};

/// For memfd_create(2): pages of hugetlbfs. In `memfd_inode_entry.hugetlb_flag`, together with their size.
const MFD_HUGETLB: u32 = libc::MFD_HUGETLB;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Memfd],
    dump: || Box::<dump::Memfds>::default(),
    restore: || Box::<restore::Memfds>::default(),
};

const NS_PER_S: i64 = 1_000_000_000;
