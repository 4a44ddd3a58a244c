//! Which parts of an object of shared memory hold data is asked by SEEK_DATA: for tmpfs these are the touched pages, swapped ones
//! included.

use std::os::fd::{AsFd, BorrowedFd};

use criu_images::{ImageDir, Kind};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::error::{Error, Phase, Result};
use crate::mem::huge;
use crate::mem::pages::{GoOn, PageTotals, PagesIds, Run, Source, dump_runs, flags};
use crate::mem::vma::PAGE_BYTES;
use crate::sys::memory::mapped_page;

/// As [`dump`], for an object whose last page is used behind its end, as the kernel lets whoever has mapped it.
///
/// # Errors
/// As `dump`; the last page cannot be mapped.
pub fn dump_whole_pages(
    images: &ImageDir,
    shmid: u64,
    file: BorrowedFd<'_>,
    (size, huge_page): (u64, Option<u64>),
    ids: &mut PagesIds,
    go_on: GoOn<'_>,
) -> Result<PageTotals> {
    let within = size % PAGE_BYTES;
    if within == 0 || huge_page.is_some() {
        return dump(images, shmid, file, (size, huge_page), ids, go_on);
    }
    let failed = |call: &'static str| move |e| Error::os(Phase::Save, format!("shared memory {shmid}"), call, e);
    let runs = data_runs(file, size).map_err(|e| failed("lseek")(e.into()))?;
    let page = mapped_page(file, size - within).map_err(failed("mmap"))?;
    let source = Source::Tailed { file, end: size, tail: &page[within as usize..] };
    dump_runs(images, Kind::ShmemPagemap, shmid, ids, source, &runs, go_on)
}

/// Saves the first `size` bytes of the object behind `file` (open for reading, its own description: the position is moved)
/// as `pagemap-shmem-SHMID.img`; `huge_page` is the size of its pages, if these are huge. Gives what was written.
///
/// # Errors
/// A file that cannot be read or written, or what `go_on` says.
pub fn dump(
    images: &ImageDir,
    shmid: u64,
    file: BorrowedFd<'_>,
    (size, huge_page): (u64, Option<u64>),
    ids: &mut PagesIds,
    go_on: GoOn<'_>,
) -> Result<PageTotals> {
    if let Some(page_bytes) = huge_page {
        return huge::dump(images, shmid, file, (size, page_bytes), ids, go_on);
    }
    let runs =
        data_runs(file, size).map_err(|e| Error::os(Phase::Save, format!("shared memory {shmid}"), "lseek", e))?;
    dump_runs(images, Kind::ShmemPagemap, shmid, ids, Source::File(file.as_fd()), &runs, go_on)
}

fn data_runs(file: BorrowedFd<'_>, size: u64) -> Result<Vec<Run>, Errno> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < size => start / PAGE_BYTES * PAGE_BYTES,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(e) => return Err(e),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
        let pages = end.saturating_sub(start).div_ceil(PAGE_BYTES);
        if pages == 0 {
            break;
        }
        runs.push(Run { start, pages, flags: flags::PRESENT, unreadable: false });
        at = start + pages * PAGE_BYTES;
    }
    Ok(runs)
}
