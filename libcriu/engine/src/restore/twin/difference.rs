//! What a child's memory has that its parent's has not, and the other way round.

use std::os::unix::fs::FileExt;

use criu_pie::abi::restorer::{Load, Range};

use super::Difference;
use crate::error::Result;
use crate::mem::pages::restore::{PageSet, Run};
use crate::mem::vma::PAGE_BYTES;
use crate::mem::vma::restore::{Area, Backing};
use crate::restore::checkpoint::Alive;

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
/// Read at a time.
const CHUNK_BYTES: u64 = 64 << 10;

/// A parent's memory, with its contents.
pub(super) struct Parent<'a> {
    areas: &'a [Area],
    runs: &'a [Run],
    /// Of all runs, one behind the other.
    contents: Vec<u8>,
}

impl<'a> Parent<'a> {
    pub fn read(alive: &'a Alive) -> Result<Parent<'a>> {
        let runs = &alive.pages.runs;
        Ok(Parent { areas: &alive.layout.areas, runs, contents: alive.pages.read(runs)? })
    }

    /// `None` when the child has something that is not made of its parent's memory.
    pub fn difference(&self, child: &Alive) -> Result<Option<Difference>> {
        let areas = &child.layout.areas;
        let Some((unmap, rooms)) = layout(self.areas, areas) else { return Ok(None) };
        let (loads, same) = self.loads(&child.pages)?;
        let is_writable = |l: &Load| {
            let area = areas[..areas.partition_point(|a| a.start <= l.address)].last();
            area.is_some_and(|a| a.prot & READ_WRITE == READ_WRITE)
        };
        if !loads.iter().all(is_writable) {
            return Ok(None);
        }
        let ranges = |runs: &[Run]| runs.iter().map(|r| (r.address, r.address + r.len)).collect::<Vec<_>>();
        let kept = intersection(&ranges(self.runs), &areas.iter().map(|a| (a.start, a.end)).collect::<Vec<_>>());
        let discard = without(&kept, &ranges(&child.pages.runs)).into_iter().map(range).collect();
        Ok(Some(Difference { unmap, rooms, discard, loads, same }))
    }

    /// The child's pages that are not the parent's, and how many are.
    fn loads(&self, pages: &PageSet) -> Result<(Vec<Load>, u64)> {
        let (mut loads, mut same): (Vec<Load>, u64) = (Vec::new(), 0);
        let mut buffer = Vec::new();
        let file = if pages.runs.is_empty() { None } else { Some(pages.file()?) };
        let mut theirs = Cursor { runs: self.runs, run: 0, before: 0 };
        let mut rest = pages.runs.as_slice();
        while let (Some(first), Some(file)) = (rest.first(), &file) {
            // As many as stand one behind the other in the image.
            let mut end = first.offset;
            let fits = |r: &&Run| {
                let follows =
                    r.offset == end && (end == first.offset || r.offset + r.len - first.offset <= CHUNK_BYTES);
                end = if follows { r.offset + r.len } else { end };
                follows
            };
            let (batch, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            rest = others;
            buffer.resize(batch.iter().map(|r| r.len).sum::<u64>() as usize, 0);
            file.read_exact_at(&mut buffer, first.offset).map_err(|e| pages.failed(e))?;
            for run in batch {
                let own = &buffer[(run.offset - first.offset) as usize..][..run.len as usize];
                for (i, page) in own.chunks(PAGE_BYTES as usize).enumerate() {
                    let at = i as u64 * PAGE_BYTES;
                    let (address, offset) = (run.address + at, run.offset + at);
                    if theirs.page(address).is_some_and(|p| self.contents[p as usize..][..page.len()] == *page) {
                        same += 1;
                        continue;
                    }
                    match loads.last_mut().filter(|l| (l.address + l.len, l.offset + l.len) == (address, offset)) {
                        Some(last) => last.len += PAGE_BYTES,
                        None => loads.push(Load { address, len: PAGE_BYTES, offset }),
                    }
                }
            }
        }
        Ok((loads, same))
    }
}

/// Goes through runs as addresses ascend.
struct Cursor<'a> {
    runs: &'a [Run],
    run: usize,
    /// Bytes of the runs before.
    before: u64,
}

impl Cursor<'_> {
    /// Where the page stands among the contents of all runs.
    fn page(&mut self, address: u64) -> Option<u64> {
        while let Some(run) = self.runs.get(self.run).filter(|r| r.address + r.len <= address) {
            self.before += run.len;
            self.run += 1;
        }
        let run = self.runs.get(self.run).filter(|r| r.address <= address)?;
        Some(self.before + address - run.address)
    }
}

/// What of the parent's goes, and what is new; `None` when a fork does not lead there.
fn layout(parents: &[Area], areas: &[Area]) -> Option<(Vec<Range>, Vec<Range>)> {
    let (mut inherited, mut rooms): (Vec<(u64, u64)>, _) = (Vec::new(), Vec::new());
    for area in areas {
        let first = parents.partition_point(|p| p.end <= area.start);
        let there = parents[first..].iter().take_while(|p| p.start < area.end);
        let mut at = area.start;
        let mut gap = |from: u64, to: u64| {
            let is_room = area.backing == Backing::Anonymous
                && (area.flags, area.advice, area.locked, area.protection_key) == (0, 0, false, 0)
                && area.prot == READ_WRITE;
            if from < to && is_room {
                rooms.push(Range { start: from, len: to - from });
            }
            from >= to || is_room
        };
        for p in there {
            if !is_inherited(p, area) || !gap(at, p.start) {
                return None;
            }
            inherited.push((p.start.max(area.start), p.end.min(area.end)));
            at = p.end.min(area.end);
        }
        if !gap(at, area.end) {
            return None;
        }
    }
    let all: Vec<(u64, u64)> = parents.iter().map(|p| (p.start, p.end)).collect();
    Some((without(&all, &inherited).into_iter().map(range).collect(), rooms))
}

/// Is what a fork leaves of `parent` this area, where both are?
fn is_inherited(parent: &Area, area: &Area) -> bool {
    const BY_FORK: u64 = 1 << libc::MADV_DONTFORK | 1 << libc::MADV_WIPEONFORK;
    const NOT_PLAIN: i32 = libc::MAP_HUGETLB | libc::MAP_DROPPABLE;
    let has_same_view = match area.backing {
        Backing::Anonymous => true,
        Backing::SharedAnonymous { .. } | Backing::File { .. } => {
            area.offset.wrapping_sub(area.start) == parent.offset.wrapping_sub(parent.start)
        }
        Backing::SysV { .. } | Backing::AioRing { .. } => false,
    };
    let shape = |a: &Area| (a.prot, a.flags, a.backing, a.advice);
    shape(area) == shape(parent)
        && has_same_view
        && area.flags & NOT_PLAIN == 0
        && area.advice & BY_FORK == 0
        && !(area.locked || parent.locked)
        && (area.protection_key, parent.protection_key) == (0, 0)
}

fn range((start, end): (u64, u64)) -> Range {
    Range { start, len: end - start }
}

/// What of `all` is not in `other`; both ascend and do not overlap. Neighbours are joined.
fn without(all: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left: Vec<(u64, u64)> = Vec::new();
    let mut add = |start: u64, end: u64| match left.last_mut().filter(|l| l.1 == start) {
        _ if start >= end => {}
        Some(last) => last.1 = end,
        None => left.push((start, end)),
    };
    for &(start, end) in all {
        let mut at = start;
        let first = other.partition_point(|o| o.1 <= start);
        for &(from, to) in other[first..].iter().take_while(|o| o.0 < end) {
            add(at, from);
            at = to;
        }
        add(at, end);
    }
    left
}

/// What is in both; both ascend and do not overlap.
fn intersection(all: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let part = |&(start, end): &(u64, u64)| {
        let first = other.partition_point(|o| o.1 <= start);
        let there = other[first..].iter().take_while(move |o| o.0 < end);
        there.map(move |o| (o.0.max(start), o.1.min(end)))
    };
    all.iter().flat_map(part).collect()
}
