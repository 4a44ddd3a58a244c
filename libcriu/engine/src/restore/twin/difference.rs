//! What a child's memory has that its parent's has not, and the other way round.

use std::os::unix::fs::FileExt;

use criu_pie::abi::restorer::{Load, Range};

use super::{Common, Difference};
use crate::error::Result;
use crate::mem::pages::restore::{PageSet, Run};
use crate::mem::vma::PAGE_BYTES;
use crate::mem::vma::restore::{Area, Backing};
use crate::restore::checkpoint::Alive;

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
/// Read at a time.
const CHUNK_BYTES: u64 = 64 << 10;

/// A parent's memory, as its children find it.
pub(super) struct Parent<'a> {
    areas: &'a [Area],
    /// Its pages, and where each stands among the contents.
    pages: Vec<(u64, usize)>,
    contents: Vec<u8>,
}

impl<'a> Parent<'a> {
    pub fn read(alive: &'a Alive) -> Result<Parent<'a>> {
        let runs = &alive.pages.runs;
        let pages = runs.iter().flat_map(|r| (r.address..r.address + r.len).step_by(PAGE_BYTES as usize));
        let pages = pages.enumerate().map(|(i, address)| (address, i * PAGE_BYTES as usize)).collect();
        Ok(Parent { areas: &alive.layout.areas, pages, contents: alive.pages.read(runs)? })
    }

    /// Puts pages of the child `model` in the places of its own, where it has memory.
    pub fn take_over(&mut self, model: usize, loads: Vec<Load>, child: &Alive, own: &Alive) -> Result<Option<Common>> {
        let is_there = |l: &Load| {
            let area = self.areas[..self.areas.partition_point(|a| a.start <= l.address)].last();
            area.is_some_and(|a| l.address + l.len <= a.end)
        };
        let loads: Vec<Load> = loads.into_iter().filter(is_there).collect();
        let mut common = Common { model, loads: Vec::new(), own: Vec::new(), discard: Vec::new() };
        for load in loads {
            let bytes = child.pages.read(&[Run { address: load.address, len: load.len, offset: load.offset }])?;
            for (i, page) in bytes.chunks(PAGE_BYTES as usize).enumerate() {
                let address = load.address + i as u64 * PAGE_BYTES;
                let (at, old) = (self.contents.len(), self.pages.partition_point(|p| p.0 < address));
                self.contents.extend_from_slice(page);
                match self.pages.get_mut(old).filter(|p| p.0 == address) {
                    Some(there) => {
                        there.1 = at;
                        let run = &own.pages.runs[own.pages.runs.partition_point(|r| r.address + r.len <= address)];
                        add(&mut common.own, address, run.offset + address - run.address);
                    }
                    None => {
                        self.pages.insert(old, (address, at));
                        common.discard.push(Range { start: address, len: PAGE_BYTES });
                    }
                }
            }
            common.loads.push(load);
        }
        Ok((!common.loads.is_empty()).then_some(common))
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
        let own: Vec<(u64, u64)> = child.pages.runs.iter().map(|r| (r.address, r.address + r.len)).collect();
        let pages: Vec<(u64, u64)> = self.pages.iter().map(|p| (p.0, p.0 + PAGE_BYTES)).collect();
        let kept = intersection(&pages, &areas.iter().map(|a| (a.start, a.end)).collect::<Vec<_>>());
        let discard = without(&kept, &own).into_iter().map(range).collect();
        Ok(Some(Difference { unmap, rooms, discard, loads, same }))
    }

    /// The child's pages that are not the parent's, and how many are.
    fn loads(&self, pages: &PageSet) -> Result<(Vec<Load>, u64)> {
        let (mut loads, mut same) = (Vec::new(), 0);
        let mut buffer = Vec::new();
        let file = if pages.runs.is_empty() { None } else { Some(pages.file()?) };
        let mut theirs = self.pages.iter().copied().peekable();
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
                    while theirs.next_if(|p| p.0 < run.address + at).is_some() {}
                    let there = theirs.next_if(|p| p.0 == run.address + at);
                    if there.is_some_and(|(_, p)| self.contents[p..][..page.len()] == *page) {
                        same += 1;
                    } else {
                        add(&mut loads, run.address + at, run.offset + at);
                    }
                }
            }
        }
        Ok((loads, same))
    }
}

/// Adds a page, to the last load if it follows that.
fn add(loads: &mut Vec<Load>, address: u64, offset: u64) {
    match loads.last_mut().filter(|l| (l.address + l.len, l.offset + l.len) == (address, offset)) {
        Some(last) => last.len += PAGE_BYTES,
        None => loads.push(Load { address, len: PAGE_BYTES, offset }),
    }
}

/// What of the parent's goes, and what is new; `None` when a fork does not lead there. An area is a part of one of the parent's or
/// of none: where new memory follows inherited, the kernel keeps them apart or does not.
fn layout(parents: &[Area], areas: &[Area]) -> Option<(Vec<Range>, Vec<Range>)> {
    let (mut inherited, mut rooms) = (Vec::new(), Vec::new());
    for area in areas {
        let first = parents.partition_point(|p| p.end <= area.start);
        match parents.get(first).filter(|p| p.start < area.end) {
            Some(p) if p.start <= area.start && area.end <= p.end && is_inherited(p, area) => {
                inherited.push((area.start, area.end));
            }
            None if is_plain(area) => rooms.push(range((area.start, area.end))),
            _ => return None,
        }
    }
    let all: Vec<(u64, u64)> = parents.iter().map(|p| (p.start, p.end)).collect();
    Some((without(&all, &inherited).into_iter().map(range).collect(), rooms))
}

/// Does mapping anonymous memory make this area?
fn is_plain(area: &Area) -> bool {
    area.backing == Backing::Anonymous
        && (area.flags, area.advice, area.locked, area.protection_key) == (0, 0, false, 0)
        && area.prot == READ_WRITE
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
        Backing::SysV { .. } | Backing::AioRing { .. } | Backing::Uring { .. } => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn area(start: u64, end: u64) -> Area {
        Area::anonymous(start * PAGE_BYTES, end * PAGE_BYTES)
    }

    fn pages(ranges: &[(u64, u64)]) -> Vec<Range> {
        ranges.iter().map(|&(a, b)| range((a * PAGE_BYTES, b * PAGE_BYTES))).collect()
    }

    #[test]
    fn a_smaller_and_another_area() {
        let parent = [area(1, 3), area(5, 9), area(20, 22)];
        assert_eq!(layout(&parent, &parent), Some((vec![], vec![])));
        let child = [area(1, 2), area(5, 9), area(9, 12), area(30, 31)];
        assert_eq!(layout(&parent, &child), Some((pages(&[(2, 3), (20, 22)]), pages(&[(9, 12), (30, 31)]))));
        assert_eq!(layout(&parent, &[area(5, 12)]), None);
        assert_eq!(layout(&parent, &[area(4, 9)]), None);
        assert_eq!(layout(&[], &[]), Some((vec![], vec![])));
    }

    #[test]
    fn what_a_fork_does_not_give() {
        let parent = [area(1, 3)];
        let is_made = |child: Area| layout(&parent, &[child]).is_some();
        assert!(is_made(area(1, 3)));
        assert!(!is_made(Area { prot: libc::PROT_READ, ..area(1, 3) }));
        assert!(!is_made(Area { prot: libc::PROT_READ, ..area(7, 8) }));
        assert!(!is_made(Area { locked: true, ..area(1, 3) }));
        assert!(!is_made(Area { protection_key: 1, ..area(1, 3) }));
        assert!(!is_made(Area { flags: libc::MAP_GROWSDOWN, ..area(0, 3) }));
        let wiped = Area { advice: 1 << libc::MADV_WIPEONFORK, ..area(1, 3) };
        assert!(layout(std::slice::from_ref(&wiped), std::slice::from_ref(&wiped)).is_none());
        let file = |offset| Area { offset, backing: Backing::File { id: 1, flags: 0, shared: true }, ..area(1, 3) };
        assert!(layout(&[file(0)], &[file(0)]).is_some());
        assert!(layout(&[file(0)], &[file(PAGE_BYTES)]).is_none());
        let segment = Area { backing: Backing::SysV { id: 1, writable: true }, ..area(1, 3) };
        assert!(layout(std::slice::from_ref(&segment), std::slice::from_ref(&segment)).is_none());
    }

    #[test]
    fn ranges_without_and_in_others() {
        assert_eq!(without(&[(0, 10)], &[]), [(0, 10)]);
        assert_eq!(without(&[(0, 4), (4, 10)], &[(2, 3), (6, 12)]), [(0, 2), (3, 6)]);
        assert_eq!(without(&[(2, 3)], &[(0, 10)]), []);
        assert_eq!(intersection(&[(0, 4), (6, 9)], &[(2, 7), (8, 20)]), [(2, 4), (6, 7), (8, 9)]);
    }

    #[test]
    fn loads_that_follow_each_other_are_one() {
        let mut loads = Vec::new();
        for (address, offset) in [(0, 0), (PAGE_BYTES, PAGE_BYTES), (3 * PAGE_BYTES, 2 * PAGE_BYTES)] {
            add(&mut loads, address, offset);
        }
        let expected = [(0, 2 * PAGE_BYTES, 0), (3 * PAGE_BYTES, PAGE_BYTES, 2 * PAGE_BYTES)];
        assert_eq!(loads, expected.map(|(address, len, offset)| Load { address, len, offset }));
    }
}
