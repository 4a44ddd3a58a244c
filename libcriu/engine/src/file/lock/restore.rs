//! File locks: set again by the tasks that held them.

use std::collections::HashMap;
use std::os::fd::RawFd;

use criu_images::messages::FileLockEntry;
use criu_images::{ImageDir, Kind};

use super::{BREAKING, FLOCK, LEASE, OFD, POSIX};
use crate::error::{Error, Phase, Result};
use crate::file::load::loading;
use crate::sys::descriptor::borrow;
use crate::sys::lock::{Range, broken_lease, flock, set_lease, set_range};

/// The locks of a restore.
#[derive(Debug, Default)]
pub(crate) struct RestoreLocks {
    entries: Vec<FileLockEntry>,
    /// By the number of the table that holds them.
    by_table: HashMap<u32, Vec<FileLockEntry>>,
}

impl RestoreLocks {
    /// Reads and checks `filelocks.img`.
    pub(crate) fn load(images: &ImageDir, allowed: bool) -> Result<Self> {
        let entries: Vec<FileLockEntry> = images.read_all(Kind::FileLocks, 0).map_err(loading)?;
        for e in &entries {
            if !allowed {
                return Err(Error::new(Phase::Check, name(e), "a lock was held through it")
                    .pid(e.pid)
                    .hint("have it set again with --file-locks"));
            }
            let known = match e.flag {
                POSIX | FLOCK | OFD => e.r#type <= libc::F_WRLCK as u32,
                LEASE if e.r#type & BREAKING != 0 => [libc::F_RDLCK, libc::F_UNLCK].contains(&target(e)),
                LEASE => e.r#type <= libc::F_WRLCK as u32,
                _ => false,
            };
            if !known || e.start < 0 || e.len < 0 || e.start.checked_add(e.len).is_none() || e.fd < 0 {
                let cause = format!("a lock of kind {}, type {}, from {} over {}", e.flag, e.r#type, e.start, e.len);
                return Err(Error::new(Phase::Load, "filelocks.img", cause).pid(e.pid));
            }
        }
        Ok(RestoreLocks { entries, by_table: HashMap::new() })
    }

    /// Says which table each task has.
    pub(crate) fn assign(&mut self, table_of: impl Fn(i32) -> Option<u32>) -> Result<()> {
        for e in std::mem::take(&mut self.entries) {
            let table = table_of(e.pid).ok_or_else(|| {
                Error::new(Phase::Load, "filelocks.img", format!("no task has the pid {}", e.pid)).pid(e.pid)
            })?;
            self.by_table.entry(table).or_default().push(e);
        }
        Ok(())
    }

    /// Are there locks that this table holds?
    pub(crate) fn has(&self, table: u32) -> bool {
        self.by_table.contains_key(&table)
    }

    /// In a task whose table is in place: sets the locks held through it.
    pub(crate) fn set(&self, table: u32, has: impl Fn(RawFd) -> bool) -> Result<()> {
        for e in self.by_table.get(&table).into_iter().flatten() {
            if !has(e.fd) {
                return Err(Error::new(Phase::Files, name(e), "it has no such descriptor").pid(e.pid));
            }
            let fd = borrow(e.fd);
            let range = Range { r#type: e.r#type as i32, start: e.start, len: e.len };
            let (call, result) = match e.flag {
                POSIX => ("fcntl F_SETLK", set_range(fd, range, false)),
                OFD => ("fcntl F_OFD_SETLK", set_range(fd, range, true)),
                LEASE if e.r#type & BREAKING != 0 => ("fcntl F_SETLEASE", broken_lease(fd, target(e))),
                LEASE => ("fcntl F_SETLEASE", set_lease(fd, range.r#type)),
                _ => ("flock", flock(fd, range.r#type)),
            };
            result.map_err(|err| {
                Error::os(Phase::Files, name(e), call, err)
                    .hint("nobody else may have locked or opened the file meanwhile")
            })?;
        }
        Ok(())
    }
}

/// What a lease that is being broken is to become.
fn target(e: &FileLockEntry) -> i32 {
    (e.r#type & !BREAKING) as i32
}

fn name(e: &FileLockEntry) -> String {
    format!("lock through fd {}", e.fd)
}
