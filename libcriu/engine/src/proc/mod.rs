//! /proc: the files about one task, read from outside.

mod auxv;
mod limits;
mod smaps;
mod stat;
mod status;
mod timers;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};

pub use auxv::auxv;
pub use limits::limits;
pub use smaps::{Area, areas};
pub use stat::Stat;
pub use status::Status;
pub use timers::{PosixTimer, posix_timers};

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

    /// The contents of a file.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let fd = self.open_at(name, OFlags::RDONLY)?;
        let mut bytes = Vec::with_capacity(4096);
        loop {
            if bytes.len() == bytes.capacity() {
                bytes.reserve(bytes.capacity());
            }
            if rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes))? == 0 {
                return Ok(bytes);
            }
        }
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

    /// The ids of the process's threads, in order.
    pub fn threads(&self) -> io::Result<Vec<i32>> {
        let fd = self.open_at("task", OFlags::DIRECTORY | OFlags::RDONLY)?;
        let mut tids = Vec::new();
        for entry in rustix::fs::Dir::new(fd)? {
            if let Some(tid) = entry?.file_name().to_str().ok().and_then(|n| n.parse().ok()) {
                tids.push(tid);
            }
        }
        Ok(tids)
    }

    /// The children of every thread of the process; needs a kernel with CONFIG_PROC_CHILDREN.
    pub fn children(&self, threads: &[i32]) -> io::Result<Vec<i32>> {
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
