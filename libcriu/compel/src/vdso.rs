//! Room for a few instructions in a task: the end of the vDSO's last page, behind its ELF image. Nothing runs there, the
//! page is executable, and writing makes a private copy of it. A task that has unmapped its vDSO has such ends as well: of
//! the code of its executable and libraries.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Kind, Result};
use crate::memory::Memory;
use crate::status;

/// Larger than any vDSO.
const VDSO_MAX_BYTES: u64 = 1 << 20;
const ALIGN: usize = 16;
const PAGE: usize = 4096;
/// An ELF file's header and those of its segments.
const HEADERS_MAX_BYTES: usize = 4096;
const PT_LOAD: u64 = 1;

/// Bytes at the end of the vDSO that may be overwritten as long as nobody is there.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub address: u64,
    /// What stands there now.
    pub old: Vec<u8>,
}

/// Bounds of the vDSO in the task's address space.
pub(crate) fn mapping(pid: i32, tid: i32) -> Result<(u64, u64)> {
    let found = match mapping_by_query(pid, tid) {
        None => mapping_in_list(tid, &format!("/proc/{pid}/task/{tid}/maps"))?,
        found => found,
    };
    match found {
        Some((start, end)) if end > start && end - start <= VDSO_MAX_BYTES => Ok((start, end)),
        _ => Err(Error::new(tid, Kind::NoRoom, "looking for the vDSO")),
    }
}

/// `struct procmap_query`.
#[repr(C)]
#[derive(Default)]
struct ProcmapQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev: [u32; 2],
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// Asks for the mapping where the auxiliary vector says that the vDSO is, so that a list of thousands need not be read (Linux
/// 6.11). `None` when that gives nothing.
fn mapping_by_query(pid: i32, tid: i32) -> Option<(u64, u64)> {
    const AT_SYSINFO_EHDR: u64 = 33;
    const PROCMAP_QUERY: u64 = 0xc068_6611;
    let auxv = fs::read(format!("/proc/{pid}/task/{tid}/auxv")).ok()?;
    let word = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap_or([0; 8]));
    let hint = auxv.chunks_exact(16).find(|pair| word(&pair[..8]) == AT_SYSINFO_EHDR).map(|pair| word(&pair[8..]))?;
    let maps = File::open(format!("/proc/{pid}/maps")).ok()?;
    let mut name = [0_u8; 16];
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_addr: hint,
        vma_name_size: name.len() as u32,
        vma_name_addr: name.as_mut_ptr() as u64,
        ..ProcmapQuery::default()
    };
    // SAFETY: the structure tells its own size and that of the buffer for the name; both live during the call.
    let ret = unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    (ret == 0 && name.starts_with(b"[vdso]\0")).then_some((query.vma_start, query.vma_end))
}

fn mapping_in_list(tid: i32, path: &str) -> Result<Option<(u64, u64)>> {
    let maps = status::read_proc(path).map_err(|e| Error::os(tid, "reading /proc/PID/maps", e))?;
    let line = maps.lines().rev().find(|line| line.ends_with("[vdso]"));
    let bounds = line.and_then(|line| line.split(' ').next()).and_then(|range| range.split_once('-'));
    let hex = |s: &str| u64::from_str_radix(s, 16).ok();
    Ok(bounds.and_then(|(start, end)| Some((hex(start)?, hex(end)?))))
}

/// Address of a `syscall` instruction in the vDSO of a stopped task, for [`crate::drive::syscall_at`].
///
/// # Errors
/// [`Kind::NoRoom`] when there is no vDSO or no such bytes in it.
pub fn syscall_instruction(memory: &Memory, pid: i32, tid: i32) -> Result<u64> {
    const SYSCALL: &[u8] = &[0x0f, 0x05];
    let (start, end) = mapping(pid, tid)?;
    let mut image = vec![0; (end - start) as usize];
    memory.read(start, &mut image)?;
    let at = image.windows(SYSCALL.len()).position(|bytes| bytes == SYSCALL);
    at.map(|at| start + at as u64).ok_or(Error::new(tid, Kind::NoRoom, "looking for a syscall instruction"))
}

/// Where an ELF header has what is looked at, and the sizes of entries: of a word, of a program header, of a section header.
struct Elf {
    word: usize,
    /// Of e_phoff, e_shoff, e_phnum, e_shnum.
    at: [usize; 4],
    segment_bytes: u64,
    /// Of p_offset, p_filesz.
    segment_at: [usize; 2],
    section_bytes: u64,
}

const ELF64: Elf = Elf { word: 8, at: [32, 40, 56, 60], segment_bytes: 56, segment_at: [8, 32], section_bytes: 64 };
const ELF32: Elf = Elf { word: 4, at: [28, 32, 44, 48], segment_bytes: 32, segment_at: [4, 16], section_bytes: 40 };

/// Is it the vDSO of the i386 ABI, by its first bytes?
pub fn is_compat(image: &[u8]) -> bool {
    image.starts_with(b"\x7fELF\x01")
}

/// What reads numbers of so many bytes in an ELF image.
fn reader(image: &[u8]) -> Option<(Elf, impl Fn(usize, usize) -> Option<u64> + '_)> {
    if image.get(..4)? != b"\x7fELF" {
        return None;
    }
    let number = |at: usize, bytes: usize| {
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(image.get(at..at.checked_add(bytes)?)?);
        Some(u64::from_le_bytes(word))
    };
    Some((if is_compat(image) { ELF32 } else { ELF64 }, number))
}

/// Offset of the section headers and of the end of an ELF image.
fn elf_end(image: &[u8]) -> Option<(usize, usize)> {
    let (elf, number) = reader(image)?;
    let word = |at: usize| number(at, elf.word);
    let [phoff, shoff] = [word(elf.at[0])?, word(elf.at[1])?];
    let [phnum, shnum] = [number(elf.at[2], 2)?, number(elf.at[3], 2)?];
    let mut end = shoff.checked_add(shnum * elf.section_bytes)?;
    let mut segments_end = 0;
    for i in 0..phnum {
        let at = usize::try_from(phoff.checked_add(i * elf.segment_bytes)?).ok()?;
        let [offset, size] = elf.segment_at.map(|part| word(at + part));
        segments_end = segments_end.max(offset?.checked_add(size?)?);
    }
    end = end.max(segments_end);
    let headers = if shoff >= segments_end { shoff } else { end };
    Some((usize::try_from(headers).ok()?, usize::try_from(end).ok()?))
}

/// Finds room for at least `bytes` behind the code of an executable or library that a task without a vDSO has mapped.
pub(crate) fn find_room_elsewhere(memory: &Memory, pid: i32, tid: i32, bytes: usize) -> Result<Room> {
    let maps = status::read_proc(&format!("/proc/{pid}/task/{tid}/maps"))
        .map_err(|e| Error::os(tid, "reading /proc/PID/maps", e))?;
    let room = maps.lines().find_map(|line| behind_code(memory, pid, line, bytes));
    room.ok_or_else(|| Error::new(tid, Kind::NoRoom, "looking for room behind code"))
}

/// `04883000-049d9000 r-xp 00026000 fe:00 326269 /usr/lib/libc.so`: what the mapping has in its last page of no segment, if
/// these are zeros.
fn behind_code(memory: &Memory, pid: i32, line: &str, bytes: usize) -> Option<Room> {
    let mut words = line.split_ascii_whitespace();
    let (range, permissions, offset) = (words.next()?, words.next()?, words.next()?);
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = range.split_once('-').and_then(|(start, end)| Some((hex(start)?, hex(end)?)))?;
    if permissions != "r-xp" || !words.nth(2)?.starts_with('/') {
        return None;
    }
    let file = File::open(format!("/proc/{pid}/map_files/{range}")).ok()?;
    let mut headers = vec![0; HEADERS_MAX_BYTES];
    let len = file.read_at(&mut headers, 0).ok()?;
    headers.truncate(len);
    let from = start.checked_add(code_end(&headers, hex(offset)?)?)?.next_multiple_of(ALIGN as u64);
    let mut old = vec![0; usize::try_from(end.checked_sub(from)?).ok().filter(|&room| (bytes..PAGE).contains(&room))?];
    memory.read(from, &mut old).ok()?;
    old.iter().all(|&byte| byte == 0).then_some(Room { address: from, old })
}

/// Where the segment ends that a mapping from this offset shows, counted from the offset.
fn code_end(headers: &[u8], offset: u64) -> Option<u64> {
    let (elf, number) = reader(headers)?;
    let word = |at: usize| number(at, elf.word);
    let (phoff, phnum) = (word(elf.at[0])?, number(elf.at[2], 2)?);
    (0..phnum).find_map(|i| {
        let at = usize::try_from(phoff.checked_add(i * elf.segment_bytes)?).ok()?;
        let [begin, size] = elf.segment_at.map(|part| word(at + part));
        let (begin, size) = (begin?, size?);
        let is_loaded = number(at, 4)? == PT_LOAD && begin & !(PAGE as u64 - 1) <= offset;
        begin.checked_add(size)?.checked_sub(offset).filter(|&end| is_loaded && end > 0)
    })
}

/// Finds room for at least `bytes` in the vDSO between these bounds. Zeros are preferred: what is not zero may be the way home of a thread that a dead
/// engine left there, still in use below a signal handler.
pub(crate) fn find_room(memory: &Memory, tid: i32, (start, end): (u64, u64), bytes: usize) -> Result<Room> {
    let no_room = || Error::new(tid, Kind::NoRoom, "looking for room in the vDSO");
    if end < start || end - start > VDSO_MAX_BYTES {
        return Err(no_room());
    }
    let mut image = vec![0; (end - start) as usize];
    memory.read(start, &mut image)?;
    let (headers, elf) = elf_end(&image).ok_or_else(no_room)?;
    let first = elf.next_multiple_of(ALIGN);
    let zeros_from = image.iter().rposition(|&b| b != 0).map_or(0, |last| (last + 1).next_multiple_of(ALIGN));
    let fits = |from: usize| image.len().saturating_sub(from) >= bytes;
    let from = [zeros_from.max(first), first, headers.next_multiple_of(ALIGN)].into_iter().find(|&from| fits(from));
    let from = from.ok_or_else(no_room)?;
    Ok(Room { address: start + from as u64, old: image[from..].to_vec() })
}
