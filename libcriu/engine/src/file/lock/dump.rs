//! File locks: what fdinfo tells.

use std::collections::HashSet;

use criu_images::messages::FileLockEntry;
use criu_images::{ImageDir, Kind};
use rustix::fs::{major, minor};

use super::{BREAKING, FLOCK, LEASE, OFD, POSIX};
use crate::error::{Blocker, Result};
use crate::file::collect::saving;
use crate::file::fdinfo::FdInfo;
use crate::file::{DumpTask, FileId};

/// A lock as a line of fdinfo has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    kind: u32,
    name: &'a str,
    is_broken: bool,
    r#type: i32,
    /// Who has taken it; -1 for a lock of a description.
    pid: i32,
    /// Device and inode.
    file: &'a str,
    start: i64,
    /// 0: to the end.
    len: i64,
}

impl<'a> Line<'a> {
    /// `1: POSIX  ADVISORY  WRITE 4213 08:01:77 10 29`
    pub(super) fn parse(text: &'a str) -> Option<Line<'a>> {
        let mut words = text.split_whitespace().skip(1);
        let name = words.next()?;
        let kind = match name {
            "POSIX" => POSIX,
            "FLOCK" => FLOCK,
            "OFDLCK" => OFD,
            "LEASE" => LEASE,
            _ => return None,
        };
        let state = words.next()?;
        let is_broken = kind == LEASE && state != "ACTIVE";
        let r#type = match words.next()? {
            "READ" => libc::F_RDLCK,
            "WRITE" => libc::F_WRLCK,
            "UNLCK" => libc::F_UNLCK,
            _ => return None,
        };
        let pid = words.next()?.parse().ok()?;
        let file = words.next()?;
        let start: i64 = words.next()?.parse().ok()?;
        let len = match words.next()? {
            "EOF" => 0,
            end => end.parse::<i64>().ok()?.checked_sub(start)?.checked_add(1)?,
        };
        Some(Line { kind, name, is_broken, r#type, pid, file, start, len })
    }
}

/// The locks of a dump.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    entries: Vec<FileLockEntry>,
    /// Descriptions whose own locks are known.
    described: HashSet<FileId>,
    /// POSIX locks, which every duplicate of a descriptor tells: the table's task, the file, type and range.
    posix: HashSet<(i32, String, u32, i64, i64)>,
    /// Locks of flock(2) that are told through a descriptor: who took each, type and file.
    through_descriptors: Vec<(i32, i32, String)>,
}

/// A lock of flock(2) that is held without a descriptor, by a mapping of its file perhaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Who has taken it.
    pub pid: i32,
    pub r#type: u32,
    /// Device and inode, as /proc/locks has them.
    file: String,
}

impl Held {
    pub(crate) fn is_of(&self, dev: u64, inode: u64) -> bool {
        self.file == format!("{:02x}:{:02x}:{inode}", major(dev), minor(dev))
    }
}

impl Locks {
    /// Takes in what is locked through `fd` of `task`, whose description is `id` (none when that was refused).
    pub(crate) fn collect(
        &mut self,
        task: &DumpTask<'_>,
        fd: i32,
        info: &FdInfo,
        id: Option<FileId>,
        allowed: bool,
        blockers: &mut Vec<Blocker>,
    ) {
        let first = id.is_none_or(|id| self.described.insert(id));
        for text in info.locks() {
            let mut refuse = |cause: String, hint: &str| {
                let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", task.pid)).unwrap_or_default();
                let object = format!("fd {fd} ({})", link.display());
                blockers.push(Blocker::new(task.pid, object, cause).hint(hint));
            };
            let Some(line) = Line::parse(text) else {
                refuse(format!("a lock of an unknown kind is held through it ({text})"), "release it");
                continue;
            };
            if line.kind != POSIX && !first {
                continue;
            }
            let r#type = line.r#type as u32;
            if line.kind == FLOCK {
                self.through_descriptors.push((line.pid, line.r#type, line.file.to_owned()));
            }
            if line.kind == POSIX && !self.posix.insert((task.pid, line.file.to_owned(), r#type, line.start, line.len))
            {
                continue;
            }
            if !allowed {
                refuse(format!("a lock is held through it ({})", line.name), "allow it with --file-locks");
                continue;
            }
            let r#type = if line.is_broken { r#type | BREAKING } else { r#type };
            let (pid, start, len) = (task.vpid, line.start, line.len);
            self.entries.push(FileLockEntry { flag: line.kind, r#type, pid, fd, start, len });
        }
    }

    /// Locks of flock(2) that one of the tasks has taken and that no descriptor tells. `all`: what /proc/locks says.
    pub(crate) fn without_descriptor(&self, all: &str, is_task: impl Fn(i32) -> bool) -> Vec<Held> {
        let mut known = self.through_descriptors.clone();
        let mut held = Vec::new();
        // Who waits for a lock stands behind an arrow.
        for line in all.lines().filter(|l| !l.contains("->")).filter_map(Line::parse).filter(|l| l.kind == FLOCK) {
            let is_known = |k: &(i32, i32, String)| (k.0, k.1, &*k.2) == (line.pid, line.r#type, line.file);
            match known.iter().position(is_known) {
                Some(at) => drop(known.swap_remove(at)),
                None if is_task(line.pid) => {
                    held.push(Held { pid: line.pid, r#type: line.r#type as u32, file: line.file.to_owned() });
                }
                None => {}
            }
        }
        held
    }

    /// Writes `filelocks.img`.
    pub(crate) fn save(&self, images: &ImageDir) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut image = images.create(Kind::FileLocks, 0).map_err(saving)?;
        for entry in &self.entries {
            image.entry(entry).map_err(saving)?;
        }
        image.finish().map_err(saving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_without_a_descriptor() {
        let all = "1: FLOCK  ADVISORY  WRITE 10 fe:00:77 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 10 fe:00:77 0 EOF\n\
                   2: FLOCK  ADVISORY  READ 10 fe:00:78 0 EOF\n3: FLOCK  ADVISORY  READ 11 fe:00:79 0 EOF\n\
                   4: POSIX  ADVISORY  READ 10 fe:00:80 0 EOF\n";
        let mut locks = Locks::default();
        locks.through_descriptors.push((10, libc::F_RDLCK, "fe:00:78".into()));
        let held = locks.without_descriptor(all, |pid| pid == 10);
        let only = Held { pid: 10, r#type: libc::F_WRLCK as u32, file: "fe:00:77".into() };
        assert_eq!(held, std::slice::from_ref(&only));
        assert!(only.is_of(rustix::fs::makedev(254, 0), 77) && !only.is_of(rustix::fs::makedev(254, 0), 78));
    }

    #[test]
    fn lines_of_fdinfo() {
        let posix = Line::parse("1: POSIX  ADVISORY  WRITE 4213 08:01:77 10 29").unwrap();
        assert_eq!((posix.kind, posix.r#type, posix.start, posix.len), (POSIX, libc::F_WRLCK, 10, 20));
        let ofd = Line::parse("2: OFDLCK ADVISORY  READ -1 08:01:77 100 EOF").unwrap();
        assert_eq!((ofd.kind, ofd.r#type, ofd.start, ofd.len), (OFD, libc::F_RDLCK, 100, 0));
        let lease = Line::parse("1: LEASE  BREAKING  UNLCK 4213 08:01:78 0 EOF").unwrap();
        assert_eq!((lease.kind, lease.is_broken), (LEASE, true));
        assert_eq!(
            Line::parse("1: POSIX  ADVISORY  WRITE 4213 08:01:77 -9223372036854775808 9223372036854775807"),
            None
        );
        assert_eq!(Line::parse("1: DELEG  ACTIVE    READ 1 08:01:77 0 EOF"), None);
    }
}
