//! Where an area is mapped for the time being, and how: by what is behind it.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use super::checkpoint::Alive;
use super::memory::{PlacedArea, READ_WRITE, failed};
use super::own_exe;
use super::world::World;
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::mem::vma::placement::{Space, own_mappings};
use crate::mem::vma::restore::{Area, Backing};
use crate::sys::ipc::shm_attach_part;
use crate::sys::mapping::{Mapped, Source};
use crate::sys::spawn::shared_file;

/// Where something is, and where something is or will be.
pub(super) struct Rooms {
    pub(super) now: Space,
    pub(super) space: Space,
}

impl Rooms {
    pub(super) fn new(world: &World, alive: &Alive) -> Rooms {
        let mut rooms = Rooms { now: world.space.clone(), space: world.space.clone() };
        for r in alive.layout.occupied() {
            rooms.space.take(r);
        }
        rooms
    }

    pub(super) fn take(&mut self, mapped: Mapped) {
        let range = mapped.start()..mapped.start() + mapped.len();
        self.now.take(range.clone());
        self.space.take(range);
    }

    /// Maps an area by `map` where it will be or, when something is there, elsewhere.
    pub(super) fn place(&mut self, area: &Area, mut map: impl FnMut(u64) -> Result<PlacedArea>) -> Result<PlacedArea> {
        let range = area.start..area.end;
        if self.now.is_free(&range) {
            match map(area.start) {
                // This process has mapped something there since.
                Err(e) if e.errno == libc::EEXIST => {}
                placed => {
                    self.now.take(range);
                    return placed;
                }
            }
        }
        match self.elsewhere(area).and_then(&mut map) {
            Err(e) if e.errno == libc::EEXIST => {
                for own in own_mappings().map_err(|e| Error::os(Phase::Memory, "/proc/self/maps", "read", e))? {
                    self.now.take(own.range.clone());
                    self.space.take(own.range);
                }
                // On the wire EEXIST is a pid that is taken.
                self.elsewhere(area).and_then(&mut map).map_err(|e| e.errno(0))
            }
            placed => placed,
        }
    }

    fn elsewhere(&mut self, area: &Area) -> Result<u64> {
        let found = match area.huge_page() {
            Some(page) => self.space.find_like(area.len(), area.start, page),
            None => self.space.find(area.len(), area.start),
        };
        found.ok_or_else(|| Error::new(Phase::Memory, area.name(), "there is no room for it in the address space"))
    }
}

/// Files that are mapped, by the rights they are opened with.
pub(super) type Open = HashMap<(FileId, i32), OwnedFd>;

/// Maps the area at `at`; `fills`: pages of the task's own go there.
pub(super) fn map(world: &mut World, open: &mut Open, area: &Area, at: u64, fills: bool) -> Result<PlacedArea> {
    // What children could inherit is writable until they exist.
    let prot = if fills && area.is_private() { READ_WRITE } else { area.prot };
    let placed = |mapped| PlacedArea { mapped, prot, inherited: false };
    match area.backing {
        Backing::Anonymous if area.huge_page().is_some() => {
            let source = Source::Huge { offset: area.offset };
            Mapped::map(at, area.len(), READ_WRITE, libc::MAP_PRIVATE | area.flags, source)
                .map(|mapped| PlacedArea { mapped, prot: READ_WRITE, inherited: false })
                .map_err(failed(area, "mmap"))
        }
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
                    let fd = world.files.open_mapped(id, flags as u32).map_err(|mut e| {
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
        // Room for it.
        Backing::AioRing { .. } | Backing::Uring { .. } => {
            let room = Mapped::map(at, area.len(), libc::PROT_NONE, libc::MAP_PRIVATE, Source::Anonymous);
            room.map(|mapped| PlacedArea { mapped, prot: libc::PROT_NONE, inherited: false })
                .map_err(failed(area, "mmap"))
        }
        Backing::SharedAnonymous { .. } | Backing::SysV { .. } => {
            let segment = match area.backing {
                Backing::SysV { id, writable } => world.ipc.mapped((id, writable)).copied(),
                Backing::SharedAnonymous { shmid } => world.segments.get(&shmid).copied(),
                _ => None,
            };
            let segment = segment
                .ok_or_else(|| Error::new(Phase::Memory, area.name(), "there is no such segment of shared memory"))?;
            let mapped = show_segment(area, at, &segment)?;
            let prot = match area.backing {
                Backing::SysV { writable: false, .. } => libc::PROT_READ,
                _ => READ_WRITE,
            };
            Ok(PlacedArea { mapped, prot, inherited: false })
        }
    }
}

/// Maps at `at` what a shared area shows of a segment that the coordinator has mapped.
fn show_segment(area: &Area, at: u64, segment: &Mapped) -> Result<Mapped> {
    let place = || {
        Mapped::map(at, area.len(), libc::PROT_NONE, libc::MAP_PRIVATE, Source::Anonymous).map_err(failed(area, "mmap"))
    };
    // mremap(2) copies no mapping of huge pages.
    match area.backing {
        Backing::SysV { id, writable } if area.huge_page().is_some() => {
            let mapped = place()?;
            shm_attach_part(id, segment.len(), writable, area.offset, &mapped).map_err(failed(area, "shmat"))?;
            Ok(mapped)
        }
        _ if area.huge_page().is_some() => {
            let file = shared_file(segment).map_err(failed(area, "open of its segment"))?;
            let source = Source::File { fd: file.as_fd(), offset: area.offset };
            Mapped::map(at, area.len(), READ_WRITE, libc::MAP_SHARED | area.flags, source).map_err(failed(area, "mmap"))
        }
        _ => {
            let mapped = place()?;
            mapped.show_shared(segment, area.offset).map_err(failed(area, "mremap"))?;
            Ok(mapped)
        }
    }
}
