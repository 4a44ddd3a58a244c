//! Contents of shared objects of huge pages. Their files know no holes (SEEK_DATA), so which pages were touched is asked by a
//! mapping of which untouched ones are refused.

use std::os::fd::{AsFd, BorrowedFd};

use criu_images::{ImageDir, Kind};

use crate::error::{Error, Phase, Result};
use crate::mem::pages::{GoOn, PageTotals, PagesIds, Run, Source, dump_runs, flags};
use crate::mem::vma::PAGE_BYTES;
use crate::sys::huge::touched;

const BUFFER_BYTES: usize = 256 << 10;

/// As `mem::shmem::dump`, for an object with pages of `page_bytes`.
///
/// # Errors
/// A file that cannot be read or written, or what `go_on` says.
pub(crate) fn dump(
    images: &ImageDir,
    shmid: u64,
    file: BorrowedFd<'_>,
    (size, page_bytes): (u64, u64),
    ids: &mut PagesIds,
    go_on: GoOn<'_>,
) -> Result<PageTotals> {
    let failed = |call: &'static str| move |e| Error::os(Phase::Save, format!("shared memory {shmid}"), call, e);
    let pages = match touched(file, size, page_bytes) {
        Ok(pages) => pages,
        Err(e) => {
            log::debug!("shared memory {shmid}: touched pages are told by their contents: {e}");
            written(file, size, page_bytes).map_err(failed("read"))?
        }
    };
    let run = |(at, _): (usize, _)| Run {
        start: at as u64 * page_bytes,
        pages: page_bytes / PAGE_BYTES,
        flags: flags::PRESENT,
        unreadable: false,
    };
    let runs: Vec<Run> = pages.iter().enumerate().filter(|(_, touched)| **touched).map(run).collect();
    dump_runs(images, Kind::ShmemPagemap, shmid, ids, Source::File(file.as_fd()), &runs, go_on)
}

/// Pages that are not all zero. Reading touches none.
fn written(file: BorrowedFd<'_>, size: u64, page_bytes: u64) -> std::io::Result<Vec<bool>> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut pages = Vec::new();
    for start in (0..size).step_by(page_bytes as usize) {
        let (mut at, end, mut is_written) = (start, (start + page_bytes).min(size), false);
        while at < end && !is_written {
            let want = buffer.len().min((end - at) as usize);
            let n = rustix::io::pread(file, &mut buffer[..want], at)?;
            is_written = buffer[..n].iter().any(|b| *b != 0);
            at += if n == 0 { end - at } else { n as u64 };
        }
        pages.push(is_written);
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::huge::touch;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    #[test]
    fn touched_pages_are_told() {
        const PAGE: u64 = 2 << 20;
        let file = memfd_create("huge", MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB);
        let Ok(file) = file else { return eprintln!("skipped: no memfd of huge pages") };
        ftruncate(&file, 4 * PAGE).unwrap();
        if touch(file.as_fd(), PAGE, PAGE, 7).is_err() || touch(file.as_fd(), 3 * PAGE, PAGE, 0).is_err() {
            return eprintln!("skipped: no huge page is free");
        }
        assert_eq!(written(file.as_fd(), 4 * PAGE, PAGE).unwrap(), [false, true, false, false]);
        match touched(file.as_fd(), 4 * PAGE, PAGE) {
            Ok(pages) => assert_eq!(pages, [false, true, false, true]),
            Err(e) => eprintln!("skipped: userfaultfd: {e}"),
        }
    }
}
