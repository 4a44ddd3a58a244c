//! The images of single tasks. Nothing in them depends on another task: of many, two threads write them.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use criu_images::messages::{CoreEntry, FsEntry, TaskKobjIdsEntry};
use criu_images::{ImageDir, Kind};
use rustix::fs::OFlags;

use super::save::image;
use crate::error::{Error, Phase, Result};
use crate::mem::mm::{self, Facts};
use crate::mem::pages::{GoOn, PARALLEL_BYTES, PageTotals, Run, Source, dump_pagemap, dump_pages, private_runs};
use crate::mem::vma::PAGE_BYTES;
use crate::parallel;
use crate::proc::ProcDir;

/// By the number of its file.
pub(super) type Core = (u64, CoreEntry);

/// What is to be written of a task.
pub(super) struct Job<'a> {
    pub pid: i32,
    pub cores: Vec<Core>,
    /// `None` for a zombie.
    pub living: Option<Living<'a>>,
}

pub(super) struct Living<'a> {
    pub dir: &'a ProcDir,
    pub ids: TaskKobjIdsEntry,
    pub fs: FsEntry,
    pub mm: &'a mm::Collected,
    pub facts: Facts,
    /// Pages to keep, when they have been looked for already.
    pub runs: Option<&'a [Run]>,
    pub pages_id: u32,
    /// Its pagemap and pages are written later.
    pub is_deferred: bool,
    /// There are other tasks, which may share pages copy-on-write.
    pub kin: bool,
}

/// What was written of a living task.
#[derive(Default)]
pub(super) struct Written {
    /// Of the file that its pages belong in.
    pub pages_id: u32,
    pub runs: Vec<Run>,
    pub totals: PageTotals,
    /// They are many, and not written yet.
    pub lacks_pages: bool,
    /// What pages took.
    pub took: Duration,
}

/// By one thread.
const CORES_AT_A_TIME: usize = 16;

/// What one thread does at a time.
enum Piece<'a> {
    Cores(&'a [Core]),
    Process(&'a Job<'a>),
}

/// Writes all but what is deferred, and pages that are many; tells what of each.
///
/// # Errors
/// An image that cannot be written, memory that cannot be read.
pub(super) fn all(jobs: &[Job<'_>], images: &ImageDir) -> Result<Vec<Option<Written>>> {
    let pieces: Vec<Piece> = jobs
        .iter()
        .flat_map(|job| job.cores.chunks(CORES_AT_A_TIME).map(Piece::Cores).chain([Piece::Process(job)]))
        .collect();
    let written = parallel::map(&pieces, |piece| match piece {
        Piece::Cores(cores) => write_cores(cores, images).map(|()| None),
        Piece::Process(job) => job.write(images).map(Some),
    });
    written.into_iter().filter_map(Result::transpose).collect()
}

/// Writes cores.
///
/// # Errors
/// An image that cannot be written.
pub(super) fn cores(cores: &[Core], images: &ImageDir) -> Result<()> {
    let pieces: Vec<&[Core]> = cores.chunks(CORES_AT_A_TIME).collect();
    parallel::map(&pieces, |piece| write_cores(piece, images)).into_iter().collect()
}

fn write_cores(cores: &[Core], images: &ImageDir) -> Result<()> {
    cores.iter().try_for_each(|(id, core)| images.write_one(Kind::Core, *id, core).map_err(image))
}

impl Job<'_> {
    fn write(&self, images: &ImageDir) -> Result<Option<Written>> {
        let Some(living) = &self.living else { return Ok(None) };
        let failed = |e| Error::os(Phase::Save, "memory", "scanning the pagemap", e).pid(self.pid);
        let id = self.pid as u64;
        images.write_one(Kind::Ids, id, &living.ids).map_err(image)?;
        images.write_one(Kind::Fs, id, &living.fs).map_err(image)?;
        images.write_one(Kind::Mm, id, &living.mm.entry(&living.facts)).map_err(image)?;
        if living.is_deferred {
            return Ok(Some(Written { pages_id: living.pages_id, ..Written::default() }));
        }
        let runs = match living.runs {
            Some(runs) => runs.to_vec(),
            None => private_runs(living.dir, &living.mm.vmas).map_err(failed)?,
        };
        let begin = Instant::now();
        let totals = dump_pagemap(images, Kind::Pagemap, id, living.pages_id, &runs)?;
        let lacks_pages = totals.pages * PAGE_BYTES >= PARALLEL_BYTES;
        let mut written = Written { pages_id: living.pages_id, runs, totals, lacks_pages, took: Duration::ZERO };
        if !lacks_pages {
            // So few are not asked for whether to go on.
            self.pages(images, &written, &mut || Ok(()))?;
        }
        written.took = begin.elapsed();
        Ok(Some(written))
    }

    /// The pages.
    ///
    /// # Errors
    /// As above, and what `go_on` says.
    pub fn pages(&self, images: &ImageDir, written: &Written, go_on: GoOn<'_>) -> Result<()> {
        let Some(living) = &self.living else { return Ok(()) };
        let failed = |e| Error::os(Phase::Save, "memory", "opening /proc/PID/mem", e).pid(self.pid);
        let mem = living.dir.open_at("mem", OFlags::RDONLY).map_err(failed)?;
        let source = Source::Task { pid: living.dir.id(), mem: mem.as_fd(), kin: living.kin };
        dump_pages(images, living.pages_id, source, &written.runs, &[], go_on).map_err(|e| e.or_pid(self.pid))
    }
}
