//! Room for a few instructions in a task: the end of the vDSO's last page, behind its ELF image. Nothing runs there, the
//! page is executable, and writing makes a private copy of it.

use std::fs;

use crate::error::{Error, Kind, Result};
use crate::memory::Memory;

/// Larger than any vDSO.
const VDSO_MAX_BYTES: u64 = 1 << 20;
const ALIGN: usize = 16;

/// Bytes at the end of the vDSO that may be overwritten as long as nobody is there.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub address: u64,
    /// What stands there now.
    pub old: Vec<u8>,
}

/// Bounds of the vDSO in the task's address space.
fn mapping(pid: i32, tid: i32) -> Result<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/task/{tid}/maps"));
    let maps = maps.map_err(|e| Error::os(tid, "reading /proc/PID/maps", e))?;
    let line = maps.lines().rev().find(|line| line.ends_with("[vdso]"));
    let bounds = line.and_then(|line| line.split(' ').next()).and_then(|range| range.split_once('-'));
    let hex = |s: &str| u64::from_str_radix(s, 16).ok();
    match bounds.and_then(|(start, end)| Some((hex(start)?, hex(end)?))) {
        Some((start, end)) if end > start && end - start <= VDSO_MAX_BYTES => Ok((start, end)),
        _ => Err(Error::new(tid, Kind::NoRoom, "looking for the vDSO")),
    }
}

/// Offset of the section headers and of the end of an ELF image.
fn elf_end(image: &[u8]) -> Option<(usize, usize)> {
    let word = |at: usize| Some(u64::from_le_bytes(image.get(at..at + 8)?.try_into().ok()?));
    let half = |at: usize| Some(u64::from(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?)));
    if image.get(..4)? != b"\x7fELF" {
        return None;
    }
    let (phoff, phnum, shoff, shnum) = (word(32)?, half(56)?, word(40)?, half(60)?);
    let mut end = shoff.checked_add(shnum * 64)?;
    let mut segments_end = 0;
    for i in 0..phnum {
        let at = usize::try_from(phoff.checked_add(i * 56)?).ok()?;
        segments_end = segments_end.max(word(at + 8)?.checked_add(word(at + 32)?)?);
    }
    end = end.max(segments_end);
    let headers = if shoff >= segments_end { shoff } else { end };
    Some((usize::try_from(headers).ok()?, usize::try_from(end).ok()?))
}

/// Finds room for at least `bytes`. Zeros are preferred: what is not zero may be the way home of a thread that a dead
/// engine left there, still in use below a signal handler.
pub(crate) fn find_room(memory: &Memory, pid: i32, tid: i32, bytes: usize) -> Result<Room> {
    let no_room = || Error::new(tid, Kind::NoRoom, "looking for room in the vDSO");
    let (start, end) = mapping(pid, tid)?;
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
