//! /proc: the files about one task, read from outside.

mod auxv;
mod limits;
mod many_areas;
mod smaps;
mod stat;
mod status;
mod timers;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

pub use auxv::auxv;
pub use limits::limits;
pub use many_areas::Names;
pub use smaps::{Area, VmFlags, are_told, areas, areas_among, areas_of, prepare_for};
pub use stat::Stat;
pub use status::Status;
pub use timers::{PosixTimer, posix_timers};

/// A file as text. Names in it are of any bytes, as programs chose them; what is no UTF-8 reads as U+FFFD.
///
/// # Errors
/// Those of open and read.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

/// The directory of a process or of one of its threads.
#[derive(Debug)]
pub struct ProcDir {
    fd: OwnedFd,
    id: i32,
}

impl ProcDir {
    /// /proc/`pid`
    ///
    /// # Errors
    /// ENOENT when there is no such process.
    pub fn open(pid: i32) -> io::Result<ProcDir> {
        let fd = rustix::fs::open(
            format!("/proc/{pid}"),
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(ProcDir { fd, id: pid })
    }

    /// /proc/PID/task/`tid` of this process
    ///
    /// # Errors
    /// ENOENT when there is no such thread.
    pub fn thread(&self, tid: i32) -> io::Result<ProcDir> {
        Ok(ProcDir { fd: self.open_at(&format!("task/{tid}"), OFlags::DIRECTORY | OFlags::RDONLY)?, id: tid })
    }

    /// The process or thread this directory is about.
    pub fn id(&self) -> i32 {
        self.id
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a file of the directory.
    pub fn open_at(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(&self.fd, name, flags | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// The contents of a file that is no list of areas: those have records of any length.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        read_records(self.open_at(name, OFlags::RDONLY)?, RECORD_MAX_BYTES)
    }

    /// The contents of a list whose records may be long.
    pub fn read_list(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(LIST_BYTES);
        read_to(&self.open_at(name, OFlags::RDONLY)?, &mut bytes, usize::MAX)?;
        Ok(bytes)
    }

    /// The contents of a text file, its final newline removed.
    pub fn text(&self, name: &str) -> io::Result<String> {
        let bytes = self.read(name)?;
        Ok(String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes)).into_owned())
    }

    /// Where a link points.
    pub fn link(&self, name: &str) -> io::Result<OsString> {
        use std::os::unix::ffi::OsStringExt;
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::with_capacity(64))?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// The permission bits of a link itself: those of map_files and fd say how the file was opened.
    pub fn link_mode(&self, name: &str) -> io::Result<u32> {
        Ok(rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
    }

    /// The process's stat line.
    pub fn stat(&self) -> io::Result<Stat> {
        Stat::parse(&self.read("stat")?).ok_or_else(|| malformed("stat"))
    }

    /// The task's status.
    pub fn status(&self) -> io::Result<Status> {
        Status::parse(&self.read("status")?).ok_or_else(|| malformed("status"))
    }

    /// The children of these threads of the process; needs a kernel with CONFIG_PROC_CHILDREN.
    pub fn children(&self, threads: impl Iterator<Item = i32>) -> io::Result<Vec<i32>> {
        let mut children = Vec::new();
        for tid in threads {
            match self.text(&format!("task/{tid}/children")) {
                Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(|p| p.parse::<i32>().ok())),
                // The thread has exited since; its children went to a sibling.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
                    if self.fd_is_gone() {
                        return Err(e);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(children)
    }

    fn fd_is_gone(&self) -> bool {
        rustix::fs::statat(&self.fd, "stat", AtFlags::empty()).is_err()
    }
}

/// Longer than any record of the files that are read without asking for the end.
const RECORD_MAX_BYTES: usize = 1024;
/// A page.
const PIECE_BYTES: usize = 4096;
const LIST_BYTES: usize = 32 << 10;

/// Reads a file of /proc. Of a list the kernel gives at most a page at once, as many records as fit: a read that leaves room for one
/// more was the last, and the end need not be asked for.
fn read_records(fd: OwnedFd, longest: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    loop {
        if bytes.capacity() - bytes.len() < PIECE_BYTES {
            bytes.reserve(bytes.capacity().max(PIECE_BYTES));
        }
        let got = rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes))?;
        if got < PIECE_BYTES - longest {
            return Ok(bytes);
        }
    }
}

/// Reads on in a list until there are `enough` bytes; false at its end.
fn read_to(fd: &OwnedFd, bytes: &mut Vec<u8>, enough: usize) -> io::Result<bool> {
    while bytes.len() < enough {
        if bytes.capacity() - bytes.len() < LIST_BYTES {
            bytes.reserve(bytes.capacity().max(LIST_BYTES));
        }
        if rustix::io::read(fd, rustix::buffer::spare_capacity(bytes))? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// As [`ProcDir::read`], by a path.
///
/// # Errors
/// Those of opening and reading the file.
pub fn read_file(path: &str) -> io::Result<Vec<u8>> {
    read_records(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, RECORD_MAX_BYTES)
}

/// A process's stat line.
///
/// # Errors
/// ENOENT when there is no such process.
pub fn stat_of(pid: i32) -> io::Result<Stat> {
    Stat::parse(&read_file(&format!("/proc/{pid}/stat"))?).ok_or_else(|| malformed("stat"))
}

/// A process and its ancestors, itself first, as far as they can be descendants of a process that was started at `since`: nobody's
/// parent is younger than its children.
pub fn ancestry(pid: i32, since: u64) -> Vec<i32> {
    let mut line = Vec::new();
    let mut next = pid;
    while next > 0 && !line.contains(&next) {
        let Ok(stat) = stat_of(next) else { break };
        if stat.start_time < since {
            break;
        }
        line.push(next);
        next = stat.ppid;
    }
    line
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} is not as expected"))
}

/// For [`crate::parsers`].
pub(crate) fn text(name: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match name {
        "status" => drop(Status::parse(bytes)),
        "stat" => drop(Stat::parse(bytes)),
        "smaps" => drop(smaps::parse(bytes)),
        "limits" => drop(limits::parse(&text)),
        "timers" => drop(timers::parse(&text)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_read_to_their_end() {
        // Lists of many pages, of records of different lengths. That of symbols changes when anybody loads a program.
        for path in ["/proc/kallsyms", "/proc/crypto", "/proc/self/limits"] {
            if let Err(e) = std::fs::read(path) {
                eprintln!("skipped: {path}: {e}");
                continue;
            }
            let is_whole = |_| read_file(path).unwrap().len() == std::fs::read(path).unwrap().len();
            assert!((0..100).any(is_whole), "{path}");
        }
    }

    #[test]
    fn a_name_of_any_bytes_hides_nothing() {
        let named = std::thread::spawn(|| {
            rustix::thread::set_name(c"odd ) \xe2\x82 (").unwrap();
            let file = |name| format!("/proc/thread-self/{name}");
            (read_text(file("status")).unwrap(), std::fs::read_to_string(file("status")).is_err())
        });
        let (status, is_odd) = named.join().unwrap();
        assert!(is_odd);
        assert!(status.contains("\nNSpid:\t"), "{status}");
    }

    #[test]
    fn a_line_of_ancestors() {
        let me = std::process::id() as i32;
        let parent = stat_of(me).unwrap().ppid;
        let all = ancestry(me, 0);
        assert_eq!(all[..2], [me, parent]);
        assert_eq!(ancestry(me, stat_of(me).unwrap().start_time)[0], me);
        assert_eq!(ancestry(me, u64::MAX), []);
        assert_eq!(ancestry(i32::MAX, 0), []);
    }
}
