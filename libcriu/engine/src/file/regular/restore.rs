//! Regular files and their like: checks and opens.

use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::{FileEntry, RegFileEntry};
use rustix::fs::{CWD, Mode, OFlags, SeekFrom, fcntl_getfl, fstat, openat, seek};
use rustix::io::Errno;

use super::build_id::build_id;
use super::dump::proc_task;
use super::{kmsg, pressure};
use crate::error::{Error, Phase, Result};
use crate::file::ghost::{Remap, open_made};
use crate::file::inherit::{Wanted, unfit_direction};
use crate::file::kind::RestoreKind;
use crate::file::load::Plan;
use crate::file::object::Object;
use crate::file::path::{lstat, shown};
use crate::sys::spawn::{self, HeldPid};

/// Status flags that open(2) takes from an image. O_TMPFILE would make another file; O_ASYNC goes with the owner.
const OPEN_FLAGS: u32 = (libc::O_ACCMODE
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_DSYNC
    | libc::O_SYNC
    | libc::O_DIRECT
    | libc::O_LARGEFILE
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | libc::O_NOATIME
    | libc::O_PATH) as u32
    | 0o100_000;

#[derive(Debug, Default)]
pub(crate) struct Regular;

impl RestoreKind for Regular {
    fn load(&mut self, plan: &Plan, _images: &criu_images::ImageDir) -> Result<()> {
        for entry in plan.entries.values().filter(|e| e.r#type() == criu_images::messages::FdTypes::Reg) {
            let reg = reg(entry)?;
            if !reg.name.starts_with(b"/") {
                return Err(Error::new(
                    Phase::Check,
                    format!("file {}", entry.id),
                    format!("{} is no absolute path", shown(&reg.name)),
                ));
            }
            if reg.ext() && !key(reg).is_some_and(|key| plan.inherit.contains_key(key)) {
                let name = shown(&reg.name);
                let hint = format!("give it with --inherit-fd fd[N]:{}", name.trim_start_matches('/'));
                return Err(Error::new(Phase::Check, name, "an external file").hint(hint));
            }
        }
        Ok(())
    }

    fn open(&mut self, plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        members.iter().map(|m| open_entry(plan, reg(m)?)).collect()
    }

    fn is_late(&self, plan: &Plan, entry: &FileEntry) -> bool {
        let names_task = entry.reg.as_ref().is_some_and(|reg| proc_task(&reg.name).is_some());
        names_task && !matches!(plan.ghosts.remap(entry.id), Some(Remap::Procfs(_)))
    }

    fn open_again(&mut self, plan: &mut Plan, entry: &FileEntry, flags: u32) -> Result<OwnedFd> {
        open_path(plan, reg(entry)?, flags)
    }
}

fn reg(entry: &FileEntry) -> Result<&RegFileEntry> {
    entry.reg.as_deref().ok_or_else(|| Error::new(Phase::Check, format!("file {}", entry.id), "its entry has no body"))
}

/// By which --inherit-fd gives it; options are text.
fn key(reg: &RegFileEntry) -> Option<&str> {
    Some(std::str::from_utf8(&reg.name).ok()?.trim_start_matches('/'))
}

fn open_entry(plan: &Plan, reg: &RegFileEntry) -> Result<OwnedFd> {
    let is_directory = reg.mode.is_some_and(|mode| mode & libc::S_IFMT == libc::S_IFDIR);
    let wanted = if is_directory { Wanted::Directory } else { Wanted::File };
    if let Some(fd) = key(reg).map_or(Ok(None), |key| plan.inherited(key, wanted))? {
        let failed = |e| Error::os(Phase::Files, shown(&reg.name), "fcntl F_GETFL", e);
        let unfit = unfit_direction(fcntl_getfl(&fd).map_err(failed)?.bits(), reg.flags, &shown(&reg.name));
        return unfit.filter(|_| reg.flags & libc::O_PATH as u32 == 0).map_or(Ok(fd), Err);
    }
    // A file of a process that is gone is opened, and read from, while another one has its pid.
    let _dead = match plan.ghosts.remap(reg.id) {
        Some(Remap::Procfs(task)) => Some(stand_in_for(task as i32, reg)?),
        _ => None,
    };
    let fd = open_path(plan, reg, reg.flags)?;
    let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, shown(&reg.name), call, e);
    if let Some(what) = &reg.pressure {
        pressure::ask(&fd, what).map_err(|e| failed(&format!("writing {what:?}"), e.into()))?;
    }
    if reg.pos == 0 || reg.flags & libc::O_PATH as u32 != 0 {
        return Ok(fd);
    }
    let stat = fstat(&fd).map_err(|e| failed("fstat", e.into()))?;
    if kmsg::is_reader(stat.st_mode, stat.st_rdev, reg.flags) {
        kmsg::advance(&fd, reg.pos).map_err(|e| failed("reading kernel messages", e))?;
    } else {
        match seek(&fd, SeekFrom::Start(reg.pos)) {
            // In a directory without entries some places cannot be gone to, and make no difference.
            Err(Errno::INVAL) if is_directory && matches!(plan.ghosts.remap(reg.id), Some(Remap::Ghost(_))) => {
                log::debug!("{}: a deleted directory begins at its beginning", shown(&reg.name));
            }
            sought => drop(sought.map_err(|e| failed("lseek", e.into()))?),
        }
    }
    Ok(fd)
}

fn stand_in_for(task: i32, reg: &RegFileEntry) -> Result<HeldPid> {
    spawn::hold_pid(task).map_err(|e| {
        let hint = match e.raw_os_error() {
            Some(libc::EEXIST) => format!("another process has the pid {task}: end it first"),
            _ => String::new(),
        };
        Error::os(Phase::Files, shown(&reg.name), "clone3 with a chosen pid", e).hint(hint)
    })
}

/// Opens what a reg entry names, after checking that it is what it was.
pub(crate) fn open_path(plan: &Plan, reg: &RegFileEntry, flags: u32) -> Result<OwnedFd> {
    let object = || shown(&reg.name);
    let mut oflags = OFlags::from_bits_retain(flags & OPEN_FLAGS);
    if flags & TMPFILE == TMPFILE {
        oflags -= OFlags::DIRECTORY;
    }
    let oflags = oflags | OFlags::CLOEXEC | OFlags::NOCTTY;
    let failed = |call: &str, e: rustix::io::Errno| Error::os(Phase::Files, object(), call, e);
    if let Some(remap) = plan.ghosts.remap(reg.id).filter(|r| !matches!(r, Remap::Procfs(_))) {
        if let Remap::Linked(link) = remap
            && let Some(link) = plan.entries.get(&link).and_then(|e| e.reg.as_ref())
        {
            check(plan, link, &link.name)?;
        }
        let made = plan.ghosts.get(remap);
        let made = made.ok_or_else(|| Error::new(Phase::Files, object(), "what stands in for it was not made"))?;
        if reg.mode.unwrap_or(0) & libc::S_IFMT == libc::S_IFLNK {
            return made.try_clone_to_owned().map_err(|e| Error::os(Phase::Files, object(), "dup", e));
        }
        return open_made(made, oflags).map_err(|e| failed("open", e));
    }
    let path = &reg.name;
    check(plan, reg, path)?;
    let fd = openat(CWD, path.as_slice(), oflags, Mode::empty()).map_err(|e| failed("open", e))?;
    check_build_id(plan, reg, &fd)?;
    Ok(fd)
}

const TMPFILE: u32 = libc::O_TMPFILE as u32;

/// Type, permissions and size as they were.
fn check(plan: &Plan, reg: &RegFileEntry, path: &[u8]) -> Result<()> {
    let stat = lstat(path).map_err(|e| {
        Error::os(Phase::Files, shown(path), "stat", e)
            .hint("every file that was open has to be at its path")
            .errno(e.raw_os_error())
    })?;
    let changed = |what: String, hint: &str| Err(Error::new(Phase::Files, shown(path), what).hint(hint));
    if let Some(mode) = reg.mode {
        if (stat.st_mode ^ mode) & libc::S_IFMT != 0 {
            return changed(
                format!("another kind of file is there: mode {:#o}, was {mode:#o}", stat.st_mode),
                "put it back",
            );
        }
        if stat.st_mode != mode && !plan.opts.skip_file_rwx_check() {
            let what = format!("its permissions are {:#o}, were {:#o}", stat.st_mode & 0o7777, mode & 0o7777);
            return changed(what, "put them back, or skip this check with --skip-file-rwx-check");
        }
    }
    if let Some(size) = reg.size.filter(|_| stat.st_mode & libc::S_IFMT == libc::S_IFREG)
        && size != stat.st_size as u64
    {
        return changed(
            format!("it has {} bytes, had {size} at the dump", stat.st_size),
            "put the file back as it was",
        );
    }
    Ok(())
}

fn check_build_id(plan: &Plan, reg: &RegFileEntry, fd: &OwnedFd) -> Result<()> {
    let unreadable = reg.flags & (libc::O_PATH | libc::O_WRONLY) as u32 != 0;
    if reg.build_id.is_empty() || unreadable || plan.opts.file_validation() == "filesize" {
        return Ok(());
    }
    let now = build_id(fd.as_fd());
    if now == reg.build_id {
        return Ok(());
    }
    let hex = |id: &[u32]| id.iter().flat_map(|w| w.to_le_bytes()).map(|b| format!("{b:02x}")).collect::<String>();
    let cause = format!("its build id is {}, was {} at the dump", hex(&now), hex(&reg.build_id));
    Err(Error::new(Phase::Files, shown(&reg.name), cause)
        .hint("restore with the same build of it, or compare sizes only with --file-validation filesize"))
}
