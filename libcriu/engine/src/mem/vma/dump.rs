//! Areas on their way into an image: what kind each is, and what cannot be saved.

use criu_images::messages::VmaEntry;

use super::{ADVICE, flags, status};
use crate::mem::huge;
use crate::proc::Area;

/// What an area shows, so where its contents come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AreaKind {
    /// Anonymous, of this address space alone (after fork shared copy-on-write).
    PrivateAnonymous,
    /// Anonymous and shared: the inode of the kernel's own tmpfs file behind it.
    SharedAnonymous {
        inode: u64,
    },
    /// A System V segment; `id` as its own calls take it.
    SysV {
        id: u32,
    },
    File {
        memfd: bool,
    },
    /// The rings of a packet socket.
    Socket {
        inode: u64,
    },
    /// Rings or requests of an io_uring instance.
    Uring {
        inode: u64,
    },
    /// The ring of a context of asynchronous I/O.
    AioRing,
    Vdso,
    Vvar,
    Vsyscall,
}

/// The kind of an area, or why it cannot be saved and what would help.
pub type Classified = Result<AreaKind, (&'static str, &'static str)>;

const ON_A_MOUNT: &str = "a file on a mount of hugetlbfs is mapped; this cannot be saved";
const UNMAP_IT: &str = "unmap it before the dump, or use a memfd (MFD_HUGETLB) or MAP_HUGETLB";
const AT_NOWHERE: &str = "memory at address 0, which means nowhere elsewhere, cannot be saved";
const UNMAP_IT_BEFORE: &str = "unmap it before the dump";
pub(crate) const UPROBES: &str = "uprobes are set in the code of this task; they cannot be saved";
pub(crate) const END_THEM: &str = "end whoever has set them (perf, bpftrace ...) before the dump";

/// Flags of `VmFlags` that stand for memory which a copy of its bytes would not bring back.
const REFUSED_FLAGS: &[([u8; 2], &str)] = &[
    (*b"um", "the area is watched by a userfaultfd"),
    (*b"uw", "the area is write-protected by a userfaultfd"),
    (*b"ui", "the area is watched by a userfaultfd for minor faults"),
    (*b"ss", "a shadow stack cannot be saved"),
    (*b"sl", "a sealed area (mseal) cannot be saved"),
    (*b"io", "memory of a device cannot be saved"),
    (*b"pf", "memory of a device cannot be saved"),
    (*b"sf", "synchronous mappings of persistent memory cannot be saved"),
];

/// Tells what `area` is; `shmem_dev` is the device of the kernel's own tmpfs, where shared anonymous memory and memfds live.
pub fn classify(area: &Area, shmem_dev: (u32, u32)) -> Classified {
    match area.name.as_slice() {
        b"[vdso]" => return Ok(AreaKind::Vdso),
        b"[vvar]" | b"[vvar_vclock]" => return Ok(AreaKind::Vvar),
        b"[vsyscall]" => return Ok(AreaKind::Vsyscall),
        b"[uprobes]" => return Err((UPROBES, END_THEM)),
        _ => {}
    }
    if area.start == 0 {
        return Err((AT_NOWHERE, UNMAP_IT_BEFORE));
    }
    if area.shared && area.name == b"anon_inode:[io_uring]" {
        return Ok(AreaKind::Uring { inode: area.inode });
    }
    if let Some((_, why)) = REFUSED_FLAGS.iter().find(|(flag, _)| area.has(flag)) {
        return Err((why, ""));
    }
    if area.inode == 0 && !area.shared {
        return Ok(AreaKind::PrivateAnonymous);
    }
    let is_huge = area.has(b"ht");
    if is_huge && huge_page(area).is_none() {
        return Err((ON_A_MOUNT, UNMAP_IT));
    }
    let internal = is_huge || area.dev == shmem_dev;
    let starts = |prefix: &[u8]| area.name.starts_with(prefix);
    if internal && starts(b"/SYSV") {
        // The kernel gives the file behind a segment the segment's id as its inode number.
        return u32::try_from(area.inode)
            .map(|id| AreaKind::SysV { id })
            .map_err(|_| ("System V shared memory with an unknown id cannot be saved", ""));
    }
    if internal && (starts(b"/dev/zero (deleted)") || starts(b"[anon_shmem:")) {
        return match area.shared {
            true => Ok(AreaKind::SharedAnonymous { inode: area.inode }),
            false => Err(("a private view of shared anonymous memory cannot be saved", "")),
        };
    }
    if is_huge && starts(b"/anon_hugepage") {
        return Ok(match area.shared {
            true => AreaKind::SharedAnonymous { inode: huge::OBJECT + area.inode },
            false => AreaKind::PrivateAnonymous,
        });
    }
    if is_aio_ring(area) {
        return Ok(AreaKind::AioRing);
    }
    if starts(b"socket:[") {
        return Ok(AreaKind::Socket { inode: area.inode });
    }
    if !starts(b"/") {
        return Err(("a mapping of this kind of object cannot be saved", ""));
    }
    Ok(AreaKind::File { memfd: internal && starts(b"/memfd:") })
}

/// The size of the pages that the kernel gives the area, if these are huge.
pub fn huge_page(area: &Area) -> Option<u64> {
    if area.has(b"ht") { huge::page_bytes_on(area.dev) } else { None }
}

/// Does it show a ring of asynchronous I/O, as the kernel names them?
pub(crate) fn is_aio_ring(area: &Area) -> bool {
    area.shared && area.dev.0 == 0 && area.name == b"/[aio] (deleted)"
}

/// The area's entry. `file` is the id and the access mode of the mapped file, for a mapping of one.
pub fn entry(area: &Area, kind: AreaKind, file: Option<(u32, u32)>) -> VmaEntry {
    let mut v = VmaEntry {
        start: area.start,
        end: area.end,
        prot: area.prot,
        flags: if area.shared { flags::SHARED } else { flags::PRIVATE },
        status: status::REGULAR,
        fd: -1,
        ..VmaEntry::default()
    };
    match kind {
        AreaKind::PrivateAnonymous => {
            v.status |= status::ANON_PRIVATE;
            v.flags |= flags::ANONYMOUS;
            if area.name == b"[heap]" {
                v.status |= status::HEAP;
            }
            if area.has(b"dp") {
                v.flags = v.flags & !flags::PRIVATE | flags::DROPPABLE;
            }
        }
        AreaKind::SharedAnonymous { inode } => {
            v.status |= status::ANON_SHARED;
            v.flags |= flags::ANONYMOUS;
            v.shmid = inode;
            v.pgoff = area.offset;
        }
        AreaKind::SysV { id } => {
            v.status |= status::ANON_SHARED | status::SYSVIPC;
            v.flags |= flags::ANONYMOUS;
            v.shmid = id.into();
            v.pgoff = area.offset;
            v.fdflags = Some(if area.has(b"mw") { libc::O_RDWR } else { libc::O_RDONLY } as u32);
        }
        AreaKind::File { memfd } => {
            v.status |= if area.shared { status::FILE_SHARED } else { status::FILE_PRIVATE };
            if memfd {
                v.status |= status::MEMFD;
            }
            v.pgoff = area.offset;
            if let Some((id, access)) = file {
                v.shmid = u64::from(id);
                v.fdflags = Some(access);
            }
        }
        AreaKind::Socket { .. } => {
            v.status |= status::SOCKET;
            v.pgoff = area.offset;
        }
        AreaKind::Uring { .. } => {
            v.status |= status::URING;
            v.pgoff = area.offset;
        }
        AreaKind::AioRing => {
            // Saved as if it were the task's own memory.
            v.status |= status::AIORING | status::ANON_PRIVATE;
            v.flags = flags::PRIVATE | flags::ANONYMOUS;
        }
        AreaKind::Vdso => {
            v.status |= status::VDSO | status::ANON_PRIVATE;
            v.flags |= flags::ANONYMOUS;
        }
        AreaKind::Vvar => {
            v.status |= status::VVAR | status::ANON_PRIVATE;
            v.flags |= flags::ANONYMOUS;
        }
        AreaKind::Vsyscall => {
            v.status = status::VSYSCALL | status::ANON_PRIVATE;
            v.flags |= flags::ANONYMOUS;
        }
    }
    attributes(area, &mut v);
    v
}

fn attributes(area: &Area, v: &mut VmaEntry) {
    if let Some(page_bytes) = huge_page(area) {
        v.flags |= flags::HUGETLB | huge::size_flags(page_bytes);
        // Private ones have a file as well.
        v.pgoff = area.offset;
    }
    for (flag, bit) in [(b"gd", flags::GROWSDOWN), (b"lo", flags::LOCKED), (b"nr", flags::NORESERVE)] {
        if area.has(flag) {
            v.flags |= bit;
        }
    }
    v.protection_key = (area.protection_key != 0).then_some(area.protection_key);
    if area.has(b"lf") {
        v.lock_on_fault = Some(true);
    }
    let madv = ADVICE.iter().filter(|(flag, _)| area.has(flag)).fold(0u64, |m, (_, advice)| m | 1 << advice);
    // Droppable memory is never written to core files and wiped on fork by its nature, not by advice.
    if madv != 0 && !area.has(b"dp") {
        v.madv = Some(madv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHM: (u32, u32) = (0, 1);

    fn area(name: &[u8], flags: &[&[u8; 2]]) -> Area {
        Area {
            start: 0x1000,
            end: 0x3000,
            prot: 3,
            name: name.to_vec(),
            flags: flags.iter().map(|f| **f).collect(),
            ..Area::default()
        }
    }

    #[test]
    fn kinds() {
        assert_eq!(classify(&area(b"", &[]), SHM), Ok(AreaKind::PrivateAnonymous));
        assert_eq!(classify(&area(b"[vvar]", &[b"io", b"pf"]), SHM), Ok(AreaKind::Vvar));
        let shared = Area { shared: true, inode: 7, dev: SHM, ..area(b"/dev/zero (deleted)", &[]) };
        assert_eq!(classify(&shared, SHM), Ok(AreaKind::SharedAnonymous { inode: 7 }));
        // A file that merely has such a name.
        let named = Area { dev: (8, 1), ..shared };
        assert_eq!(classify(&named, SHM), Ok(AreaKind::File { memfd: false }));
        let memfd = Area { shared: true, inode: 7, dev: SHM, ..area(b"/memfd:x (deleted)", &[]) };
        assert_eq!(classify(&memfd, SHM), Ok(AreaKind::File { memfd: true }));
        let sysv = Area { name: b"/SYSV00001234 (deleted)".to_vec(), ..memfd.clone() };
        assert_eq!(classify(&sysv, SHM), Ok(AreaKind::SysV { id: 7 }));
        let v = entry(
            &Area { flags: [*b"rd", *b"mw"].into_iter().collect(), ..sysv.clone() },
            AreaKind::SysV { id: 7 },
            None,
        );
        assert_eq!((v.shmid, v.fdflags), (7, Some(libc::O_RDWR as u32)));
        assert_eq!(v.status, status::REGULAR | status::ANON_SHARED | status::SYSVIPC);
        let aio = Area { name: b"/[aio] (deleted)".to_vec(), dev: (0, 14), ..memfd.clone() };
        assert_eq!(classify(&aio, SHM), Ok(AreaKind::AioRing));
        let v = entry(&aio, AreaKind::AioRing, None);
        assert_eq!(v.status, status::REGULAR | status::ANON_PRIVATE | status::AIORING);
        for flag in [b"um", b"uw", b"ss", b"io", b"pf", b"sl"] {
            assert!(classify(&area(b"", &[flag]), SHM).is_err());
        }
        let ring = Area { shared: true, inode: 3, offset: 1 << 28, ..area(b"anon_inode:[io_uring]", &[]) };
        assert_eq!(classify(&ring, SHM), Ok(AreaKind::Uring { inode: 3 }));
        let v = entry(&ring, AreaKind::Uring { inode: 3 }, None);
        assert_eq!((v.status, v.flags, v.pgoff), (status::REGULAR | status::URING, flags::SHARED, 1 << 28));
        assert!(classify(&Area { name: b"anon_inode:[perf_event]".to_vec(), ..ring.clone() }, SHM).is_err());
        let socket = Area { name: b"socket:[3]".to_vec(), ..ring };
        assert_eq!(classify(&socket, SHM), Ok(AreaKind::Socket { inode: 3 }));
        let v = entry(&socket, AreaKind::Socket { inode: 3 }, None);
        assert_eq!((v.status, v.flags), (status::REGULAR | status::SOCKET, flags::SHARED));
    }

    #[test]
    fn huge_pages() {
        let on_a_mount = Area { shared: true, inode: 7, dev: (0, 9999), ..area(b"/mnt/huge/x", &[b"ht"]) };
        assert_eq!(classify(&on_a_mount, SHM), Err((ON_A_MOUNT, UNMAP_IT)));
        let Some(dev) = (0..200).map(|minor| (0, minor)).find(|dev| huge::page_bytes_on(*dev) == Some(2 << 20)) else {
            return eprintln!("skipped: no huge pages of 2 MiB");
        };
        let own = |name, shared| Area { shared, inode: 7, dev, offset: 4 << 20, ..area(name, &[b"ht"]) };
        let private = own(b"/anon_hugepage (deleted)", false);
        assert_eq!(classify(&private, SHM), Ok(AreaKind::PrivateAnonymous));
        let v = entry(&private, AreaKind::PrivateAnonymous, None);
        assert_eq!((v.flags, v.pgoff), (flags::PRIVATE | flags::ANONYMOUS | 0x5404_0000, 4 << 20));
        let shared = own(b"/anon_hugepage (deleted)", true);
        assert_eq!(classify(&shared, SHM), Ok(AreaKind::SharedAnonymous { inode: huge::OBJECT + 7 }));
        assert_eq!(classify(&own(b"/SYSV00000001 (deleted)", true), SHM), Ok(AreaKind::SysV { id: 7 }));
        assert_eq!(classify(&own(b"/memfd:x (deleted)", false), SHM), Ok(AreaKind::File { memfd: true }));
    }

    #[test]
    fn attributes_of_anonymous_memory() {
        let v = entry(&area(b"", &[b"gd", b"lo", b"lf", b"nr", b"dc", b"wf"]), AreaKind::PrivateAnonymous, None);
        assert_eq!(v.flags, flags::PRIVATE | flags::ANONYMOUS | 0x100 | 0x2000 | 0x4000);
        assert_eq!((v.madv, v.lock_on_fault), (Some(1 << 10 | 1 << 18), Some(true)));
        let v = entry(&area(b"[heap]", &[]), AreaKind::PrivateAnonymous, None);
        assert_eq!((v.status, v.madv, v.fd), (status::REGULAR | status::HEAP | status::ANON_PRIVATE, None, -1));
        let v = entry(&area(b"/x", &[]), AreaKind::File { memfd: false }, Some((5, 2)));
        assert_eq!((v.shmid, v.fdflags, v.status), (5, Some(2), status::REGULAR | status::FILE_PRIVATE));
    }
}
