//! Breakpoints that somebody else has put into the code of a process: uprobes, which the kernel writes into the process's own
//! copy of a page. No list says which processes have some.

use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::OFlags;

use super::PAGE_BYTES;
use crate::mem::pages::own_pages;
use crate::proc::{Area, ProcDir};

/// The instruction int3.
const BREAKPOINT: u8 = 0xcc;
/// Where so much code is changed, it is not breakpoints that change it.
const MAX_BYTES: u64 = 1 << 20;

/// Where the first of them is in an area of code: a page that differs from its file in breakpoints only.
///
/// # Errors
/// Those of reading the memory and its file.
pub(crate) fn find(dir: &ProcDir, area: &Area) -> io::Result<Option<u64>> {
    let pages = own_pages(dir, area.start, area.end)?;
    if pages.iter().map(|(start, end)| end - start).sum::<u64>() > MAX_BYTES {
        return Ok(None);
    }
    let open = |name: &str| Ok::<_, io::Error>(std::fs::File::from(dir.open_at(name, OFlags::RDONLY)?));
    let file = match open(&format!("map_files/{:x}-{:x}", area.start, area.end)) {
        // That takes CAP_CHECKPOINT_RESTORE in the initial user namespace.
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => return Ok(None),
        file => file?,
    };
    let memory = open("mem")?;
    let (mut now, mut was) = ([0; PAGE_BYTES as usize], [0; PAGE_BYTES as usize]);
    for page in pages.iter().flat_map(|&(start, end)| (start..end).step_by(PAGE_BYTES as usize)) {
        memory.read_exact_at(&mut now, page)?;
        // Behind its end there are zeros.
        was.fill(0);
        let mut filled = 0;
        while filled < was.len() {
            match file.read_at(&mut was[filled..], page - area.start + area.offset + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        if let Some(at) = only_breakpoints(&now, &was) {
            return Ok(Some(page + at as u64));
        }
    }
    Ok(None)
}

/// Where the first difference is, when all are breakpoints.
fn only_breakpoints(now: &[u8], was: &[u8]) -> Option<usize> {
    let mut changed = now.iter().zip(was).enumerate().filter(|(_, (now, was))| now != was);
    let (first, (byte, _)) = changed.next()?;
    (*byte == BREAKPOINT && changed.all(|(_, (now, _))| *now == BREAKPOINT)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::only_breakpoints;

    #[test]
    fn what_a_breakpoint_is() {
        assert_eq!(only_breakpoints(&[1, 0xcc, 3, 0xcc], &[1, 2, 3, 4]), Some(1));
        assert_eq!(only_breakpoints(&[1, 0xcc, 3, 5], &[1, 2, 3, 4]), None);
        assert_eq!(only_breakpoints(&[1, 0xcc], &[1, 0xcc]), None);
        assert_eq!(only_breakpoints(&[7, 0xcc], &[1, 2]), None);
    }
}
