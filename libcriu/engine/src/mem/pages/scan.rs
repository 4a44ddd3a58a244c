//! Which pages of an address space have to be kept: those of private areas that were touched and differ from what a fresh
//! mapping would show.

use std::io;
use std::os::fd::AsFd;

use criu_images::messages::VmaEntry;
use rustix::fs::OFlags;

use super::flags;
use crate::mem::vma::{PAGE_BYTES, flags as vma_flags, status};
use crate::proc::ProcDir;
use crate::sys::pagemap::{PageRegion, Wanted, category, pagemap_scan};

/// Pages that follow each other and are kept in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Address, or offset in the object.
    pub start: u64,
    pub pages: u64,
    /// `pagemap_entry.flags`
    pub flags: u32,
    /// The task itself cannot read the area, or process_vm_readv(2) must not: /proc/PID/mem reads it.
    pub unreadable: bool,
}

impl Run {
    pub fn end(&self) -> u64 {
        self.start + self.pages * PAGE_BYTES
    }
}

/// Anonymous pages in memory or swapped out, the shared zero page left aside. The marker of a guard region looks like a page
/// that is swapped out.
const TOUCHED: Wanted = Wanted {
    all_of: 0,
    none_of: category::FILE | category::PFNZERO | category::GUARD,
    any_of: category::PRESENT | category::SWAPPED,
};
/// For kernels before 6.15, which have no guard regions to be found.
const TOUCHED_BEFORE_GUARDS: Wanted = Wanted { none_of: category::FILE | category::PFNZERO, ..TOUCHED };
const GUARDS: Wanted = Wanted { all_of: category::GUARD, none_of: 0, any_of: 0 };
const REGIONS: usize = 2048;

/// Areas all of whose pages are kept, whatever they are.
const KEPT_WHOLE: u32 = status::VDSO | status::AIORING;

/// The runs to keep of the private areas among `vmas`, by address. The vDSO and rings are kept whole.
///
/// # Errors
/// Those of reading /proc/PID/pagemap.
pub fn private_runs(dir: &ProcDir, vmas: &[VmaEntry]) -> io::Result<Vec<Run>> {
    let kept: Vec<&VmaEntry> = vmas.iter().filter(|v| is_kept(v)).collect();
    let (Some(first), Some(last)) = (kept.first(), kept.last()) else { return Ok(Vec::new()) };
    let pagemap = dir.open_at("pagemap", OFlags::RDONLY)?;
    let mut runs = Runs { vmas: &kept, at: 0, done: Vec::new() };
    let (mut start, end) = (first.start, last.end);
    let mut regions = vec![PageRegion::default(); REGIONS];
    let mut wanted = TOUCHED;
    while start < end {
        match pagemap_scan(pagemap.as_fd(), start, end, wanted, &mut regions) {
            Ok((n, walked)) => {
                for r in &regions[..n] {
                    runs.add(r.start, r.end);
                }
                start = walked.max(start + PAGE_BYTES);
            }
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) && wanted.none_of & category::GUARD != 0 => {
                wanted = TOUCHED_BEFORE_GUARDS;
            }
            Err(e) if start == first.start && is_missing(&e) => {
                scan_plainly(&pagemap, &kept, &mut runs)?;
                break;
            }
            Err(e) => return Err(e),
        }
    }
    runs.finish();
    Ok(runs.done)
}

/// The guard regions (MADV_GUARD_INSTALL) within `start..end`; none in a kernel that has no such thing.
///
/// # Errors
/// Those of reading /proc/PID/pagemap.
pub fn guard_regions(dir: &ProcDir, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    regions(dir, start, end, GUARDS)
}

/// The pages within `start..end` that are the process's own, in a kernel that tells of them at once (6.7).
///
/// # Errors
/// Those of reading /proc/PID/pagemap.
pub fn own_pages(dir: &ProcDir, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    regions(dir, start, end, TOUCHED_BEFORE_GUARDS)
}

fn regions(dir: &ProcDir, start: u64, end: u64, wanted: Wanted) -> io::Result<Vec<(u64, u64)>> {
    let pagemap = dir.open_at("pagemap", OFlags::RDONLY)?;
    let mut found = Vec::new();
    let mut regions = vec![PageRegion::default(); REGIONS];
    let mut at = start;
    while at < end {
        match pagemap_scan(pagemap.as_fd(), at, end, wanted, &mut regions) {
            Ok((n, walked)) => {
                found.extend(regions[..n].iter().map(|r| (r.start, r.end)));
                at = walked.max(at + PAGE_BYTES);
            }
            Err(e) if is_missing(&e) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

fn is_missing(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL))
}

fn is_kept(v: &VmaEntry) -> bool {
    let private = v.flags & (vma_flags::PRIVATE | vma_flags::DROPPABLE) != 0;
    private && v.status & (status::VVAR | status::VSYSCALL | status::GUARD) == 0
}

fn run_flags(v: &VmaEntry) -> u32 {
    const AT_ONCE: u32 = vma_flags::LOCKED | vma_flags::HUGETLB;
    let lazy = v.status & status::ANON_PRIVATE != 0 && v.status & KEPT_WHOLE == 0 && v.flags & AT_ONCE == 0;
    if lazy { flags::LAZY | flags::PRESENT } else { flags::PRESENT }
}

/// Cuts what a scan found along the areas, and joins neighbours of the same kind.
struct Runs<'a> {
    vmas: &'a [&'a VmaEntry],
    at: usize,
    done: Vec<Run>,
}

impl Runs<'_> {
    /// Takes the pages `start..end`, which lie behind all taken before.
    fn add(&mut self, start: u64, end: u64) {
        while let Some(v) = self.vmas.get(self.at) {
            if v.start >= end {
                return;
            }
            if v.status & KEPT_WHOLE != 0 {
                self.push(v, v.start, v.end);
                self.at += 1;
                continue;
            }
            let (from, to) = (start.max(v.start), end.min(v.end));
            if from < to {
                self.push(v, from, to);
            }
            if v.end > end {
                return;
            }
            self.at += 1;
        }
    }

    /// Areas behind the last page that was found can still be kept whole.
    fn finish(&mut self) {
        self.add(u64::MAX, u64::MAX);
    }

    fn push(&mut self, v: &VmaEntry, start: u64, end: u64) {
        let run = Run {
            start,
            pages: (end - start) / PAGE_BYTES,
            flags: run_flags(v),
            // A huge page that is shared copy-on-write must not be pinned either: the kernel would take it away from the others.
            unreadable: v.prot & libc::PROT_READ as u32 == 0 || v.flags & vma_flags::HUGETLB != 0,
        };
        match self.done.last_mut() {
            Some(l) if l.end() == run.start && l.flags == run.flags && l.unreadable == run.unreadable => {
                l.pages += run.pages;
            }
            _ => self.done.push(run),
        }
    }
}

/// For kernels before 6.7: one word for each page. The zero page cannot be told from others there, so it is kept.
fn scan_plainly(pagemap: impl AsFd, vmas: &[&VmaEntry], runs: &mut Runs<'_>) -> io::Result<()> {
    const PRESENT_OR_SWAPPED: u64 = 3 << 62;
    const FILE_OR_SHARED: u64 = 1 << 61;
    const GUARD: u64 = 1 << 58;
    let mut words = vec![0u8; 64 << 10];
    for v in vmas {
        let mut at = v.start;
        while at < v.end {
            let want = words.len().min(((v.end - at) / PAGE_BYTES * 8) as usize);
            let n = rustix::io::pread(&pagemap, &mut words[..want], at / PAGE_BYTES * 8)?;
            if n < 8 {
                break;
            }
            for word in words[..n].as_chunks::<8>().0 {
                let word = u64::from_le_bytes(*word);
                if word & PRESENT_OR_SWAPPED != 0 && word & (FILE_OR_SHARED | GUARD) == 0 {
                    runs.add(at, at + PAGE_BYTES);
                }
                at += PAGE_BYTES;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vma(start: u64, end: u64, status: u32, flags: u32) -> VmaEntry {
        VmaEntry { start, end, status, flags, prot: 1, ..VmaEntry::default() }
    }

    #[test]
    fn runs_are_cut_along_areas_and_joined() {
        let anon = status::ANON_PRIVATE;
        let v = [
            vma(0x1000, 0x3000, status::FILE_PRIVATE, vma_flags::PRIVATE),
            vma(0x3000, 0x5000, status::FILE_PRIVATE, vma_flags::PRIVATE),
            vma(0x5000, 0x9000, anon, vma_flags::PRIVATE),
            vma(0xa000, 0xb000, anon | status::VDSO, vma_flags::PRIVATE),
        ];
        let refs: Vec<&VmaEntry> = v.iter().collect();
        let mut r = Runs { vmas: &refs, at: 0, done: Vec::new() };
        r.add(0x2000, 0x6000);
        r.add(0x7000, 0x8000);
        r.finish();
        let seen: Vec<_> = r.done.iter().map(|r| (r.start, r.pages, r.flags)).collect();
        assert_eq!(seen, [(0x2000, 3, 4), (0x5000, 1, 6), (0x7000, 1, 6), (0xa000, 1, 4)]);
    }

    #[test]
    fn own_memory() {
        let mut data = vec![0u8; 40 << 12];
        data[9 << 12] = 1;
        let start = (data.as_ptr() as u64).next_multiple_of(PAGE_BYTES);
        let v = [vma(start, start + (32 << 12), status::ANON_PRIVATE, vma_flags::PRIVATE)];
        let dir = ProcDir::open(std::process::id() as i32).unwrap();
        let scanned = private_runs(&dir, &v).unwrap();
        let refs: Vec<&VmaEntry> = v.iter().collect();
        let mut plain = Runs { vmas: &refs, at: 0, done: Vec::new() };
        scan_plainly(dir.open_at("pagemap", OFlags::RDONLY).unwrap(), &refs, &mut plain).unwrap();
        assert_eq!(scanned, plain.done);
        let touched = data.as_ptr() as u64 + (9 << 12);
        assert!(scanned.iter().any(|r| r.start <= touched && touched < r.end()));
    }
}
