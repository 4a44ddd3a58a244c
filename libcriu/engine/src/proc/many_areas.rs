//! The areas of an address space that has thousands, or very many pages, and those of many processes: smaps looks at every page of
//! each, only to have its flags told at last. The kernel's own records of them are read instead, where it lets us.
//!
//! What the bits of its flags mean is no interface. So only those are understood that have been the same for years, any other
//! bit in any area means smaps, and what smaps tells of this process, and has told of the first areas, must be what is found here.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock};

use rustix::fs::OFlags;

use super::smaps::{Area, VmFlags, access};
use super::{ProcDir, areas, malformed};
use crate::sys::kernel::{Each, Iterator, Layouts, Word};
use crate::sys::procmap;

/// Of the bits that the kernel's flags have, those that areas without anything special have, and the letters of each, in their
/// order in smaps.
const LETTERS: &[(u32, [u8; 2])] = &[
    (0, *b"rd"),
    (1, *b"wr"),
    (2, *b"ex"),
    (3, *b"sh"),
    (4, *b"mr"),
    (5, *b"mw"),
    (6, *b"me"),
    (7, *b"ms"),
    (8, *b"gd"),
    (10, *b"pf"),
    (13, *b"lo"),
    (14, *b"io"),
    (15, *b"sr"),
    (16, *b"rr"),
    (17, *b"dc"),
    (18, *b"de"),
    (19, *b"lf"),
    (20, *b"ac"),
    (21, *b"nr"),
    (25, *b"wf"),
    (26, *b"dd"),
    (27, *b"sd"),
    (29, *b"hg"),
    (30, *b"nh"),
    (31, *b"mg"),
];
const EXEC: u64 = 1 << 2;
const MAY_SHARE: u64 = 1 << 7;

const WORDS: [Word; 14] = [
    Word::At("vm_start"),
    Word::At("vm_end"),
    Word::At("vm_flags"),
    Word::At("vm_pgoff"),
    Word::At("vm_file"),
    Word::Behind("vm_file", "file", "f_mode"),
    Word::At("vm_ops"),
    Word::At("vm_private_data"),
    Word::At("anon_vma"),
    Word::Perhaps("anon_name"),
    Word::Behind("vm_mm", "mm_struct", "start_stack"),
    Word::Behind("vm_mm", "mm_struct", "start_brk"),
    Word::Behind("vm_mm", "mm_struct", "brk"),
    Word::Perhaps("vm_policy"),
];

/// What is mapped, by the file, or by what the kernel has instead, and what that is called. For as long as nobody runs who could unmap it.
#[derive(Debug, Default)]
pub struct Names(Mutex<HashMap<(u64, u64), procmap::Mapped>>);

impl Names {
    /// Asks only once for each.
    fn of(
        &self,
        key: (u64, u64),
        query: impl Fn() -> io::Result<procmap::Mapped>,
    ) -> io::Result<(procmap::Mapped, bool)> {
        let mut known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = known.get(&key) {
            return Ok((known.clone(), false));
        }
        let asked = query()?;
        known.insert(key, asked.clone());
        Ok((asked, true))
    }
}

/// All areas, of which smaps has told the first ones already; the inner `None`: it has to tell of all.
///
/// # Errors
/// Why the kernel's records cannot be read.
pub(super) fn all(dir: &ProcDir, first: &[Area], names: &Names) -> io::Result<Option<Vec<Area>>> {
    let Some(records) = records() else { return Ok(None) };
    let Some(mut found) = records.of(dir, names)?.into_iter().collect::<Option<Vec<Area>>>() else { return Ok(None) };
    found.extend(records.vsyscall.clone());
    let same = found.len() >= first.len() && found.iter().zip(first).all(|(found, told)| found.is_told_as(told));
    Ok(same.then_some(found))
}

/// Found out once.
pub(super) fn records() -> Option<&'static Records> {
    static RECORDS: OnceLock<Option<Records>> = OnceLock::new();
    let told = |e: io::Error| log::debug!("the kernel's records of areas cannot be read: {e}");
    RECORDS.get_or_init(|| Records::load().map_err(told).ok()).as_ref()
}

/// How to get at records.
#[derive(Debug)]
pub(super) struct Records {
    iterator: Iterator,
    /// What is behind the end of every address space belongs to none, and is the same for all.
    vsyscall: Option<Area>,
}

impl Records {
    /// # Errors
    /// Those of bpf(2); ENOTSUP: what the records tell of this process is not what smaps tells.
    fn load() -> io::Result<Records> {
        const ENOUGH: usize = 8;
        let iterator = Iterator::load(Layouts::of_this_kernel()?, Each::Area, &WORDS)?;
        let dir = ProcDir::open(std::process::id() as i32)?;
        let told = areas(&dir)?;
        let vsyscall = told.iter().find(|a| a.name == b"[vsyscall]").cloned();
        let records = Records { iterator, vsyscall };
        let mut same = 0;
        for found in records.of(&dir, &Names::default())?.into_iter().flatten() {
            // Other threads may map and unmap meanwhile.
            let Some(told) = told.iter().find(|t| (t.start, t.end) == (found.start, found.end)) else { continue };
            if !found.is_told_as(told) || !found.is_opened_as(&dir) {
                log::debug!("an area that smaps calls {told:?} is in the kernel's records as {found:?}");
                return Err(io::Error::from_raw_os_error(libc::ENOTSUP));
            }
            same += 1;
        }
        if same < ENOUGH { Err(io::Error::from_raw_os_error(libc::ENOTSUP)) } else { Ok(records) }
    }

    /// `None` of an area: there is more to it than can be told from its record.
    fn of(&self, dir: &ProcDir, names: &Names) -> io::Result<Vec<Option<Area>>> {
        let maps = OnceCell::new();
        let words = self.iterator.read(dir.id())?;
        let (records, _) = words.as_chunks::<{ WORDS.len() }>();
        let query = |at| {
            let maps = match maps.get() {
                Some(maps) => maps,
                None => {
                    let opened: OwnedFd = dir.open_at("maps", OFlags::RDONLY)?;
                    maps.get_or_init(|| opened)
                }
            };
            procmap::query(maps.as_fd(), at)
        };
        records.iter().map(|record| area(record, names, query)).collect()
    }
}

impl Area {
    /// The records know that pages were changed, but not whether they are code.
    fn is_told_as(&self, told: &Area) -> bool {
        let Area { has_own_code, access, may_have_policy, .. } = *self;
        (has_own_code || !told.has_own_code) && *self == Area { has_own_code, access, may_have_policy, ..told.clone() }
    }

    /// Was the file, if there is one, opened as the links of map_files tell it? What is unmapped by now does not matter.
    pub(super) fn is_opened_as(&self, dir: &ProcDir) -> bool {
        self.access.is_none_or(|own| self.access_by(dir).map_or(true, |told| told == own))
    }
}

/// `None`: there is more to it than can be told from its record.
fn area(
    record: &[u64; WORDS.len()],
    names: &Names,
    query: impl Fn(u64) -> io::Result<procmap::Mapped>,
) -> io::Result<Option<Area>> {
    const MODE_READ: u64 = 1;
    const MODE_WRITE: u64 = 2;
    let [start, end, bits, page, file, mode, operations, data, own_pages, name, stack, heap_start, heap_end, policy] =
        *record;
    let Some(flags) = letters(bits) else { return Ok(None) };
    let mut area = Area {
        start,
        end,
        prot: (bits & 7) as u32,
        shared: bits & MAY_SHARE != 0,
        offset: if file == 0 { 0 } else { page << 12 },
        flags,
        may_have_policy: policy != 0,
        ..Area::default()
    };
    // It could have some, at least.
    area.has_own_code = file != 0 && own_pages != 0 && bits & EXEC != 0 && !area.shared;
    if file != 0 || operations != 0 || name != 0 {
        let key = if file != 0 { (file, 0) } else { (operations, data) };
        let (mapped, is_asked) = match name {
            0 => names.of(key, || query(start))?,
            _ => (query(start)?, true),
        };
        if is_asked && (mapped.start, mapped.end, mapped.offset) != (start, end, area.offset) {
            return Err(malformed("what is mapped"));
        }
        area.access = (file != 0).then(|| access(mode & MODE_READ != 0, mode & MODE_WRITE != 0));
        (area.dev, area.inode, area.name) = (mapped.dev, mapped.inode, escaped(&mapped.name));
    } else if start < heap_end && end > heap_start {
        area.name = b"[heap]".to_vec();
    } else if start <= stack && end >= stack {
        area.name = b"[stack]".to_vec();
    }
    Ok(Some(area))
}

fn letters(bits: u64) -> Option<VmFlags> {
    let mut flags = VmFlags::default();
    let mut rest = bits;
    for (bit, letters) in LETTERS.iter().filter(|(bit, _)| bits >> bit & 1 != 0) {
        rest &= !(1 << bit);
        flags.push(*letters);
    }
    (rest == 0).then_some(flags)
}

fn escaped(name: &[u8]) -> Vec<u8> {
    name.split(|b| *b == b'\n').collect::<Vec<_>>().join(b"\\012".as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_records_tell() {
        let none = |_| Err(io::Error::from_raw_os_error(libc::ENOENT));
        let area = |record: &[u64; WORDS.len()], query: &dyn Fn(u64) -> io::Result<procmap::Mapped>| {
            area(record, &Names::default(), query)
        };
        let heap = [0x1000, 0x3000, 0x10_0073, 1, 0, 0, 0, 0, 9, 0, 0x9000, 0x2000, 0x2800, 0];
        let told = area(&heap, &none).unwrap().unwrap();
        assert_eq!((told.prot, told.shared, told.offset, told.name.as_slice()), (3, false, 0, b"[heap]".as_slice()));
        assert!(told.has(b"ac") && told.has(b"wr") && !told.has(b"ex") && !told.may_have_policy);
        let mut bound = heap;
        bound[13] = 7;
        assert!(area(&bound, &none).unwrap().unwrap().may_have_policy);
        let mut beside = heap;
        beside[12] = 0x1000;
        assert!(area(&beside, &none).unwrap().unwrap().name.is_empty());
        beside[10] = 0x2ff0;
        assert_eq!(area(&beside, &none).unwrap().unwrap().name, b"[stack]");
        // A key, a seal, a page of the kernel's choice: whatever it is.
        for bit in [9, 11, 12, 22, 32, 63] {
            let mut special = heap;
            special[2] |= 1 << bit;
            assert_eq!(area(&special, &none).unwrap(), None, "{bit}");
        }
        let mapped = [0x1000, 0x3000, 0x75, 1, 7, 3, 0, 0, 9, 0, 0, 0, 0, 0];
        assert!(area(&mapped, &none).is_err());
        let other = |_| Ok(procmap::Mapped { start: 0x1000, end: 0x2000, ..procmap::Mapped::default() });
        assert!(area(&mapped, &other).is_err());
        let code = |_| Ok(procmap::Mapped { start: 0x1000, end: 0x3000, offset: 4096, ..procmap::Mapped::default() });
        let told = area(&mapped, &code).unwrap().unwrap();
        assert!(told.has_own_code && told.access == Some(libc::O_RDWR as u32));
        let mut untouched = mapped;
        untouched[8] = 0;
        assert!(!area(&untouched, &code).unwrap().unwrap().has_own_code);
        assert_eq!(escaped(b"/a\nb\n"), b"/a\\012b\\012");
    }

    /// Of a process with areas of many kinds.
    #[test]
    fn the_same_as_smaps() {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let protections = [ProtFlags::empty(), ProtFlags::READ, ProtFlags::READ | ProtFlags::WRITE];
        for n in 0..48 {
            let flags = if n % 4 < 2 { MapFlags::PRIVATE } else { MapFlags::SHARED };
            let flags = flags | if n % 5 == 0 { MapFlags::NORESERVE } else { MapFlags::empty() };
            // SAFETY: new mappings at addresses of the kernel's choice, which stay.
            unsafe { mmap_anonymous(std::ptr::null_mut(), 4096, protections[n % 3], flags) }.unwrap();
        }
        // Which other tests do not change.
        // SAFETY: the child waits to be killed.
        let child = unsafe { libc::fork() };
        if child == 0 {
            loop {
                // SAFETY: no arguments.
                unsafe { libc::pause() };
            }
        }
        let dir = ProcDir::open(child).unwrap();
        let text = super::super::smaps::parse(&dir.read_list("smaps").unwrap()).unwrap();
        let told = all(&dir, &text[..9], &Names::default());
        let lies = all(&dir, &[Area { end: 1, ..text[0].clone() }], &Names::default());
        // SAFETY: this process's own child.
        unsafe { (libc::kill(child, libc::SIGKILL), libc::waitpid(child, std::ptr::null_mut(), 0)) };
        // Without the right there is nothing to compare.
        let Some(told) = told.unwrap() else { return };
        for (told, text) in told.iter().zip(&text) {
            assert!(told.is_told_as(text), "{told:?} {text:?}");
            assert_eq!(told.access.is_some(), text.inode != 0, "{told:?}");
        }
        assert_eq!(told.len(), text.len());
        assert_eq!(lies.unwrap(), None);
    }
}
