//! Writes the pagemap and the pages of one object.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use criu_images::messages::{PagemapEntry, PagemapHead};
use criu_images::{ImageDir, Kind};

use super::copy::{CopyError, GoOn, Source, copy};
use super::{Run, flags};
use crate::error::{Error, Phase, Result};
use crate::mem::vma::PAGE_BYTES;

/// Hands out the numbers of `pages-N.img`, and those of objects of shared memory, whose pagemaps all have one kind of name.
#[derive(Debug, Default)]
pub struct PagesIds {
    pages: u32,
    shared: HashSet<u64>,
}

impl PagesIds {
    pub fn allocate(&mut self) -> u32 {
        self.pages += 1;
        self.pages
    }

    /// False when another object has this number already.
    pub fn claim_shared(&mut self, shmid: u64) -> bool {
        self.shared.insert(shmid)
    }
}

/// What was written, for the statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageTotals {
    pub pages: u64,
    pub lazy: u64,
}

/// Writes `kind`-`id`.img (a pagemap of a task or of shared memory) and a fresh pages-N.img with the bytes of `runs`.
///
/// # Errors
/// A page that cannot be read, a file that cannot be written, or what `go_on` says.
pub fn dump_runs(
    images: &ImageDir,
    kind: Kind,
    id: u64,
    ids: &mut PagesIds,
    source: Source<'_>,
    runs: &[Run],
    go_on: GoOn<'_>,
) -> Result<PageTotals> {
    let pages_id = ids.allocate();
    let totals = dump_pagemap(images, kind, id, pages_id, runs)?;
    dump_pages(images, pages_id, source, runs, &[], go_on)?;
    Ok(totals)
}

/// The pagemap alone; `pages_id`: the number of the file that the pages belong in.
///
/// # Errors
/// A file that cannot be written.
pub fn dump_pagemap(images: &ImageDir, kind: Kind, id: u64, pages_id: u32, runs: &[Run]) -> Result<PageTotals> {
    let mut pagemap = images.create(kind, id).map_err(|e| Error::image(Phase::Save, e))?;
    pagemap.entry(&PagemapHead { pages_id }).map_err(|e| Error::image(Phase::Save, e))?;
    let mut totals = PageTotals::default();
    for r in runs {
        let entry =
            PagemapEntry { vaddr: r.start, flags: Some(r.flags), nr_pages: Some(r.pages), ..PagemapEntry::default() };
        pagemap.entry(&entry).map_err(|e| Error::image(Phase::Save, e))?;
        totals.pages += r.pages;
        if r.flags & flags::LAZY != 0 {
            totals.lazy += r.pages;
        }
    }
    pagemap.finish().map_err(|e| Error::image(Phase::Save, e))?;
    Ok(totals)
}

/// Bytes that are known already, of pages that are not the same in the source any more.
#[derive(Clone, Debug)]
pub struct Known {
    pub address: u64,
    pub bytes: Vec<u8>,
}

/// The pages of a pagemap: `pages-N.img`. `known` are whole areas.
///
/// # Errors
/// A page that cannot be read, a file that cannot be written.
pub fn dump_pages(
    images: &ImageDir,
    pages_id: u32,
    source: Source<'_>,
    runs: &[Run],
    known: &[Known],
    go_on: GoOn<'_>,
) -> Result<()> {
    let name = Kind::Pages.file_name(u64::from(pages_id));
    let out = images.create_raw(&name).map_err(|e| Error::image(Phase::Save, e))?;
    copy(source, runs, out.as_fd(), go_on).map_err(|e| describe(e, &name))?;
    for part in known {
        if let Some(offset) = offset_of(runs, part.address) {
            out.write_all_at(&part.bytes, offset).map_err(|e| describe(CopyError::Write(e), &name))?;
        }
    }
    Ok(())
}

/// Where the page at `address` stands in the file.
fn offset_of(runs: &[Run], address: u64) -> Option<u64> {
    let at = runs.iter().position(|r| (r.start..r.end()).contains(&address))?;
    Some(runs[..at].iter().map(|r| r.pages * PAGE_BYTES).sum::<u64>() + (address - runs[at].start))
}

fn describe(e: CopyError, pages: &str) -> Error {
    match e {
        CopyError::Read { address, source } => {
            Error::os(Phase::Save, format!("page at {address:#x}"), "reading", source)
        }
        CopyError::Stopped(e) => e,
        CopyError::Write(source) => Error::os(Phase::Save, pages, "pwrite", source),
    }
}
