//! /proc/PID/smaps: the areas of a process's memory with their flags

use std::io;

use rustix::fs::OFlags;

use super::many_areas::Names;
use super::{ProcDir, malformed, many_areas, read_to};

/// One area (VMA).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    pub start: u64,
    pub end: u64,
    /// PROT_READ | PROT_WRITE | PROT_EXEC
    pub prot: u32,
    pub shared: bool,
    /// In bytes.
    pub offset: u64,
    /// Major and minor number of the device of the mapped file.
    pub dev: (u32, u32),
    pub inode: u64,
    /// The file's path or the kernel's name in brackets; empty for anonymous memory. Newlines stand as `\012`.
    pub name: Vec<u8>,
    /// `VmFlags`: two letters each.
    pub flags: VmFlags,
    pub protection_key: u32,
    /// Can the process have pages of its own here? Told only of what is executed from a file.
    pub has_own_code: bool,
    /// Of a mapped file: O_RDONLY, O_WRONLY or O_RDWR, as it was opened. smaps does not tell.
    pub access: Option<u32>,
    /// Can it have a memory policy of its own (mbind)? smaps does not tell.
    pub may_have_policy: bool,
}

/// Pairs of letters; more than there are is not taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmFlags {
    letters: [[u8; 2]; 26],
    len: u8,
}

impl VmFlags {
    pub fn push(&mut self, letters: [u8; 2]) {
        if let Some(free) = self.letters.get_mut(usize::from(self.len)) {
            *free = letters;
            self.len += 1;
        }
    }

    pub fn as_slice(&self) -> &[[u8; 2]] {
        &self.letters[..usize::from(self.len)]
    }
}

impl FromIterator<[u8; 2]> for VmFlags {
    fn from_iter<I: IntoIterator<Item = [u8; 2]>>(letters: I) -> VmFlags {
        let mut flags = VmFlags::default();
        letters.into_iter().for_each(|l| flags.push(l));
        flags
    }
}

impl Area {
    /// Does the area have this flag (`gd`, `lo` ...)?
    pub fn has(&self, flag: &[u8; 2]) -> bool {
        self.flags.as_slice().contains(flag)
    }

    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Is it executed from a file, of which the process could have changed pages for itself?
    pub(super) fn is_code(&self) -> bool {
        self.prot & libc::PROT_EXEC as u32 != 0 && !self.shared && self.inode != 0
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How the mapped file was opened, as the link of map_files tells it.
    ///
    /// # Errors
    /// Those of lstat(2).
    pub fn access_by(&self, dir: &ProcDir) -> io::Result<u32> {
        let mode = dir.link_mode(&format!("map_files/{:x}-{:x}", self.start, self.end))?;
        Ok(access(mode & 0o400 != 0, mode & 0o200 != 0))
    }
}

/// O_RDONLY, O_WRONLY or O_RDWR
pub(super) fn access(reads: bool, writes: bool) -> u32 {
    let access = match (reads, writes) {
        (true, true) => libc::O_RDWR,
        (false, true) => libc::O_WRONLY,
        _ => libc::O_RDONLY,
    };
    access as u32
}

/// From here on it is faster to ask the kernel in another way; about 180 areas.
const MANY_BYTES: usize = 128 << 10;
/// The same of a process with so many pages (128 MiB), at all of which smaps looks.
const MANY_PAGES: u64 = 1 << 15;

/// Every area of the process, by address.
///
/// # Errors
/// Those of reading the file.
pub fn areas(dir: &ProcDir) -> io::Result<Vec<Area>> {
    areas_of(dir, 0)
}

/// Every area of a process of which about so many pages are resident.
///
/// # Errors
/// Those of reading the file.
pub fn areas_of(dir: &ProcDir, resident_pages: u64) -> io::Result<Vec<Area>> {
    let has_many_pages = resident_pages >= MANY_PAGES;
    if has_many_pages && let Some(all) = from_records(dir, &[]) {
        return Ok(all);
    }
    let file = dir.open_at("smaps", OFlags::RDONLY)?;
    let mut bytes = Vec::with_capacity(super::LIST_BYTES);
    if !has_many_pages && read_to(&file, &mut bytes, MANY_BYTES)? {
        // The last line may not be read to its end, and the last area is not.
        let lines = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let mut first = parse(&bytes[..lines]).ok_or_else(|| malformed("smaps"))?;
        first.pop();
        if let Some(all) = from_records(dir, &first) {
            return Ok(all);
        }
    }
    read_to(&file, &mut bytes, usize::MAX)?;
    parse(&bytes).ok_or_else(|| malformed("smaps"))
}

/// What [`areas_of`] such a process will need, so that it need not stand still for that.
pub fn prepare_for(resident_pages: u64) {
    if resident_pages >= MANY_PAGES {
        many_areas::records();
    }
}

/// As [`areas_of`], of one of many processes that stand still, most of which map the same files.
///
/// # Errors
/// Those of reading the file.
pub fn areas_among(dir: &ProcDir, resident_pages: u64, names: &Names) -> io::Result<Vec<Area>> {
    let log = |e: &io::Error| log::debug!("pid {}: the kernel's records of its areas: {e}", dir.id());
    match many_areas::all(dir, &[], names).inspect_err(log) {
        Ok(Some(all)) => Ok(all),
        _ => areas_of(dir, resident_pages),
    }
}

/// Would [`areas_among`] give these areas, which smaps has told?
pub fn are_told(dir: &ProcDir, areas: &[Area], names: &Names) -> bool {
    match many_areas::all(dir, areas, names) {
        Ok(Some(all)) => all.len() == areas.len() && all.iter().all(|a| a.is_opened_as(dir)),
        // Then smaps tells of the others, too.
        _ => from_records(dir, &[]).is_none(),
    }
}

/// `None`: smaps has to tell.
fn from_records(dir: &ProcDir, first: &[Area]) -> Option<Vec<Area>> {
    let log = |e: &io::Error| log::debug!("pid {}: the kernel's records of its areas: {e}", dir.id());
    many_areas::all(dir, first, &Names::default()).inspect_err(log).ok()?
}

pub(super) fn parse(bytes: &[u8]) -> Option<Vec<Area>> {
    let mut areas: Vec<Area> = Vec::new();
    for line in bytes.split(|&b| b == b'\n') {
        match line.first() {
            None => {}
            // Area lines begin with a hexadecimal number in lower case, the others with a capital letter.
            Some(b'0'..=b'9' | b'a'..=b'f') => areas.push(header(line)?),
            Some(b'V') => {
                if let Some(flags) = line.strip_prefix(b"VmFlags:") {
                    let area = areas.last_mut()?;
                    area.flags = flags.split(|&b| b == b' ').filter_map(|f| f.try_into().ok()).collect();
                }
            }
            Some(b'P') => {
                if let Some(key) = line.strip_prefix(b"ProtectionKey:") {
                    areas.last_mut()?.protection_key = std::str::from_utf8(key).ok()?.trim().parse().ok()?;
                }
            }
            Some(b'A') => {
                if let Some(size) = line.strip_prefix(b"Anonymous:")
                    && let Some(area) = areas.last_mut()
                {
                    area.has_own_code = area.is_code() && !size.trim_ascii().starts_with(b"0 ");
                }
            }
            Some(_) => {}
        }
    }
    Some(areas)
}

/// `7fc9974c9000-7fc9974d9000 rw-s 00000000 00:01 1025      /dev/zero (deleted)`
fn header(line: &[u8]) -> Option<Area> {
    let mut fields = line.splitn(6, |&b| b == b' ');
    let mut next = || std::str::from_utf8(fields.next()?).ok();
    let (start, end) = next()?.split_once('-')?;
    let perms = next()?.as_bytes();
    let offset = u64::from_str_radix(next()?, 16).ok()?;
    let (major, minor) = next()?.split_once(':')?;
    let dev = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = next()?.parse().ok()?;
    let name = fields.next().unwrap_or_default();
    let bit = |at: usize, letter: u8, value: i32| if perms.get(at) == Some(&letter) { value as u32 } else { 0 };
    let area = Area {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        prot: bit(0, b'r', libc::PROT_READ) | bit(1, b'w', libc::PROT_WRITE) | bit(2, b'x', libc::PROT_EXEC),
        shared: perms.get(3) == Some(&b's'),
        offset,
        dev,
        inode,
        name: name.trim_ascii_start().to_vec(),
        flags: VmFlags::default(),
        protection_key: 0,
        has_own_code: false,
        access: None,
        may_have_policy: true,
    };
    (area.start < area.end).then_some(area)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn areas_with_and_without_names() {
        let text = b"558430147000-558430149000 r-xp 00001000 fe:00 9978168                    /tmp/a file (deleted)\n\
            Size:                  4 kB\nAnonymous:             4 kB\nTHPeligible:           0\nProtectionKey:         3\nVmFlags: rd ex mr mw me \n\
            7fc9974b9000-7fc9974bb000 rw-s 00000000 00:00 0 \nVmFlags: rd wr lo lf \n";
        let a = parse(text).unwrap();
        assert_eq!(a.len(), 2);
        assert_eq!((a[0].start, a[0].end, a[0].prot, a[0].shared), (0x558430147000, 0x558430149000, 5, false));
        assert_eq!((a[0].offset, a[0].dev, a[0].inode), (0x1000, (0xfe, 0), 9978168));
        assert_eq!((a[0].name.as_slice(), a[0].protection_key), (b"/tmp/a file (deleted)".as_slice(), 3));
        assert!(a[0].has_own_code && !a[1].has_own_code);
        assert!(a[0].has(b"ex") && !a[0].has(b"wr"));
        assert!(a[1].shared && a[1].name.is_empty() && a[1].has(b"lf"));
        assert!(parse(b"12-10 rw-p 0 0:0 0\n").is_none());
    }

    #[test]
    fn own_areas() {
        // In a process whose areas no other test changes.
        let alone = crate::sys::trial::fork(|| {
            let me = super::super::ProcDir::open(std::process::id() as i32).unwrap();
            let a = super::areas(&me).unwrap();
            assert!(a.iter().any(|a| a.name == b"[stack]" && a.has(b"gd")));
            assert!(a.windows(2).all(|w| w[0].end <= w[1].start));
        });
        alone.finish().unwrap();
    }
}
