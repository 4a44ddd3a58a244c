//! Reads a pagemap and brings the pages it lists into memory.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use criu_images::messages::{PagemapEntry, PagemapHead};
use criu_images::{ImageDir, ImageError, Kind};

use super::flags;
use crate::error::{Error, Phase, Result};
use crate::mem::vma::PAGE_BYTES;
use crate::mem::vma::restore::Layout;
use crate::sys::huge;
use crate::sys::mapping::Mapped;

/// Pages that follow each other in memory and in the pages image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub address: u64,
    /// In bytes.
    pub len: u64,
    /// Where they stand in the pages image, in bytes.
    pub offset: u64,
}

/// The pages of one task.
#[derive(Debug)]
pub struct PageSet {
    /// The name of the pages image. It is opened by whoever reads it: all of them would fill every task's table.
    pub name: String,
    images: Arc<ImageDir>,
    /// Sorted by address; each inside one area.
    pub runs: Vec<Run>,
    /// Those of the vDSO: they are compared, not written.
    pub vdso: Vec<Run>,
}

fn image(e: ImageError) -> Error {
    Error::image(Phase::Load, e)
}

/// Work for more than one thread: below this the start of a thread costs more than it brings.
const PARALLEL_BYTES: u64 = 16 << 20;
/// The longest single read, so that two threads share a large run.
const STRIPE_BYTES: u64 = 8 << 20;
/// Bytes compared at a time: few, for every page of the buffer is a new one in every task.
const COMPARE_BYTES: u64 = 32 << 10;

impl PageSet {
    /// Reads the pagemap `id` and checks it against the layout it belongs to.
    pub fn load(images: &Arc<ImageDir>, kind: Kind, id: u64, layout: &Layout) -> Result<PageSet> {
        let mut reader = images.require(kind, id).map_err(image)?;
        let bad = |why: String| Error::new(Phase::Load, kind.file_name(id), why);
        let head: PagemapHead = reader.entry().map_err(image)?.ok_or_else(|| bad("the image is empty".into()))?;
        let name = Kind::Pages.file_name(head.pages_id.into());
        let size = images.size(&name).map_err(image)?.unwrap_or(0);
        let mut set = PageSet { name, images: Arc::clone(images), runs: Vec::new(), vdso: Vec::new() };
        let (mut offset, mut last) = (0, 0);
        while let Some(e) = reader.entry::<PagemapEntry>().map_err(image)? {
            let len = length(&e).ok_or_else(|| bad(format!("an impossible entry at {:#x}", e.vaddr)))?;
            if e.vaddr % PAGE_BYTES != 0 || e.vaddr < last {
                return Err(bad(format!("the entry at {:#x} is out of order", e.vaddr)));
            }
            last = e.vaddr + len;
            let bits = e.flags.unwrap_or(if e.in_parent() { flags::PARENT } else { flags::PRESENT });
            if bits & flags::PARENT != 0 {
                return Err(bad(format!("the pages at {:#x} are in a parent checkpoint", e.vaddr))
                    .hint("incremental checkpoints are not restored yet"));
            }
            if bits & flags::PRESENT == 0 {
                return Err(bad(format!("the pages at {:#x} were left to a page server", e.vaddr))
                    .hint("lazy pages are not restored yet"));
            }
            if len > size.saturating_sub(offset) {
                return Err(Error::new(
                    Phase::Load,
                    &set.name,
                    format!("it ends at {size}, pages are announced up to {}", offset.saturating_add(len)),
                ));
            }
            set.split(Run { address: e.vaddr, len, offset }, layout).map_err(bad)?;
            offset += len;
        }
        Ok(set)
    }

    /// Cuts a run at the borders of areas.
    fn split(&mut self, mut run: Run, layout: &Layout) -> Result<(), String> {
        while run.len > 0 {
            let part = if let Some(v) = layout.vdso.as_ref().filter(|v| v.contains(&run.address)) {
                let len = run.len.min(v.end - run.address);
                self.vdso.push(Run { len, ..run });
                len
            } else {
                let area = layout.find(run.address).map(|i| &layout.areas[i]).filter(|a| a.has_pages());
                let area = area.ok_or_else(|| format!("a page at {:#x}, where no private area is", run.address))?;
                let len = run.len.min(area.end - run.address);
                self.runs.push(Run { len, ..run });
                len
            };
            run = Run { address: run.address + part, len: run.len - part, offset: run.offset + part };
        }
        Ok(())
    }

    /// The runs inside `start..end`.
    pub fn within(&self, start: u64, end: u64) -> &[Run] {
        let from = self.runs.partition_point(|r| r.address < start);
        let to = self.runs.partition_point(|r| r.address < end);
        &self.runs[from..to]
    }

    /// The directory in which the pages image is.
    pub(crate) fn directory(&self) -> Result<OwnedFd> {
        let fd = rustix::io::fcntl_dupfd_cloexec(self.images.fd(), 0);
        fd.map_err(|e| Error::os(Phase::Memory, "images directory", "dup", e))
    }

    /// The bytes of `runs`, in order; for small sets.
    pub fn read(&self, runs: &[Run]) -> Result<Vec<u8>> {
        use std::os::unix::fs::FileExt;
        let mut bytes = Vec::new();
        if runs.is_empty() {
            return Ok(bytes);
        }
        let file = self.file()?;
        for r in runs {
            let at = bytes.len();
            bytes.resize(at + r.len as usize, 0);
            file.read_exact_at(&mut bytes[at..], r.offset).map_err(|e| self.failed(e))?;
        }
        Ok(bytes)
    }

    /// Fills fresh memory: each run goes to its address plus the displacement of its target.
    pub fn fill(&self, work: &[Placed], targets: &[Mapped]) -> Result<()> {
        if work.is_empty() {
            return Ok(());
        }
        let file = &self.file()?;
        let total: u64 = work.iter().map(|p| p.len).sum();
        if total < PARALLEL_BYTES {
            return fill_in_turn(file, work, targets).map_err(|e| self.failed(e));
        }
        let striped: Vec<Placed> = work.iter().flat_map(|p| pieces(*p, STRIPE_BYTES)).collect();
        let half = striped
            .iter()
            .scan(0, |sum, p| {
                *sum += p.len;
                Some(*sum)
            })
            .position(|s| s >= total / 2);
        let (a, b) = striped.split_at(half.map_or(striped.len(), |h| h + 1));
        let results = std::thread::scope(|s| {
            let other = s.spawn(|| fill_in_turn(file, b, targets));
            (fill_in_turn(file, a, targets), other.join())
        });
        results.0.map_err(|e| self.failed(e))?;
        match results.1 {
            Ok(r) => r.map_err(|e| self.failed(e)),
            Err(_) => Err(Error::new(Phase::Memory, &self.name, "the reading thread panicked")),
        }
    }

    /// Writes only the pages that differ from the inherited ones; returns how many did. Runs that follow each other in the
    /// image are read at once. `targets` are sorted by address; of huge pages, for which there may be none left, all or none are.
    pub fn fill_differing(&self, work: &[Placed], targets: &[Mapped], are_huge: bool) -> Result<u64> {
        use std::os::unix::fs::FileExt;
        if work.is_empty() {
            return Ok(0);
        }
        let file = self.file()?;
        let pieces: Vec<Placed> = work.iter().flat_map(|p| pieces(*p, COMPARE_BYTES)).collect();
        let (mut buffer, mut differing) = (Vec::new(), 0);
        let mut rest = pieces.as_slice();
        while let Some(first) = rest.first() {
            let mut end = first.offset;
            let fits = |p: &&Placed| {
                let follows = p.offset == end && p.offset + p.len - first.offset <= COMPARE_BYTES;
                end = p.offset + p.len;
                follows
            };
            let (batch, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            rest = others;
            let bytes = batch.iter().map(|p| p.len).sum::<u64>() as usize;
            buffer.resize(buffer.len().max(bytes), 0);
            file.read_exact_at(&mut buffer[..bytes], first.offset).map_err(|e| self.failed(e))?;
            for p in batch {
                let new = &buffer[(p.offset - first.offset) as usize..][..p.len as usize];
                let provide = |at| if are_huge { huge::provide(at) } else { Ok(()) };
                let written = Mapped::write_differing(targets, p.address, new, PAGE_BYTES as usize, provide);
                differing += written.map_err(|e| self.failed(e))?;
            }
        }
        Ok(differing)
    }

    /// The pages image.
    pub(crate) fn file(&self) -> Result<File> {
        let file = self.images.open_raw(&self.name).map_err(|e| Error::image(Phase::Memory, e))?;
        file.ok_or_else(|| Error::new(Phase::Memory, &self.name, "missing"))
    }

    pub(crate) fn failed(&self, e: io::Error) -> Error {
        Error::os(Phase::Memory, &self.name, "preadv", e)
    }
}

/// A run with the address at which it is to be written now.
pub type Placed = Run;

fn length(e: &PagemapEntry) -> Option<u64> {
    let pages = e.nr_pages.unwrap_or(e.compat_nr_pages.into());
    let len = pages.checked_mul(PAGE_BYTES).filter(|&n| n > 0)?;
    e.vaddr.checked_add(len).map(|_| len)
}

/// A run in pieces of `bytes` at most.
fn pieces(p: Placed, bytes: u64) -> impl Iterator<Item = Placed> {
    (0..p.len.div_ceil(bytes)).map(move |i| {
        let at = i * bytes;
        Placed { address: p.address + at, len: bytes.min(p.len - at), offset: p.offset + at }
    })
}

/// One call for runs that follow each other in the file.
fn fill_in_turn(file: &File, work: &[Placed], targets: &[Mapped]) -> io::Result<()> {
    let mut i = 0;
    while i < work.len() {
        let first = work[i];
        let (mut end, mut parts) = (first.offset, Vec::new());
        while let Some(p) =
            work.get(i).filter(|p| p.offset == end && (parts.is_empty() || end - first.offset < STRIPE_BYTES))
        {
            parts.push((p.address, p.len));
            end += p.len;
            i += 1;
        }
        Mapped::read_parts(targets, file, first.offset, &parts)?;
    }
    Ok(())
}
