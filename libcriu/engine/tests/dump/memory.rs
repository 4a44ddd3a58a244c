//! Which pages are kept, and that they are the right ones.

use std::os::unix::fs::FileExt;

use criu_images::Kind;
use criu_images::messages::{MmEntry, VmaEntry};

use crate::victim::{Checkpoint, State, Victim, fork};

pub const PAGE: usize = 4096;

pub fn map(at: usize, pages: usize, prot: i32, flags: i32) -> *mut u8 {
    let flags = flags | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: a fresh mapping where nothing is.
    let p = unsafe { libc::mmap(at as *mut libc::c_void, pages * PAGE, prot, flags, -1, 0) };
    assert_eq!(p as usize, at);
    p.cast()
}

const PRIVATE: usize = 0x10_0000_0000;
const SHARED: usize = 0x20_0000_0000;
const SPARSE: usize = 0x30_0000_0000;

struct Areas;

impl State for Areas {
    type Held = ();
    fn build() {
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        let p = map(PRIVATE, 64, rw, libc::MAP_PRIVATE);
        let s = map(SHARED, 16, rw, libc::MAP_SHARED);
        let h = map(SPARSE, 1 << 24, rw, libc::MAP_PRIVATE | libc::MAP_NORESERVE);
        // SAFETY: within the mappings made above.
        unsafe {
            for i in (0..64).step_by(7) {
                *p.add(i * PAGE) = b'a' + i as u8 % 26;
            }
            // Only read: the zero page.
            std::ptr::read_volatile(p.add(PAGE));
            libc::mprotect(p.add(7 * PAGE).cast(), PAGE, libc::PROT_NONE);
            libc::madvise(p.add(40 * PAGE).cast(), PAGE, libc::MADV_DONTFORK);
            *s.add(3 * PAGE) = b's';
            *h.add((1 << 23) * PAGE) = b'h';
        }
        fork(|| {
            loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    fn check((): ()) -> bool {
        let at = |address: usize| {
            // SAFETY: mapped by `build`.
            unsafe { std::ptr::read_volatile(address as *const u8) }
        };
        at(PRIVATE) == b'a' && at(SHARED + 3 * PAGE) == b's' && at(SPARSE + (1 << 23) * PAGE) == b'h'
    }
}

/// The first byte of the page at `address` in the images of `kind` and `id`.
fn first_byte(c: &Checkpoint, kind: Kind, id: u64, address: usize) -> Option<u8> {
    let pagemap = c.images.pagemap(kind, id).unwrap().unwrap();
    let pages = c.images.page_file(&pagemap).unwrap().unwrap();
    let mut at = 0;
    for r in &pagemap.records {
        let end = r.vaddr + r.page_count() * PAGE as u64;
        if (r.vaddr..end).contains(&(address as u64)) {
            let mut b = [0];
            pages.file().read_exact_at(&mut b, at + (address as u64 - r.vaddr)).unwrap();
            return Some(b[0]);
        }
        at += end - r.vaddr;
    }
    None
}

#[test]
fn touched_pages_and_nothing_else() {
    let v = Victim::start::<Areas>();
    let c = Checkpoint::new();
    let outcome = c.dump(v.pid).unwrap_or_else(|e| panic!("{e}\n{:#?}", e.blockers));
    let id = v.pid as u64;
    let mm: MmEntry = c.images.read_one(Kind::Mm, id).unwrap();
    let area = |at: usize| -> &VmaEntry {
        mm.vmas.iter().find(|v| (v.start..v.end).contains(&(at as u64))).unwrap_or_else(|| panic!("{at:#x}"))
    };
    for i in 0..64 {
        let wanted = (i % 7 == 0).then_some(b'a' + i as u8 % 26);
        assert_eq!(first_byte(&c, Kind::Pagemap, id, PRIVATE + i * PAGE), wanted, "page {i}");
    }
    assert_eq!(area(PRIVATE + 7 * PAGE).prot, 0);
    assert_eq!(area(PRIVATE + 40 * PAGE).madv, Some(1 << libc::MADV_DONTFORK));
    assert_eq!(first_byte(&c, Kind::Pagemap, id, SPARSE + (1 << 23) * PAGE), Some(b'h'));
    assert_eq!(area(SPARSE).flags, 0x2 | 0x20 | 0x4000);
    // One object for both tasks, stored once.
    let shared = area(SHARED);
    assert_eq!((shared.status, shared.flags), (1 | 1 << 8, 0x21));
    assert_eq!(first_byte(&c, Kind::Pagemap, id, SHARED + 3 * PAGE), None);
    assert_eq!(first_byte(&c, Kind::ShmemPagemap, shared.shmid, 3 * PAGE), Some(b's'));
    assert_eq!(c.names().iter().filter(|n| n.starts_with("pagemap-shmem")).count(), 1);
    assert_eq!((outcome.tasks, outcome.stats.shpages_written), (2, 1));
    for (bit, what) in [(3, "vDSO"), (5, "heap"), (12, "vvar"), (2, "vsyscall")] {
        assert!(mm.vmas.iter().any(|v| v.status & 1 << bit != 0), "{what}");
    }
    assert!(mm.mm_brk >= mm.mm_start_brk && mm.mm_saved_auxv.len() >= 40);
    assert!(v.checks_itself());
}
