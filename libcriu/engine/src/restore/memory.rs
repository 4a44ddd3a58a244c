//! Memory of one task, built while it is still an ordinary process: every area is mapped where it will be, or, when
//! something of this program is there, at another place from which the restorer moves it. Pages are filled in; then the
//! children are forked and inherit them; then areas get what would be in the way of that (`settle`).

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use criu_images::messages::AreaPolicyEntry;

use super::checkpoint::Alive;
use super::place::{Rooms, map};
use super::world::World;
use crate::error::{Error, Phase, Result};
use crate::mem::aio::restore::Ring;
use crate::mem::pages::restore::{Placed, Run};
use crate::mem::policy::restore::{Policies, of_inherited};
use crate::mem::vma::placement::{Space, own_mappings};
use crate::mem::vma::restore::{Area, Backing};
use crate::mem::vma::{ADVICE, PAGE_BYTES};
use crate::sys::mapping::{Mapped, Source, allocate_key, free_key, unmap_inherited};
use crate::sys::spawn::prctl;

/// Linux 6.4
const PR_SET_MEMORY_MERGE: i32 = 67;
pub(super) const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// One area of the image as it is mapped now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedArea {
    pub mapped: Mapped,
    /// Its protection for the time being.
    pub prot: i32,
    /// It holds pages inherited from the parent.
    pub(super) inherited: bool,
}

/// What a child starts with: the index of its parent and where the parent's areas are.
#[derive(Debug)]
pub(crate) struct Inheritance<'a> {
    pub areas: &'a [Area],
    pub pages: &'a crate::mem::pages::restore::PageSet,
    pub placed: &'a [PlacedArea],
    pub policies: &'a [AreaPolicyEntry],
}

/// A task's memory under construction.
#[derive(Debug)]
pub(crate) struct Memory {
    /// One for each area of the layout.
    pub placed: Vec<PlacedArea>,

    /// Taken now or in the final layout: where nothing temporary may go.
    pub space: Space,
}

pub(super) fn failed<'a>(area: &'a Area, call: &'static str) -> impl FnOnce(std::io::Error) -> Error + use<'a> {
    move |e| {
        let taken = e.raw_os_error() == Some(libc::EEXIST);
        let error = Error::os(Phase::Memory, area.name(), call, e);
        if taken { error.errno(libc::EEXIST) } else { error }
    }
}

impl Memory {
    /// Maps and fills the areas of a task.
    pub fn build(world: &mut World, alive: &Alive, inheritance: Option<&Inheritance<'_>>) -> Result<Memory> {
        let areas = &alive.layout.areas;
        let mut placed: Vec<Option<PlacedArea>> = vec![None; areas.len()];
        let mut rooms = Rooms::new(world, alive);
        if let Some(from) = inheritance {
            inherit(alive, from, &mut placed)?;
            for place in placed.iter().flatten() {
                rooms.take(place.mapped);
            }
        }
        let mut open = HashMap::new();
        let mut next = 0;
        while let Some(area) = areas.get(next) {
            if placed[next].is_some() {
                next += 1;
                continue;
            }
            let group = group(alive, &placed, next);
            let whole = Area { end: areas[next + group - 1].end, ..area.clone() };
            let place = rooms.place(&whole, |at| map(world, &mut open, &whole, at, fills(alive, area)))?;
            for (area, placed) in areas[next..].iter().zip(&mut placed[next..]).take(group) {
                *placed = Some(PlacedArea { mapped: place.mapped.part(area.start - whole.start, area.len()), ..place });
            }
            next += group;
        }
        let placed: Vec<PlacedArea> = placed.into_iter().flatten().collect();
        let memory = Memory { placed, space: rooms.space };
        memory.bind(alive, inheritance)?;
        memory.fill(world, alive, inheritance)?;
        Ok(memory)
    }

    /// Maps `len` bytes of the task's own, for the time being or for good, where there is room; agreeing with `like` modulo
    /// the size of a huge page.
    pub fn reserve(&mut self, len: u64, like: u64) -> Result<Option<Mapped>> {
        let map = |at| Mapped::map(at, len, READ_WRITE, libc::MAP_PRIVATE, Source::Anonymous);
        let failed = |e| Error::os(Phase::Memory, format!("{len} bytes of room"), "mmap", e);
        let Some(at) = self.space.find(len, like) else { return Ok(None) };
        match map(at) {
            // This process has mapped something there since.
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {
                for own in own_mappings().map_err(|e| Error::os(Phase::Memory, "/proc/self/maps", "read", e))? {
                    self.space.take(own.range);
                }
                let Some(at) = self.space.find(len, like) else { return Ok(None) };
                map(at).map(Some).map_err(failed)
            }
            other => other.map(Some).map_err(failed),
        }
    }

    /// Gives areas their memory policies.
    fn bind(&self, alive: &Alive, inheritance: Option<&Inheritance<'_>>) -> Result<()> {
        let (own, parents) = (&alive.mm.policies, inheritance.map_or(&[][..], |from| from.policies));
        if own.is_empty() && parents.is_empty() {
            return Ok(());
        }
        let (own, parents, none) = (Policies::new(own), Policies::new(parents), Policies::default());
        for (area, place) in alive.layout.areas.iter().zip(&self.placed) {
            let parents = if place.inherited { &parents } else { &none };
            if let Some(policy) = of_inherited(parents, &own, area) {
                place.mapped.bind(policy.mode, &policy.nodes).map_err(failed(area, "mbind"))?;
                if let Some(node) = policy.home_node {
                    place.mapped.settle(node).map_err(failed(area, "set_mempolicy_home_node"))?;
                }
            }
        }
        Ok(())
    }

    fn fill(&self, world: &World, alive: &Alive, inheritance: Option<&Inheritance<'_>>) -> Result<()> {
        let counts = world.control.counts();
        let (mut work, mut targets, mut pages) = (Vec::new(), Vec::new(), 0);
        // Of ordinary pages, and of huge ones.
        let mut inherited = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        for (area, place) in alive.layout.areas.iter().zip(&self.placed) {
            let runs = alive.pages.within(area.start, area.end);
            let shift = |r: &Run| Placed { address: r.address - area.start + place.mapped.start(), ..*r };
            if matches!(area.backing, Backing::AioRing { .. }) {
                // When it is made.
            } else if place.inherited {
                if !runs.is_empty() {
                    let (work, targets) = &mut inherited[usize::from(area.huge_page().is_some())];
                    work.extend(runs.iter().map(shift));
                    targets.push(place.mapped);
                }
                if let Some(from) = inheritance {
                    discard(area, place, from.pages.within(area.start, area.end), runs)?;
                }
            } else if !runs.is_empty() {
                work.extend(runs.iter().map(shift));
                targets.push(place.mapped);
                pages += runs.iter().map(|r| r.len / PAGE_BYTES).sum::<u64>();
            }
        }
        for (are_huge, (work, mut targets)) in [false, true].into_iter().zip(inherited) {
            targets.sort_by_key(Mapped::start);
            let compared: u64 = work.iter().map(|p: &Placed| p.len / PAGE_BYTES).sum();
            let differing = alive.pages.fill_differing(&work, &targets, are_huge)?;
            counts.pages_compared.fetch_add(compared, Ordering::Relaxed);
            counts.pages_skipped_cow.fetch_add(compared - differing, Ordering::Relaxed);
            pages += differing;
        }
        targets.sort_by_key(Mapped::start);
        alive.pages.fill(&work, &targets)?;
        counts.pages_restored.fetch_add(pages, Ordering::Relaxed);
        Ok(())
    }

    /// After the children were forked: rings, protections, advice, locks, guards.
    pub fn settle(&mut self, alive: &Alive) -> Result<()> {
        self.make_rings(alive)?;
        let keys = Keys::allocate(alive)?;
        self.advise(alive)?;
        for (area, place) in alive.layout.areas.iter().zip(&mut self.placed) {
            if area.protection_key != 0 {
                let protected = place.mapped.protect_by_key(area.prot, area.protection_key);
                protected.map_err(failed(area, "pkey_mprotect"))?;
                place.prot = area.prot;
            }
            if place.prot != area.prot && !area.is_mapped_last() {
                place.mapped.protect(area.prot).map_err(failed(area, "mprotect"))?;
                place.prot = area.prot;
            }
            if area.locked && !area.is_mapped_last() {
                place.mapped.lock(area.lock_on_fault).map_err(failed(area, "mlock2"))?;
            }
        }
        for guard in &alive.layout.guards {
            self.guard(alive, guard.start, guard.end)?;
        }
        keys.keep()
    }

    /// Contexts of asynchronous I/O, of which a child would have inherited a view.
    fn make_rings(&mut self, alive: &Alive) -> Result<()> {
        let mut rings = Vec::new();
        for (area, place) in alive.layout.areas.iter().zip(&mut self.placed) {
            if let Backing::AioRing { requests } = area.backing {
                let saved = alive.pages.read(alive.pages.within(area.start, area.end))?;
                rings.push(Ring::new(area, requests, place.mapped, saved)?);
                place.prot = READ_WRITE;
            }
        }
        rings.sort_by_key(Ring::number);
        rings.iter().try_for_each(Ring::make)
    }

    /// Each advice is given to neighbours by one call.
    fn advise(&self, alive: &Alive) -> Result<()> {
        let areas = &alive.layout.areas;
        let follows = |i: usize| {
            let (before, place) = (&self.placed[i - 1].mapped, &self.placed[i].mapped);
            before.start() + before.len() == place.start()
        };
        for (_, advice) in ADVICE {
            let is_given = |i: usize| areas[i].advice >> advice & 1 == 1;
            let mut next = 0;
            while next < areas.len() {
                if !is_given(next) {
                    next += 1;
                    continue;
                }
                let first = next;
                next += 1;
                while next < areas.len() && is_given(next) && follows(next) {
                    next += 1;
                }
                let run = self.placed[first..next].iter().map(|p| p.mapped);
                let run = run.reduce(|whole, part| whole.joined(&part)).unwrap_or(self.placed[first].mapped);
                run.advise(*advice).map_err(failed(&areas[first], "madvise"))?;
            }
        }
        Ok(())
    }

    /// Lets the kernel merge pages of all areas, those to come among them, but of those that have said no since.
    pub fn merge(&self, alive: &Alive) -> Result<()> {
        prctl(PR_SET_MEMORY_MERGE, 1)
            .map_err(|e| Error::os(Phase::Memory, "merging of memory", "prctl PR_SET_MEMORY_MERGE", e))?;
        for (area, place) in alive.layout.areas.iter().zip(&self.placed) {
            if area.is_private() && area.advice >> libc::MADV_MERGEABLE & 1 == 0 {
                place.mapped.advise(libc::MADV_UNMERGEABLE).map_err(failed(area, "madvise"))?;
            }
        }
        Ok(())
    }

    /// A guard region may reach over several areas.
    fn guard(&self, alive: &Alive, mut start: u64, end: u64) -> Result<()> {
        const MADV_GUARD_INSTALL: i32 = 102;
        while start < end {
            let i = alive.layout.find(start).ok_or_else(|| {
                Error::new(Phase::Memory, format!("guard region {start:#x}-{end:#x}"), "there is no area")
            })?;
            let (area, place) = (&alive.layout.areas[i], &self.placed[i]);
            let stop = end.min(area.end);
            let at = start - area.start + place.mapped.start();
            place.mapped.advise_part(at, stop - start, MADV_GUARD_INSTALL).map_err(failed(area, "madvise"))?;
            start = stop;
        }
        Ok(())
    }
}

/// Memory protection keys while areas get theirs: an area can have one that its process has given back since.
struct Keys {
    surplus: Vec<u32>,
}

impl Keys {
    /// The kernel hands them out in order, so all up to the last that is wanted are taken.
    fn allocate(alive: &Alive) -> Result<Keys> {
        let allocated = alive.mm.protection_keys();
        let used = alive.layout.areas.iter().fold(0, |keys, a| keys | 1_u32 << a.protection_key) & !1;
        let wanted = allocated & 0xfffe | used;
        let mut surplus = Vec::new();
        for key in 1..(32 - wanted.leading_zeros()).max(1) {
            let error = |cause: String| Error::new(Phase::Memory, format!("memory protection key {key}"), cause);
            match allocate_key() {
                Ok(got) if got == key => {}
                Ok(got) => return Err(error(format!("the kernel gave the key {got}"))),
                Err(e) => return Err(error(format!("pkey_alloc: {e}")).hint("it takes a CPU with protection keys")),
            }
            if allocated >> key & 1 == 0 {
                surplus.push(key);
            }
        }
        Ok(Keys { surplus })
    }

    fn keep(self) -> Result<()> {
        for key in self.surplus {
            let object = || format!("memory protection key {key}");
            free_key(key).map_err(|e| Error::os(Phase::Memory, object(), "pkey_free", e))?;
        }
        Ok(())
    }
}

/// Does the task have pages of its own there?
fn fills(alive: &Alive, area: &Area) -> bool {
    !alive.pages.within(area.start, area.end).is_empty()
}

/// How many areas from `first` on one call maps: neighbours of anonymous memory that are writable until they are settled.
fn group(alive: &Alive, placed: &[Option<PlacedArea>], first: usize) -> usize {
    // Where pages are or how it grows must not be mistaken, and an area that is never written is not to be accounted for.
    const ALONE: i32 = libc::MAP_GROWSDOWN | libc::MAP_HUGETLB | libc::MAP_DROPPABLE | libc::MAP_NORESERVE;
    let areas = &alive.layout.areas;
    let joins =
        |a: &Area| a.backing == Backing::Anonymous && a.flags & ALONE == 0 && (a.prot == READ_WRITE || fills(alive, a));
    let like = &areas[first];
    if !joins(like) {
        return 1;
    }
    let follows = |i: &usize| {
        let (before, area) = (&areas[*i - 1], &areas[*i]);
        before.end == area.start && placed[*i].is_none() && area.flags == like.flags && joins(area)
    };
    1 + (first + 1..areas.len()).take_while(follows).count()
}

/// Keeps what the parent has at the same place for the same purpose; the rest of the parent's areas goes.
fn inherit(alive: &Alive, from: &Inheritance<'_>, placed: &mut [Option<PlacedArea>]) -> Result<()> {
    let areas = &alive.layout.areas;
    for (theirs, place) in from.areas.iter().zip(from.placed) {
        let i = areas.partition_point(|a| a.start < theirs.start);
        // Pages that are written or compared need both rights; without any it is as the area's own mapping would be.
        let serves = |a: &Area| place.prot == READ_WRITE || place.prot == a.prot && !fills(alive, a);
        if areas.get(i).is_some_and(|a| a.inherits(theirs) && serves(a)) {
            placed[i] = Some(PlacedArea { inherited: true, ..*place });
        } else {
            unmap_inherited(place.mapped).map_err(failed(theirs, "munmap"))?;
        }
    }
    Ok(())
}

/// Drops pages the parent has and the child has not.
fn discard(area: &Area, place: &PlacedArea, parents: &[Run], own: &[Run]) -> Result<()> {
    for p in parents {
        let (mut at, end) = (p.address, p.address + p.len);
        let first = own.partition_point(|r| r.address + r.len <= at);
        let holes_end = own[first..].iter().take_while(|r| r.address < end).map(|r| (r.address, r.address + r.len));
        for (start, next) in holes_end.chain([(end, end)]) {
            if start > at {
                let there = at - area.start + place.mapped.start();
                place.mapped.discard(there, start.min(end) - at).map_err(failed(area, "madvise"))?;
            }
            at = at.max(next);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map_anonymous(at: u64, len: u64) -> std::io::Result<Mapped> {
        Mapped::map(at, len, libc::PROT_NONE, libc::MAP_PRIVATE, Source::Anonymous)
    }

    #[test]
    fn what_was_mapped_unseen_is_not_replaced() {
        // In a process of its own: nothing else maps there meanwhile.
        let child = crate::sys::trial::fork(|| {
            let len = 16 * PAGE_BYTES;
            let mut memory = Memory { placed: Vec::new(), space: Space::default() };
            let first = memory.space.clone().find(len, 0).unwrap();
            map_anonymous(first, len).unwrap();
            let reserved = memory.reserve(len, 0).unwrap().unwrap();
            assert_ne!(reserved.start(), first);

            let mut rooms = Rooms { now: Space::default(), space: Space::default() };
            let wanted = Area::anonymous(first, first + len);
            let mapped = |at| {
                let mapped = map_anonymous(at, len).map_err(failed(&wanted, "mmap"))?;
                Ok(PlacedArea { mapped, prot: 0, inherited: false })
            };
            let placed = rooms.place(&wanted, mapped).unwrap();
            assert!(placed.mapped.start() != first && placed.mapped.start() != reserved.start());
        });
        child.finish().unwrap();
    }
}
