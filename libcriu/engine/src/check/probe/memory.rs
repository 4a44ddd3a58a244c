//! Memory: page maps, userfaultfd, AIO rings, huge pages, the vDSO.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::MemfdFlags;

use super::{absent, fails_with, not_yet, works};
use crate::check::Probe;
use crate::sys::pagemap::{PageRegion, Wanted, category, pagemap_scan};
use crate::sys::probe::memory::{self as sys, Vdso};

/// Scans the page of a variable for these categories.
fn scan(any_of: u64) -> io::Result<()> {
    let pagemap = File::open("/proc/self/pagemap")?;
    let mut regions = vec![PageRegion::default(); 4];
    let wanted = Wanted { all_of: 0, none_of: 0, any_of };
    let page = rustix::param::page_size() as u64;
    let start = (&raw const regions).addr() as u64 / page * page;
    pagemap_scan(pagemap.as_fd(), start, start + page, wanted, &mut regions).map(|_| ())
}

pub fn pagemap_scan_works() -> Probe {
    works("ioctl(PAGEMAP_SCAN)", scan(category::PRESENT))
}

pub fn guard_pages() -> Probe {
    works("ioctl(PAGEMAP_SCAN) for guard pages", scan(category::GUARD))
}

pub fn mem_dirty_track() -> Probe {
    const WRITTEN: u64 = 1 << 1;
    not_yet("pre-dump", works("ioctl(PAGEMAP_SCAN) for written pages", scan(WRITTEN)))
}

pub fn uffd() -> Probe {
    works("userfaultfd", sys::userfaultfd_features().map(|_| ()))
}

pub fn uffd_noncoop() -> Probe {
    // UFFD_FEATURE_EVENT_FORK, _REMAP, _REMOVE, _UNMAP.
    const EVENTS: u64 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6;
    let kernel = match sys::userfaultfd_features() {
        Ok(features) if features & EVENTS == EVENTS => Probe::Present,
        Ok(features) => absent(format!("userfaultfd has features {features:#x} only")),
        Err(e) => absent(format!("userfaultfd: {e}")),
    };
    not_yet("lazy-pages", kernel)
}

pub fn aio_remap() -> Probe {
    works("moving an AIO ring by mremap", sys::aio_remap())
}

pub fn memfd_hugetlb() -> Probe {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB;
    works("memfd_create(MFD_HUGETLB)", rustix::fs::memfd_create("huge", flags).map(drop))
}

pub fn can_map_vdso() -> Probe {
    fails_with("arch_prctl(ARCH_MAP_VDSO_64)", &sys::map_vdso(Vdso::Bits64), libc::EEXIST)
}

pub fn compat_cr() -> Probe {
    fails_with("arch_prctl(ARCH_MAP_VDSO_32)", &sys::map_vdso(Vdso::Bits32), libc::EEXIST)
}
