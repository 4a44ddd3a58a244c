//! The GNU build id of an ELF file: a name for its contents that survives copying.

use std::os::fd::BorrowedFd;

use rustix::io::pread;

const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
/// Notes beyond this are not searched; linkers place the build id among the first few hundred bytes.
const MAX_NOTE_BYTES: u64 = 64 << 10;
/// A build id is 20 bytes as linkers make it; `--build-id=0x...` may give others.
const MAX_ID_BYTES: usize = 512;

/// The build id as 32-bit little-endian words, empty when `file` is no ELF file or has none.
pub(crate) fn build_id(file: BorrowedFd<'_>) -> Vec<u32> {
    find(file).unwrap_or_default()
}

fn find(file: BorrowedFd<'_>) -> Option<Vec<u32>> {
    let mut head = [0u8; 64];
    if read_at(file, &mut head, 0)? < 52 || head[..4] != *b"\x7fELF" || head[5] != 1 {
        return None;
    }
    let wide = head[4] == 2;
    let (phoff, phentsize, phnum) = if wide {
        (u64_at(&head, 32)?, u16_at(&head, 54)?, u16_at(&head, 56)?)
    } else {
        (u64::from(u32_at(&head, 28)?), u16_at(&head, 42)?, u16_at(&head, 44)?)
    };
    let size = usize::from(phentsize);
    if size < if wide { 56 } else { 32 } || size > 1024 {
        return None;
    }
    let mut headers = vec![0u8; size * usize::from(phnum).min(1024)];
    let got = read_at(file, &mut headers, phoff)?;
    for header in headers[..got].chunks_exact(size).filter(|h| u32_at(h, 0) == Some(PT_NOTE)) {
        let (offset, bytes) = if wide {
            (u64_at(header, 8)?, u64_at(header, 32)?)
        } else {
            (u64::from(u32_at(header, 4)?), u64::from(u32_at(header, 16)?))
        };
        let mut notes = vec![0u8; bytes.min(MAX_NOTE_BYTES) as usize];
        let got = read_at(file, &mut notes, offset)?;
        if let Some(id) = in_notes(&notes[..got]) {
            return Some(id);
        }
    }
    None
}

fn in_notes(mut notes: &[u8]) -> Option<Vec<u32>> {
    while notes.len() >= 12 {
        let (name, desc, kind) = (u32_at(notes, 0)? as usize, u32_at(notes, 4)? as usize, u32_at(notes, 8)?);
        let desc_at = 12usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let end = desc_at.checked_add(desc)?;
        let body = notes.get(desc_at..end)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0") && desc <= MAX_ID_BYTES {
            let words = body.chunks(4).map(|c| {
                let mut word = [0u8; 4];
                word[..c.len()].copy_from_slice(c);
                u32::from_le_bytes(word)
            });
            return Some(words.collect());
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
    None
}

fn read_at(file: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> Option<usize> {
    pread(file, buf, offset).ok()
}

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(b.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(b.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn notes() {
        let mut note = vec![4, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0];
        note.extend(b"GNU\0\x01\x02\x03\x04\x05\x06\x07\x08");
        assert_eq!(in_notes(&note), Some(vec![0x04030201, 0x08070605]));
        let mut other = vec![4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
        other.extend(b"GNU\0\x09\0\0\0");
        other.extend(&note);
        assert_eq!(in_notes(&other), Some(vec![0x04030201, 0x08070605]));
        note.truncate(20);
        assert_eq!(in_notes(&note), None);
        assert_eq!(in_notes(&[0xff; 64]), None);
    }

    #[test]
    fn this_test_has_one_or_none_but_a_text_has_none() {
        let text = tempfile::tempfile().unwrap();
        assert_eq!(build_id(text.as_fd()), Vec::<u32>::new());
    }
}
