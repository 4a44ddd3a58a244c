//! A task that maps the very file this process executes: one that uses libcriu, restored by libcriu's own worker.
//!
//! The kernel does not let a process change its executable while the old one is still mapped, and the task's own mapping of
//! that file counts. So the process stops executing the file before it maps it for the task: its own mappings of it are
//! replaced by anonymous copies in place, and an empty memory file becomes its executable for the time being.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use criu_pie::abi::restorer::MmMap;
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, fstat, memfd_create, openat};
use rustix::io::Errno;

use crate::proc::read_text;
use crate::sys::mapping::replace_by_copy;
use crate::sys::spawn::{current_break, set_mm_map};

/// Steps aside if `file`, about to be mapped, is what this process executes.
///
/// # Errors
/// It could not: nothing is restored then.
pub(crate) fn step_aside(file: BorrowedFd<'_>) -> io::Result<()> {
    let (exe, stat) = (fs::metadata("/proc/self/exe")?, fstat(file)?);
    if (exe.dev(), exe.ino()) != (stat.st_dev, stat.st_ino) {
        return Ok(());
    }
    let path = fs::read_link("/proc/self/exe")?;
    let path = path.to_string_lossy();
    let maps = read_text("/proc/self/maps")?;
    let own: Vec<Own> = maps.lines().filter_map(|line| Own::parse(line, &path)).collect();
    for m in &own {
        replace_by_copy(m.start, m.end - m.start, m.prot)?;
    }
    let empty = empty_executable()?;
    let stat = read_text("/proc/self/stat")?;
    let mut map = mm_map(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat"))?;
    map.exe_fd = empty.as_raw_fd();
    set_mm_map(&map)?;
    log::debug!("the task maps {path}, which this process executes: {} mappings copied", own.len());
    Ok(())
}

/// One mapping of the executable.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    start: u64,
    end: u64,
    prot: i32,
}

impl Own {
    fn parse(line: &str, path: &str) -> Option<Own> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let letters = fields.next()?;
        let name = fields.nth(3)?.trim_start();
        if name != path {
            return None;
        }
        let prot = [('r', libc::PROT_READ), ('w', libc::PROT_WRITE), ('x', libc::PROT_EXEC)];
        let prot = prot.iter().filter(|(l, _)| letters.contains(*l)).fold(0, |all, (_, p)| all | p);
        let hex = |s| u64::from_str_radix(s, 16).ok();
        Some(Own { start: hex(start)?, end: hex(end)?, prot })
    }
}

/// A file that may be executed and that nobody has open for writing.
fn empty_executable() -> io::Result<OwnedFd> {
    // MFD_EXEC (Linux 6.3) matters where sysctl vm.memfd_noexec is set.
    let executable = MemfdFlags::from_bits_retain(0x10) | MemfdFlags::CLOEXEC;
    let file = match memfd_create("criu", executable) {
        Err(Errno::INVAL) => memfd_create("criu", MemfdFlags::CLOEXEC)?,
        r => r?,
    };
    let read_only = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Ok(openat(CWD, read_only, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The present layout, from the text of /proc/self/stat.
fn mm_map(stat: &str) -> Option<MmMap> {
    // The name in parentheses may hold anything; field 3 comes behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    Some(MmMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_stack: field(28)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk: current_break(),
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
        auxv: 0,
        auxv_size: 0,
        exe_fd: -1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// In a child of the test program, which is then no longer what its /proc/self/exe says.
    #[test]
    fn a_process_stops_executing_its_file() {
        let before = fs::metadata("/proc/self/exe").unwrap();
        let child = crate::sys::trial::fork(move || {
            let file = File::open("/proc/self/exe").unwrap();
            let other = File::open("/proc/self/maps").unwrap();
            step_aside(other.as_fd()).unwrap();
            assert_eq!(fs::metadata("/proc/self/exe").unwrap().ino(), before.ino());
            step_aside(file.as_fd()).unwrap();
            let now = fs::metadata("/proc/self/exe").unwrap();
            assert_ne!((now.dev(), now.ino()), (before.dev(), before.ino()));
            let path = fs::read_link("/proc/self/exe").unwrap();
            assert!(path.to_string_lossy().starts_with("/memfd:criu"), "{path:?}");
        });
        child.finish().unwrap();
    }

    #[test]
    fn mappings_of_the_file_alone() {
        let line = "7f00000-7f10000 r-xp 00000000 fe:01 4711                       /usr/lib/a b.so (deleted)";
        let own = Own { start: 0x7f00000, end: 0x7f10000, prot: libc::PROT_READ | libc::PROT_EXEC };
        assert_eq!(Own::parse(line, "/usr/lib/a b.so (deleted)"), Some(own));
        assert_eq!(Own::parse(line, "/usr/lib/a"), None);
        assert_eq!(Own::parse("7f00000-7f10000 rw-p 00000000 00:00 0 ", "/usr/lib/a"), None);
    }
}
