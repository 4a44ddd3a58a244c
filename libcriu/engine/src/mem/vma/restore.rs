//! Reads the areas of a task from its mm image and checks them.

use std::ops::Range;

use criu_images::messages::{AioRingEntry, MmEntry, VmaEntry};

use super::{PAGE_BYTES, USER_END, status};
use crate::file::FileId;
use crate::mem::huge;

/// What an area shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    Anonymous,
    /// Anonymous memory shared by everybody who maps the segment `shmid`.
    SharedAnonymous {
        shmid: u64,
    },
    /// A System V segment, attached for reading only unless `writable`.
    SysV {
        id: u32,
        writable: bool,
    },
    /// The ring of a context of asynchronous I/O that was made for so many requests. Its contents are among the pages.
    AioRing {
        requests: u32,
    },
    /// Rings or requests of an io_uring instance that the task has a descriptor of.
    Uring {
        id: FileId,
    },
    /// A file, opened with `flags` for the mapping.
    File {
        id: FileId,
        flags: i32,
        shared: bool,
    },
}

/// One area, in whole pages inside user space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    pub start: u64,
    pub end: u64,
    /// Offset into the file or segment, in bytes.
    pub offset: u64,
    pub prot: i32,
    /// MAP_* flags for mmap, without sharing, placement and MAP_ANONYMOUS.
    pub flags: i32,
    pub backing: Backing,
    /// Bit n: madvise with advice n.
    pub advice: u64,
    pub locked: bool,
    pub lock_on_fault: bool,
    /// 0 is the one that all memory has at first.
    pub protection_key: u32,
}

impl Area {
    /// Plain memory, for tests.
    #[cfg(test)]
    pub(crate) fn anonymous(start: u64, end: u64) -> Area {
        Area {
            start,
            end,
            offset: 0,
            prot: libc::PROT_READ | libc::PROT_WRITE,
            flags: 0,
            backing: Backing::Anonymous,
            advice: 0,
            locked: false,
            lock_on_fault: false,
            protection_key: 0,
        }
    }

    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Pages that are the task's own: contents come from the pagemap.
    pub fn is_private(&self) -> bool {
        matches!(self.backing, Backing::Anonymous | Backing::File { shared: false, .. })
    }

    /// Are its contents among the task's pages?
    pub fn has_pages(&self) -> bool {
        self.is_private() || matches!(self.backing, Backing::AioRing { .. })
    }

    /// Is there only room for it until the restorer maps it?
    pub fn is_mapped_last(&self) -> bool {
        matches!(self.backing, Backing::Uring { .. })
    }

    /// Could the memory of `parent` at the same place be inherited for this area? Then unchanged pages stay shared.
    pub fn inherits(&self, parent: &Area) -> bool {
        let shape = |a: &Area| (a.start, a.end, a.offset, a.flags, a.is_private());
        let same_backing = match (self.backing, parent.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File { id: a, .. }, Backing::File { id: b, .. }) => a == b,
            _ => false,
        };
        shape(self) == shape(parent) && self.is_private() && same_backing
    }

    /// The size of its pages, if these are huge.
    pub fn huge_page(&self) -> Option<u64> {
        if self.flags & libc::MAP_HUGETLB == 0 { None } else { huge::size_in(self.flags as u32) }
    }

    /// For messages: `7f12a000-7f12b000`.
    pub fn name(&self) -> String {
        format!("mapping {:#x}-{:#x}", self.start, self.end)
    }
}

/// The areas of one task.
#[derive(Debug, Default)]
pub struct Layout {
    /// Sorted, without overlaps.
    pub areas: Vec<Area>,
    /// Guard regions inside areas.
    pub guards: Vec<Range<u64>>,
    pub vdso: Option<Range<u64>>,
    /// vvar and, where the kernel has it, vvar_vclock behind it.
    pub vvar: Vec<Range<u64>>,
    /// Areas of kinds that are not restored, by start and name.
    pub unsupported: Vec<(u64, &'static str)>,
}

/// How many protection keys there are.
const PROTECTION_KEYS: u32 = 16;

const UNSUPPORTED: &[(u32, &str)] = &[
    (status::SHADOW_STACK, "a shadow stack"),
    (status::UPROBES, "a uprobes area"),
    (status::PLUGIN, "an area that a plugin saved"),
];

impl Layout {
    /// # Errors
    /// What is wrong with the image, in words.
    pub fn new(mm: &MmEntry) -> Result<Layout, String> {
        let mut layout = Layout::default();
        for v in &mm.vmas {
            if v.status & status::VSYSCALL != 0 {
                // Not a mapping of the task's: the kernel shows it to everybody.
                continue;
            }
            let range = range(v)?;
            if let Some(&(_, name)) = UNSUPPORTED.iter().find(|(bit, _)| v.status & bit != 0) {
                layout.unsupported.push((v.start, name));
            } else if v.status & status::GUARD != 0 {
                layout.guards.push(range);
            } else if v.status & status::VDSO != 0 {
                if layout.vdso.replace(range).is_some() {
                    return Err("two vDSO areas".into());
                }
            } else if v.status & status::VVAR != 0 {
                layout.vvar.push(range);
            } else {
                layout.areas.push(area(v, &range, &mm.aios)?);
            }
        }
        layout.areas.sort_by_key(|a| a.start);
        layout.check_overlaps()?;
        Ok(layout)
    }

    fn check_overlaps(&self) -> Result<(), String> {
        let mut all = self.occupied();
        all.sort_by_key(|r| r.start);
        match all.windows(2).find(|w| w[0].end > w[1].start) {
            Some(w) => {
                Err(format!("areas {:#x}-{:#x} and {:#x}-{:#x} overlap", w[0].start, w[0].end, w[1].start, w[1].end))
            }
            None => Ok(()),
        }
    }

    /// Every range that something will stand at.
    pub fn occupied(&self) -> Vec<Range<u64>> {
        let areas = self.areas.iter().map(|a| a.start..a.end);
        areas.chain(self.vdso.clone()).chain(self.vvar.iter().cloned()).collect()
    }

    /// The index of the area that holds `address`.
    pub fn find(&self, address: u64) -> Option<usize> {
        let i = self.areas.partition_point(|a| a.end <= address);
        self.areas.get(i).filter(|a| a.start <= address).map(|_| i)
    }

    /// Is the address inside the vDSO?
    pub fn in_vdso(&self, address: u64) -> bool {
        self.vdso.as_ref().is_some_and(|r| r.contains(&address))
    }
}

fn range(v: &VmaEntry) -> Result<Range<u64>, String> {
    let sound = v.start.is_multiple_of(PAGE_BYTES)
        && v.end.is_multiple_of(PAGE_BYTES)
        && v.start < v.end
        && v.start >= PAGE_BYTES
        && v.end <= USER_END;
    if sound { Ok(v.start..v.end) } else { Err(format!("area {:#x}-{:#x} is impossible", v.start, v.end)) }
}

fn area(v: &VmaEntry, range: &Range<u64>, rings: &[AioRingEntry]) -> Result<Area, String> {
    let bad = |why: &str| Err(format!("area {:#x}-{:#x}: {why}", v.start, v.end));
    let file = |shared| -> Result<Backing, String> {
        match FileId::try_from(v.shmid) {
            Ok(id) if id != 0 => {
                // Images from before `fdflags` say it by the mapping's protection.
                let writes = shared && v.prot & libc::PROT_WRITE as u32 != 0;
                let flags = v.fdflags.map_or(if writes { libc::O_RDWR } else { libc::O_RDONLY }, |f| f as i32);
                Ok(Backing::File { id, flags, shared })
            }
            _ => Err(format!("area {:#x}-{:#x}: no file {:#x}", v.start, v.end, v.shmid)),
        }
    };
    let backing =
        match v.status & (status::FILE_PRIVATE | status::FILE_SHARED | status::ANON_SHARED | status::ANON_PRIVATE) {
            _ if v.status & status::AIORING != 0 => match rings.iter().find(|r| r.id == v.start) {
                Some(r) if u64::from(r.ring_len) == v.end - v.start => Backing::AioRing { requests: r.nr_req },
                _ => return bad("no context has such a ring"),
            },
            _ if v.status & status::URING != 0 => match file(true)? {
                Backing::File { id, .. } => Backing::Uring { id },
                other => other,
            },
            // Of the socket, of which there is no other file.
            _ if v.status & status::SOCKET != 0 => file(true)?,
            status::FILE_PRIVATE => file(false)?,
            status::FILE_SHARED => file(true)?,
            status::ANON_SHARED if v.status & status::SYSVIPC != 0 => match u32::try_from(v.shmid) {
                Ok(id) => Backing::SysV { id, writable: v.fdflags.map_or(v.prot & 2 != 0, |f| f & 3 != 0) },
                Err(_) => return bad("no System V segment has such an id"),
            },
            status::ANON_SHARED => Backing::SharedAnonymous { shmid: v.shmid },
            status::ANON_PRIVATE => Backing::Anonymous,
            s => return bad(&format!("of no known kind (status {s:#x})")),
        };
    let is_huge = v.flags & super::flags::HUGETLB != 0;
    let has_none = matches!(backing, Backing::Anonymous | Backing::AioRing { .. });
    let offset = if has_none && !is_huge { 0 } else { v.pgoff };
    if offset % PAGE_BYTES != 0 || offset.checked_add(v.end - v.start).is_none_or(|e| e > i64::MAX as u64) {
        return bad(&format!("offset {offset:#x} is impossible"));
    }
    let allowed_prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    if v.prot as i32 & !allowed_prot != 0 {
        return bad(&format!("protection {:#x} is unknown", v.prot));
    }
    if v.protection_key() >= PROTECTION_KEYS {
        return bad(&format!("there is no protection key {}", v.protection_key()));
    }
    let advice = v.madv.unwrap_or(0);
    let known_advice = super::ADVICE.iter().fold(0, |bits, (_, a)| bits | 1_u64 << a);
    if advice & !known_advice != 0 {
        return bad(&format!("advice {:#x} is unknown", advice & !known_advice));
    }
    let placement =
        libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE | libc::MAP_SHARED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let known = libc::MAP_GROWSDOWN
        | libc::MAP_NORESERVE
        | libc::MAP_STACK
        | libc::MAP_HUGETLB
        | libc::MAP_LOCKED
        | libc::MAP_DROPPABLE
        | 0x3f << libc::MAP_HUGE_SHIFT;
    let mut flags = v.flags as i32 & !placement;
    if v.flags & super::flags::DROPPABLE != 0 {
        // The kernel has no combination of both: droppable is a type of its own.
        flags |= libc::MAP_DROPPABLE;
    }
    if flags & !known != 0 {
        return bad(&format!("flags {:#x} are unknown", flags & !known));
    }
    if is_huge {
        let Some(page) = huge::size_in(flags as u32) else {
            return bad(&format!("no pages have the size in {flags:#x}"));
        };
        if [v.start, v.end, offset].iter().any(|at| at % page != 0) {
            return bad(&format!("it is not of pages of {}", huge::shown(page)));
        }
        flags |= huge::size_flags(page) as i32;
    }
    Ok(Area {
        start: range.start,
        end: range.end,
        offset,
        prot: v.prot as i32,
        flags: flags & !libc::MAP_LOCKED,
        backing,
        advice,
        locked: flags & libc::MAP_LOCKED != 0,
        lock_on_fault: v.lock_on_fault(),
        protection_key: v.protection_key(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vma(start: u64, end: u64) -> VmaEntry {
        VmaEntry { start, end, prot: 3, flags: 0x22, status: 1 | status::ANON_PRIVATE, fd: -1, ..VmaEntry::default() }
    }

    fn layout(vmas: Vec<VmaEntry>) -> Result<Layout, String> {
        Layout::new(&MmEntry { vmas, ..MmEntry::default() })
    }

    #[test]
    fn finds_the_area_of_an_address() {
        let l = layout(vec![vma(0x3000, 0x5000), vma(0x1000, 0x2000)]).unwrap();
        assert_eq!(l.find(0x1fff), Some(0));
        assert_eq!(l.find(0x2000), None);
        assert_eq!(l.find(0x4000), Some(1));
        assert_eq!(l.find(0x5000), None);
    }

    #[test]
    fn refuses_impossible_areas() {
        for (start, end) in
            [(0, 0x1000), (0x1000, 0x1000), (0x2000, 0x1000), (0x1001, 0x2000), (0x1000, 0xffff_ffff_ffff_f000)]
        {
            assert!(layout(vec![vma(start, end)]).is_err(), "{start:#x}-{end:#x}");
        }
        assert!(layout(vec![vma(0x1000, 0x3000), vma(0x2000, 0x4000)]).unwrap_err().contains("overlap"));
        let offset = VmaEntry { status: status::FILE_PRIVATE, shmid: 1, pgoff: 0x800, ..vma(0x1000, 0x2000) };
        assert!(layout(vec![offset]).is_err());
    }

    #[test]
    fn areas_of_huge_pages() {
        const HUGE: u64 = 2 << 20;
        let huge = |start, end, size: u32| VmaEntry { flags: 0x40022 | size << 26, pgoff: HUGE, ..vma(start, end) };
        let l = layout(vec![huge(HUGE, 3 * HUGE, 21), huge(4 * HUGE, 5 * HUGE, 0), vma(0x1000, 0x2000)]).unwrap();
        let seen: Vec<_> = l.areas.iter().map(|a| (a.huge_page(), a.offset)).collect();
        assert_eq!(seen, [(None, 0), (Some(HUGE), HUGE), (Some(HUGE), HUGE)]);
        assert!(layout(vec![huge(HUGE, 2 * HUGE + 0x1000, 21)]).unwrap_err().contains("2 MiB"));
        assert!(layout(vec![huge(HUGE, 3 * HUGE, 30)]).unwrap_err().contains("1 GiB"));
        assert!(layout(vec![huge(HUGE, 3 * HUGE, 63)]).unwrap_err().contains("size"));
    }

    #[test]
    fn names_kinds_that_are_not_restored() {
        let area = VmaEntry { status: status::PLUGIN | status::ANON_SHARED, ..vma(0x1000, 0x2000) };
        assert_eq!(layout(vec![area]).unwrap().unsupported, vec![(0x1000, "an area that a plugin saved")]);
        let area = VmaEntry { status: status::SHADOW_STACK | status::REGULAR, ..vma(0x1000, 0x2000) };
        assert_eq!(layout(vec![area]).unwrap().unsupported, vec![(0x1000, "a shadow stack")]);
    }

    #[test]
    fn rings_of_sockets() {
        let ring = VmaEntry { status: status::SOCKET | status::REGULAR, shmid: 7, flags: 1, ..vma(0x1000, 0x2000) };
        let backing = layout(vec![ring]).unwrap().areas[0].backing;
        assert!(matches!(backing, Backing::File { id: 7, shared: true, .. }));
    }

    #[test]
    fn a_ring_belongs_to_a_context() {
        let ring = VmaEntry { status: status::AIORING | status::ANON_SHARED, ..vma(0x1000, 0x2000) };
        let of = |id, ring_len| {
            let aios = vec![AioRingEntry { id, nr_req: 8, ring_len }];
            Layout::new(&MmEntry { vmas: vec![ring], aios, ..MmEntry::default() }).map(|l| l.areas[0].backing)
        };
        assert_eq!(of(0x1000, 0x1000), Ok(Backing::AioRing { requests: 8 }));
        assert!(of(0x1000, 0x2000).is_err() && of(0x2000, 0x1000).is_err());
    }
}
