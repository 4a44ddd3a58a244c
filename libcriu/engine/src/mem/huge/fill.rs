//! Files of hugetlbfs cannot be written to: they are filled through a mapping.

use std::os::fd::BorrowedFd;

use criu_images::ImageDir;

use crate::error::{Error, Phase, Result};
use crate::mem::shmem::fill_mapped;
use crate::sys::huge::with_view;

/// As `mem::shmem::fill`.
///
/// # Errors
/// As `mem::shmem::fill`; no huge page is free.
pub(crate) fn fill(images: &ImageDir, shmid: u64, file: BorrowedFd<'_>, size: u64) -> Result<()> {
    if size == 0 {
        return Ok(());
    }
    let failed = |e| Error::os(Phase::Memory, format!("shared memory {shmid}"), "mmap", e);
    with_view(file, size, |mapped| fill_mapped(images, shmid, mapped)).map_err(failed)?
}
