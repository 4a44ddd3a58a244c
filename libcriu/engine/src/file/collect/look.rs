//! Looks at one description of a task, from outside.

use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::FownEntry;
use rustix::fs::{CWD, Dir, Mode, OFlags, fstat, openat, readlinkat};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::failed;
use crate::error::Result;
use crate::file::fdinfo::FdInfo;
use crate::file::seen::Seen;
use crate::file::{DumpTask, nameless};
use crate::sys::descriptor::{SignalOwner, signal_owner};

pub(super) fn open_proc(task: &DumpTask<'_>) -> Result<OwnedFd> {
    openat(CWD, format!("/proc/{}", task.pid), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| failed(task, "task", "open /proc", e).errno(libc::ESRCH))
}

pub(super) fn open_below(task: &DumpTask<'_>, proc: &OwnedFd, name: &str) -> Result<OwnedFd> {
    openat(proc, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed(task, name, "open", e))
}

pub(super) fn list(task: &DumpTask<'_>, fd_dir: &OwnedFd) -> Result<Vec<i32>> {
    let dir = Dir::read_from(fd_dir).map_err(|e| failed(task, "fd", "getdents", e))?;
    let mut fds = Vec::new();
    for entry in dir {
        let entry = entry.map_err(|e| failed(task, "fd", "getdents", e))?;
        if let Some(fd) = std::str::from_utf8(entry.file_name().to_bytes()).ok().and_then(|n| n.parse().ok()) {
            fds.push(fd);
        }
    }
    fds.sort_unstable();
    Ok(fds)
}

/// Looks at a description through a duplicate; `None` when it is closed by now.
pub(super) fn look<'a>(
    task: &DumpTask<'a>,
    fd_dir: &OwnedFd,
    fd: i32,
    info: FdInfo,
    has_no_owner: bool,
) -> Result<Option<Seen<'a>>> {
    let dup = match pidfd_getfd(task.pidfd, fd, PidfdGetfdFlags::empty()) {
        Ok(dup) => dup,
        Err(rustix::io::Errno::BADF) => return Ok(None),
        Err(e) => return Err(failed(task, format!("fd {fd}"), "pidfd_getfd", e)),
    };
    let holder = format!("fd {fd}");
    let stat = fstat(&dup).map_err(|e| failed(task, &holder, "fstat", e))?;
    let link = match nameless::link(&stat) {
        Some(link) => link,
        None => match readlinkat(fd_dir, fd.to_string(), Vec::new()) {
            Ok(link) => link.into_bytes(),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e @ rustix::io::Errno::NAMETOOLONG) => {
                let hint = "its path is longer than the 4096 bytes that there are for one: close it before the dump";
                return Err(failed(task, holder, "readlink", e).hint(hint));
            }
            Err(e) => return Err(failed(task, holder, "readlink", e)),
        },
    };
    let (dup, owner) = (dup.into(), FownEntry::default());
    let mut seen =
        Seen { task: *task, holder_pid: task.pid, fd, holder, link, info, dup, stat, fown: owner, told: None };
    if !seen.is_o_path() && !has_no_owner {
        let owner = signal_owner(seen.dup.as_fd()).map_err(|e| failed(task, seen.object(), "fcntl F_GETOWN_EX", e))?;
        seen.fown = fown(owner)?;
    }
    Ok(Some(seen))
}

fn fown(owner: SignalOwner) -> Result<FownEntry> {
    let pid = if owner.pid == 0 { 0 } else { pid_in_own_namespace(owner.pid) };
    Ok(FownEntry {
        uid: owner.uid,
        euid: owner.euid,
        signum: owner.signal as u32,
        pid_type: if owner.pid == 0 { 0 } else { owner.kind as u32 },
        pid: pid as u32,
    })
}

/// The innermost pid of a task (or of a process group's leader); the pid itself when it is gone.
fn pid_in_own_namespace(pid: i32) -> i32 {
    let status = crate::proc::read_text(format!("/proc/{pid}/status")).unwrap_or_default();
    let inner = status.lines().find_map(|l| l.strip_prefix("NSpid:"));
    inner.and_then(|l| l.split_whitespace().last()).and_then(|n| n.parse().ok()).unwrap_or(pid)
}
