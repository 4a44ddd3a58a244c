//! Where members of the kernel's structures are, from the kernel's own description (BTF).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

const MAGIC: u16 = 0xeb9f;
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNCTION: u32 = 12;
const TYPE_TAG: u32 = 18;
/// A chain of typedefs and qualifiers in the kernel is far shorter.
const LONGEST_CHAIN: usize = 32;
const DEEPEST: usize = 16;
/// Types are found by going on from one that is noted down: a note for each of them would be memory that takes longer to get.
const STEP: u32 = 32;

/// A member: where it is in its structure, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub offset: usize,
    pub bytes: usize,
    /// The first bit, counted from the offset: not 0 in a part of a word alone.
    pub bit: u8,
}

impl Member {
    /// The number at this member of a structure that was read, of at most 8 bytes.
    pub(crate) fn of(self, structure: &[u8]) -> u64 {
        let mut word = [0; 8];
        let len = self.bytes.min(8);
        if let Some(there) = structure.get(self.offset..self.offset + len) {
            word[..len].copy_from_slice(there);
        }
        u64::from_le_bytes(word)
    }
}

/// The kernel's description of its types.
#[derive(Debug)]
pub(crate) struct Layouts {
    bytes: Bytes,
    /// Where the first type starts in `bytes`, and where the last one ends. The type 0 is `void`, and nowhere.
    first: usize,
    end: usize,
    strings: usize,
    passed: Mutex<Passed>,
    known: Mutex<HashMap<(String, String), Member>>,
    /// Structures that were looked for.
    found: Mutex<HashMap<String, u32>>,
}

/// The types that were passed so far on a way from the first to the last. It goes no farther than what is looked for: most of
/// that is among the first.
#[derive(Debug)]
struct Passed {
    /// Where each [`STEP`]th starts.
    types: Vec<u32>,
    count: u32,
    /// Those that are structures with members.
    structures: Vec<Structure>,
    /// The next one.
    at: usize,
}

/// Names are all over several megabytes: the beginning is noted down, by which nearly all others are told apart.
#[derive(Clone, Copy, Debug)]
struct Structure {
    beginning: u64,
    name_at: u32,
    id: u32,
}

/// A file of several megabytes, of which little is looked at: mapped if the kernel lets it be (Linux 6.16), else read, which
/// sysfs does by the page.
#[derive(Debug)]
enum Bytes {
    Mapped(*const u8, usize),
    Read(Vec<u8>),
}

// SAFETY: what is mapped is only read, by whichever thread.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len() as usize;
        if len > 0 {
            // SAFETY: a new mapping at an address of the kernel's choice.
            let mapped = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, &file, 0) };
            if let Ok(at) = mapped {
                return Ok(Bytes::Mapped(at.cast_const().cast(), len));
            }
        }
        std::fs::read(path).map(Bytes::Read)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            // SAFETY: mapped by `of` until it is dropped; the kernel's description of itself does not change.
            Bytes::Mapped(at, len) => unsafe { std::slice::from_raw_parts(*at, *len) },
            Bytes::Read(bytes) => bytes,
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Bytes::Mapped(at, len) = *self {
            // SAFETY: made by `of`, and used through `self` alone. It cannot fail.
            let _ = unsafe { munmap(at.cast_mut().cast(), len) };
        }
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a type takes, by its second word.
fn type_bytes(info: u32) -> usize {
    let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
    12 + match kind {
        // A number each: int, var, decl_tag.
        INT | 14 | 17 => 4,
        ARRAY => 12,
        // Members, section entries, enum64.
        STRUCT | UNION | 15 | 19 => 12 * count,
        // Enumerators, parameters.
        6 | 13 => 8 * count,
        _ => 0,
    }
}

/// Up to eight bytes of a name, in which nothing counts from its end on.
fn beginning(name: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(name.iter().take_while(|b| **b != 0)) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

impl Layouts {
    /// The running kernel's, read once: it is of several megabytes, and what was found in it is kept.
    ///
    /// # Errors
    /// ENOENT: a kernel without CONFIG_DEBUG_INFO_BTF.
    pub(crate) fn of_this_kernel() -> io::Result<&'static Self> {
        static LAYOUTS: OnceLock<Layouts> = OnceLock::new();
        match LAYOUTS.get() {
            Some(layouts) => Ok(layouts),
            None => {
                let layouts = Self::load()?;
                Ok(LAYOUTS.get_or_init(|| layouts))
            }
        }
    }

    fn load() -> io::Result<Self> {
        Self::parse(Bytes::of(Path::new("/sys/kernel/btf/vmlinux"))?).ok_or_else(malformed)
    }

    fn parse(bytes: Bytes) -> Option<Self> {
        let magic = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
        if magic != MAGIC {
            return None;
        }
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let header = word(4)? as usize;
        let (first, len, strings) = (header + word(8)? as usize, word(12)? as usize, header + word(16)? as usize);
        let passed = Passed { types: Vec::new(), count: 0, structures: Vec::new(), at: first };
        let (known, found) = (Mutex::default(), Mutex::default());
        Some(Layouts { bytes, first, end: first + len, strings, passed: Mutex::new(passed), known, found })
    }

    /// Passes one more type; `None`: there are no more.
    fn pass(&self, passed: &mut Passed) -> Option<()> {
        let at = passed.at;
        if at >= self.end {
            return None;
        }
        let info = self.word(at + 4)?;
        if passed.count.is_multiple_of(STEP) {
            passed.types.push(at as u32);
        }
        passed.count += 1;
        if info >> 24 & 0x1f == STRUCT && info & 0xffff != 0 {
            let name_at = self.word(at)?;
            passed.structures.push(Structure { beginning: self.beginning(name_at), name_at, id: passed.count });
        }
        passed.at += type_bytes(info);
        Some(())
    }

    /// The member at a path like `sk.__sk_common.skc_cookie`; members of nameless parts are members of the whole.
    ///
    /// # Errors
    /// ENOENT: this kernel has no such structure or member.
    pub(crate) fn member(&self, structure: &str, path: &str) -> io::Result<Member> {
        let key = (structure.to_owned(), path.to_owned());
        if let Some(&known) = lock(&self.known).get(&key) {
            return Ok(known);
        }
        let found = self.structure(structure).and_then(|mut id| {
            let mut bits = 0;
            for name in path.split('.') {
                let (at, of) = self.find(id, name, 0)?;
                bits += at;
                id = of;
            }
            Some(Member { offset: bits / 8, bytes: self.size(id)?, bit: (bits % 8) as u8 })
        });
        let member = found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        lock(&self.known).insert(key, member);
        Ok(member)
    }

    /// The name of the member in which a bit of a structure is, as [`Layouts::member`] has it.
    pub(crate) fn name_at(&self, structure: &str, bit: usize) -> Option<String> {
        self.name_in(self.structure(structure)?, bit, 0)
    }

    fn name_in(&self, id: u32, bit: usize, depth: usize) -> Option<String> {
        let (_, at, kind, count) = self.bare(id)?;
        if !matches!(kind, STRUCT | UNION) || depth > DEEPEST {
            return None;
        }
        let has_bits = self.word(at + 4)? >> 31 != 0;
        // The last that begins before it.
        for member in (0..count).rev().map(|i| at + 12 + 12 * i) {
            let (name_at, of, offset) = (self.word(member)?, self.word(member + 4)?, self.word(member + 8)?);
            let first = (if has_bits { offset & 0xff_ffff } else { offset }) as usize;
            if first > bit {
                continue;
            }
            let inner = self.name_in(of, bit - first, depth + 1);
            return match self.name(name_at)?.as_str() {
                "" => inner,
                name => Some(inner.map_or_else(|| name.to_owned(), |inner| format!("{name}.{inner}"))),
            };
        }
        None
    }

    fn name(&self, name_at: u32) -> Option<String> {
        let bytes = self.bytes.get(self.strings + name_at as usize..)?;
        let end = bytes.iter().position(|b| *b == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// Bytes of a structure.
    pub(crate) fn bytes(&self, structure: &str) -> io::Result<usize> {
        let id = self.structure(structure).and_then(|id| self.size(id));
        id.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// The number of a function.
    ///
    /// # Errors
    /// ENOENT: this kernel has no such function.
    pub(super) fn function(&self, name: &str) -> io::Result<u32> {
        let (mut at, mut id) = (self.first, 0);
        while at < self.end
            && let (Some(name_at), Some(info)) = (self.word(at), self.word(at + 4))
        {
            id += 1;
            if info >> 24 & 0x1f == FUNCTION && self.is_named(name_at, name) {
                return Ok(id);
            }
            at += type_bytes(info);
        }
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    /// Where a type starts, its kind, and how many members it has.
    fn look(&self, id: u32) -> Option<(usize, u32, usize)> {
        let index = id.checked_sub(1)?;
        let mut passed = lock(&self.passed);
        while passed.count < id {
            self.pass(&mut passed)?;
        }
        let mut at = *passed.types.get((index / STEP) as usize)? as usize;
        drop(passed);
        for _ in 0..index % STEP {
            at += type_bytes(self.word(at + 4)?);
        }
        let info = self.word(at + 4)?;
        Some((at, info >> 24 & 0x1f, (info & 0xffff) as usize))
    }

    fn beginning(&self, name_at: u32) -> u64 {
        let at = self.strings + name_at as usize;
        self.bytes.get(at..at + 8).or_else(|| self.bytes.get(at..)).map_or(0, beginning)
    }

    fn is_named(&self, name_at: u32, name: &str) -> bool {
        let at = self.strings + name_at as usize;
        let there = self.bytes.get(at..at + name.len() + 1);
        there.and_then(|b| b.strip_suffix(&[0])).is_some_and(|b| b == name.as_bytes())
    }

    fn structure(&self, name: &str) -> Option<u32> {
        if let Some(&known) = lock(&self.found).get(name) {
            return Some(known);
        }
        let id = self.find_structure(&mut lock(&self.passed), name)?;
        lock(&self.found).insert(name.to_owned(), id);
        Some(id)
    }

    fn find_structure(&self, passed: &mut Passed, name: &str) -> Option<u32> {
        let wanted = beginning(name.as_bytes());
        let mut looked_at = 0;
        loop {
            let new = passed.structures.get(looked_at..)?;
            let is_it = |s: &&Structure| s.beginning == wanted && self.is_named(s.name_at, name);
            if let Some(found) = new.iter().find(is_it) {
                return Some(found.id);
            }
            looked_at = passed.structures.len();
            while passed.structures.len() == looked_at {
                self.pass(passed)?;
            }
        }
    }

    /// Without typedefs and qualifiers.
    fn bare(&self, mut id: u32) -> Option<(u32, usize, u32, usize)> {
        for _ in 0..LONGEST_CHAIN {
            let (at, kind, count) = self.look(id)?;
            match kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = self.word(at + 8)?,
                _ => return Some((id, at, kind, count)),
            }
        }
        None
    }

    fn size(&self, id: u32) -> Option<usize> {
        let (_, at, kind, _) = self.bare(id)?;
        match kind {
            PTR => Some(8),
            ARRAY => Some(self.size(self.word(at + 12)?)? * self.word(at + 20)? as usize),
            _ => Some(self.word(at + 8)? as usize),
        }
    }

    /// Offset in bits and type of a member.
    fn find(&self, id: u32, name: &str, depth: usize) -> Option<(usize, u32)> {
        let (_, at, kind, count) = self.bare(id)?;
        if !matches!(kind, STRUCT | UNION) || depth > DEEPEST {
            return None;
        }
        let has_bits = self.word(at + 4)? >> 31 != 0;
        for member in (0..count).map(|i| at + 12 + 12 * i) {
            let (name_at, of, offset) = (self.word(member)?, self.word(member + 4)?, self.word(member + 8)?);
            let bits = if has_bits { offset & 0xff_ffff } else { offset };
            let offset = bits as usize;
            if self.is_named(name_at, name) {
                return Some((offset, of));
            }
            if self.is_named(name_at, "")
                && let Some((inner, of)) = self.find(of, name, depth + 1)
            {
                return Some((offset + inner, of));
            }
        }
        None
    }
}

fn malformed() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}
