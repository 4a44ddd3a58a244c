//! Memory of one task, built while it is still an ordinary process: every area is mapped where it will be, or, when
//! something of this program is there, at another place from which the restorer moves it. Pages are filled in; then the
//! children are forked and inherit them; then areas get what would be in the way of that (`settle`).

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use super::checkpoint::Alive;
use super::own_exe;
use super::world::World;
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::mem::pages::restore::{Placed, Run};
use crate::mem::vma::placement::{Space, own_mappings};
use crate::mem::vma::restore::{Area, Backing};
use crate::mem::vma::{ADVICE, PAGE_BYTES};
use crate::sys::mapping::{Mapped, Source, allocate_key, free_key, unmap_inherited};

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// One area of the image as it is mapped now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedArea {
    pub mapped: Mapped,
    /// Its protection for the time being.
    pub prot: i32,
    /// It holds pages inherited from the parent.
    inherited: bool,
}

/// What a child starts with: the index of its parent and where the parent's areas are.
#[derive(Debug)]
pub(crate) struct Inheritance<'a> {
    pub areas: &'a [Area],
    pub pages: &'a crate::mem::pages::restore::PageSet,
    pub placed: &'a [PlacedArea],
}

/// A task's memory under construction.
#[derive(Debug)]
pub(crate) struct Memory {
    /// One for each area of the layout.
    pub placed: Vec<PlacedArea>,

    /// Taken now or in the final layout: where nothing temporary may go.
    pub space: Space,
}

fn failed(area: &Area, call: &str) -> impl FnOnce(std::io::Error) -> Error {
    let name = area.name();
    move |e| Error::os(Phase::Memory, name, call, e)
}

impl Memory {
    /// Maps and fills the areas of a task.
    pub fn build(world: &mut World, alive: &Alive, inheritance: Option<&Inheritance<'_>>) -> Result<Memory> {
        let areas = &alive.layout.areas;
        let mut placed: Vec<Option<PlacedArea>> = vec![None; areas.len()];
        if let Some(from) = inheritance {
            inherit(areas, from, &mut placed)?;
        }
        let own = own_mappings().map_err(|e| Error::os(Phase::Memory, "/proc/self/maps", "read", e))?;
        let mut now = Space::of_this_process(&own);
        let mut space = now.clone();
        for r in alive.layout.occupied() {
            space.take(r);
        }
        let mut open = HashMap::new();
        for (area, place) in areas.iter().zip(&mut placed) {
            if place.is_none() {
                let range = area.start..area.end;
                let at = if now.is_free(&range) {
                    now.take(range);
                    area.start
                } else {
                    space.find(area.len(), area.start).ok_or_else(|| {
                        Error::new(Phase::Memory, area.name(), "there is no room for it in the address space")
                    })?
                };
                let fills = !alive.pages.within(area.start, area.end).is_empty();
                *place = Some(map(world, &mut open, area, at, fills)?);
            }
        }
        let placed: Vec<PlacedArea> = placed.into_iter().flatten().collect();
        let memory = Memory { placed, space };
        memory.fill(world, alive, inheritance)?;
        Ok(memory)
    }

    fn fill(&self, world: &World, alive: &Alive, inheritance: Option<&Inheritance<'_>>) -> Result<()> {
        let counts = world.control.counts();
        let (mut work, mut targets, mut pages) = (Vec::new(), Vec::new(), 0);
        for (area, place) in alive.layout.areas.iter().zip(&self.placed) {
            let runs = alive.pages.within(area.start, area.end);
            let shift = |r: &Run| Placed { address: r.address - area.start + place.mapped.start(), ..*r };
            if place.inherited {
                let here: Vec<Placed> = runs.iter().map(shift).collect();
                let compared: u64 = here.iter().map(|p| p.len / PAGE_BYTES).sum();
                let differing = alive.pages.fill_differing(&here, &place.mapped)?;
                counts.pages_compared.fetch_add(compared, Ordering::Relaxed);
                counts.pages_skipped_cow.fetch_add(compared - differing, Ordering::Relaxed);
                pages += differing;
                if let Some(from) = inheritance {
                    discard(area, place, from.pages.within(area.start, area.end), runs)?;
                }
            } else if !runs.is_empty() {
                work.extend(runs.iter().map(shift));
                targets.push(place.mapped);
                pages += runs.iter().map(|r| r.len / PAGE_BYTES).sum::<u64>();
            }
        }
        targets.sort_by_key(Mapped::start);
        alive.pages.fill(&work, &targets)?;
        counts.pages_restored.fetch_add(pages, Ordering::Relaxed);
        Ok(())
    }

    /// After the children were forked: protections, advice, locks, guards.
    pub fn settle(&mut self, alive: &Alive) -> Result<()> {
        let keys = Keys::allocate(alive)?;
        for (area, place) in alive.layout.areas.iter().zip(&mut self.placed) {
            for (_, advice) in ADVICE.iter().filter(|(_, a)| area.advice >> a & 1 == 1) {
                place.mapped.advise(*advice).map_err(failed(area, "madvise"))?;
            }
            if area.protection_key != 0 {
                let protected = place.mapped.protect_by_key(area.prot, area.protection_key);
                protected.map_err(failed(area, "pkey_mprotect"))?;
                place.prot = area.prot;
            }
            if place.prot != area.prot {
                place.mapped.protect(area.prot).map_err(failed(area, "mprotect"))?;
                place.prot = area.prot;
            }
            if area.locked {
                place.mapped.lock(area.lock_on_fault).map_err(failed(area, "mlock2"))?;
            }
        }
        for guard in &alive.layout.guards {
            self.guard(alive, guard.start, guard.end)?;
        }
        keys.keep()
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

/// Keeps what the parent has at the same place for the same purpose; the rest of the parent's areas goes.
fn inherit(areas: &[Area], from: &Inheritance<'_>, placed: &mut [Option<PlacedArea>]) -> Result<()> {
    for (theirs, place) in from.areas.iter().zip(from.placed) {
        let i = areas.partition_point(|a| a.start < theirs.start);
        if areas.get(i).is_some_and(|a| a.inherits(theirs)) && place.prot == READ_WRITE {
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

type Open = HashMap<(FileId, i32), OwnedFd>;

fn map(world: &mut World, open: &mut Open, area: &Area, at: u64, fills: bool) -> Result<PlacedArea> {
    // What children could inherit is writable until they exist.
    let prot = if fills && area.is_private() { READ_WRITE } else { area.prot };
    let placed = |mapped| PlacedArea { mapped, prot, inherited: false };
    match area.backing {
        Backing::Anonymous => {
            let kind = if area.flags & libc::MAP_DROPPABLE != 0 { 0 } else { libc::MAP_PRIVATE };
            Mapped::map(at, area.len(), prot, kind | area.flags, Source::Anonymous)
                .map(placed)
                .map_err(failed(area, "mmap"))
        }
        Backing::File { id, flags, shared } => {
            let fd = match open.entry((id, flags)) {
                std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
                std::collections::hash_map::Entry::Vacant(e) => {
                    let fd = world.files.open(id, Some(flags as u32)).map_err(|mut e| {
                        e.object = format!("{} ({})", area.name(), e.object);
                        e
                    })?;
                    own_exe::step_aside(fd.as_fd()).map_err(failed(area, "leave this program's own file"))?;
                    e.insert(fd)
                }
            };
            let kind = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
            let source = Source::File { fd: fd.as_fd(), offset: area.offset };
            Mapped::map(at, area.len(), prot, kind | area.flags, source).map(placed).map_err(failed(area, "mmap"))
        }
        Backing::SharedAnonymous { .. } | Backing::SysV { .. } => {
            let segment = match area.backing {
                Backing::SysV { id, writable } => world.ipc.mapped((id, writable)).copied(),
                Backing::SharedAnonymous { shmid } => world.segments.get(&shmid).copied(),
                _ => None,
            };
            let segment = segment
                .ok_or_else(|| Error::new(Phase::Memory, area.name(), "there is no such segment of shared memory"))?;
            let mapped = Mapped::map(at, area.len(), libc::PROT_NONE, libc::MAP_PRIVATE, Source::Anonymous)
                .map_err(failed(area, "mmap"))?;
            mapped.show_shared(&segment, area.offset).map_err(failed(area, "mremap"))?;
            let prot = match area.backing {
                Backing::SysV { writable: false, .. } => libc::PROT_READ,
                _ => READ_WRITE,
            };
            Ok(PlacedArea { mapped, prot, inherited: false })
        }
    }
}
