//! inotify and fanotify: made empty; watches and marks are added when descriptors are at their numbers.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use criu_images::ImageDir;
use criu_images::messages::{
    FanotifyMarkEntry, FdTypes, FhEntry, FileEntry, InotifyFileEntry, InotifyWdEntry, MarkType,
};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::ioctl_fionread;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{
    FAN_MARK_FILESYSTEM, FAN_MARK_IGNORE, FAN_MARK_IGNORED_MASK, FAN_MARK_MOUNT, HIGHEST_WD, MAX_WD_IN_TURN, WATCHABLE,
};
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::Plan;
use crate::file::object::Object;
use crate::sys::descriptor::{adopt, borrow};
use crate::sys::notify::{add_mark, fanotify, set_next_watch};

#[derive(Debug, Default)]
pub(crate) struct Notifiers;

impl RestoreKind for Notifiers {
    fn load(&mut self, plan: &Plan, _images: &ImageDir) -> Result<()> {
        for entry in plan.entries.values() {
            match entry.r#type() {
                FdTypes::Inotify => {
                    let ify = body(entry, entry.ify.as_ref())?;
                    for wd in &ify.wd {
                        if !(1..=HIGHEST_WD).contains(&wd.wd) {
                            return Err(wrong(entry, format!("a watch has the number {}", wd.wd)));
                        }
                        path(entry, &wd.f_handle)?;
                    }
                    if let Some(next) = ify.next_wd.filter(|next| !(1..=HIGHEST_WD).contains(next)) {
                        return Err(wrong(entry, format!("its next watch has the number {next}")));
                    }
                }
                FdTypes::Fanotify => {
                    for mark in &body(entry, entry.ffy.as_ref())?.mark {
                        mark_path(entry, mark)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let open = |entry: &FileEntry| {
            let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, name(entry), call, e);
            if entry.r#type() == FdTypes::Inotify {
                // Until its watches have their numbers it is read without waiting.
                return inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
                    .map_err(|e| failed("inotify_init1", e.into()));
            }
            let ffy = body(entry, entry.ffy.as_ref())?;
            fanotify(ffy.faflags, ffy.evflags).map_err(|e| failed("fanotify_init", e))
        };
        members.iter().map(|m| open(m)).collect()
    }

    fn attach(&mut self, plan: &Plan, entry: &FileEntry, fd: RawFd, at: usize) -> Result<()> {
        if plan.first_user.get(&entry.id) != Some(&at) {
            return Ok(());
        }
        match (&entry.ify, &entry.ffy) {
            (Some(ify), _) => {
                watch_all(entry, fd, ify)?;
                let failed = |e: rustix::io::Errno| Error::os(Phase::Files, name(entry), "fcntl F_SETFL", e);
                if ify.flags & libc::O_NONBLOCK as u32 == 0 {
                    let now = fcntl_getfl(borrow(fd)).map_err(failed)?;
                    fcntl_setfl(borrow(fd), now - OFlags::NONBLOCK).map_err(failed)?;
                }
                Ok(())
            }
            // The kernel tells the newest first.
            (_, Some(ffy)) => ffy.mark.iter().rev().try_for_each(|m| mark(entry, fd, m)),
            _ => Ok(()),
        }
    }

    fn resume(&self, plan: &Plan) -> Result<()> {
        for entry in plan.entries.values().filter(|e| e.ify.is_some() || e.ffy.is_some()) {
            // Held in a message alone: no watch was made.
            let Some((pid, fd)) = holder(plan, entry) else { continue };
            let queue = pidfd_open(pid, PidfdFlags::empty())
                .and_then(|task| pidfd_getfd(task, fd, PidfdGetfdFlags::empty()))
                .map_err(|e| Error::os(Phase::Resume, name(entry), "pidfd_getfd", e).pid(pid.as_raw_nonzero().get()))?;
            forget(&queue, entry.ffy.is_some())
                .map_err(|e| Error::os(Phase::Resume, name(entry), "read", e).pid(pid.as_raw_nonzero().get()))?;
        }
        Ok(())
    }
}

/// A task that has it open, and at which number.
fn holder(plan: &Plan, entry: &FileEntry) -> Option<(Pid, RawFd)> {
    let &at = plan.first_user.get(&entry.id)?;
    let (_, fds) = plan.tables.get(at)?;
    let fd = fds.iter().find(|f| f.id == entry.id)?.fd as RawFd;
    Some((Pid::from_raw(*plan.users.get(at)?)?, fd))
}

/// Takes out what the restore itself has brought into a queue: no task has run yet.
fn forget(queue: &OwnedFd, has_descriptors: bool) -> std::io::Result<()> {
    let mut buf = [0; 8192];
    while ioctl_fionread(queue)? > 0 {
        let n = rustix::io::read(queue, &mut buf)?;
        if n == 0 {
            break;
        }
        if has_descriptors {
            close_all(buf.get(..n).unwrap_or_default());
        }
    }
    Ok(())
}

/// Closes the descriptors that came with events of fanotify(7).
fn close_all(mut events: &[u8]) {
    let word =
        |at: usize, events: &[u8]| events.get(at..at + 4).and_then(|w| w.try_into().ok()).map(i32::from_ne_bytes);
    while let (Some(len), Some(fd)) = (word(0, events), word(16, events)) {
        if fd >= 0 {
            drop(adopt(fd));
        }
        events = events.get((len as usize).max(24)..).unwrap_or_default();
    }
}

/// Adds watches in the order of their numbers; the next one gets its number, too.
fn watch_all(entry: &FileEntry, fd: RawFd, ify: &InotifyFileEntry) -> Result<()> {
    let mut watches: Vec<&InotifyWdEntry> = ify.wd.iter().collect();
    watches.sort_by_key(|w| w.wd);
    let fd = borrow(fd);
    let mut next = 1;
    for w in watches {
        let path = path(entry, &w.f_handle)?;
        let failed = |e: rustix::io::Errno| {
            Error::os(Phase::Files, format!("{} watch {} of {path}", name(entry), w.wd), "inotify_add_watch", e)
                .hint("what was watched has to be at its path")
        };
        go_to(entry, fd, next, w.wd)?;
        // Not what a symbolic link leads to: the path is the inode's own.
        let flags = WatchFlags::from_bits_retain(w.mask & WATCHABLE) | WatchFlags::DONT_FOLLOW;
        if inotify::add_watch(fd, path, flags).map_err(failed)? as u32 != w.wd {
            return Err(failed(rustix::io::Errno::EXIST));
        }
        next = w.wd.saturating_add(1);
    }
    go_to(entry, fd, next, ify.next_wd.unwrap_or(next))?;
    drain(fd);
    Ok(())
}

/// Has the kernel give the number `to` next, after `next`. Where it cannot be told so, the numbers between are given to a
/// watch that goes at once.
fn go_to(entry: &FileEntry, fd: BorrowedFd<'_>, next: u32, to: u32) -> Result<()> {
    if next == to || set_next_watch(fd, to).is_ok() {
        return Ok(());
    }
    if to < next || to > MAX_WD_IN_TURN {
        let cause = format!("this kernel cannot be told that its next watch has the number {to}");
        return Err(
            Error::new(Phase::Files, name(entry), cause).hint("restore it on a kernel with CONFIG_CHECKPOINT_RESTORE")
        );
    }
    let failed = |e: rustix::io::Errno| Error::os(Phase::Files, name(entry), "inotify_add_watch", e);
    // Something that nobody watches.
    let (pipe, _) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    for _ in next..to {
        let got = inotify::add_watch(fd, &*path, WatchFlags::DELETE_SELF).map_err(failed)?;
        inotify::remove_watch(fd, got).map_err(failed)?;
        // Its end is an event.
        drain(fd);
    }
    Ok(())
}

/// Takes events out of a queue that does not make wait.
fn drain(fd: BorrowedFd<'_>) {
    let mut buf = [0; 8192];
    while rustix::io::read(fd, &mut buf).is_ok_and(|n| n > 0) {}
}

fn mark(entry: &FileEntry, fd: RawFd, mark: &FanotifyMarkEntry) -> Result<()> {
    let path = mark_path(entry, mark)?;
    let of = match mark.r#type() {
        MarkType::Inode => 0,
        MarkType::Mount => FAN_MARK_MOUNT,
        MarkType::Filesystem => FAN_MARK_FILESYSTEM,
    };
    let c_path = CString::new(path).map_err(|_| wrong(entry, "a path with a zero byte".into()))?;
    let add = |flags: u32, mask: u32| {
        add_mark(borrow(fd), of | flags, mask.into(), &c_path).map_err(|e| {
            Error::os(Phase::Files, format!("{} mark of {path}", name(entry)), "fanotify_mark", e)
                .hint("what was marked has to be at its path")
        })
    };
    // How long an ignored mask lasts is said with it alone.
    const OF_IGNORED: u32 = 0x40 | FAN_MARK_IGNORE;
    if mark.mask != 0 {
        add(mark.mflags & !OF_IGNORED, mark.mask)?;
    }
    if mark.ignored_mask != 0 {
        let how = if mark.mflags & FAN_MARK_IGNORE != 0 { 0 } else { FAN_MARK_IGNORED_MASK };
        add(mark.mflags | how, mark.ignored_mask)?;
    }
    Ok(())
}

fn mark_path<'a>(entry: &FileEntry, mark: &'a FanotifyMarkEntry) -> Result<&'a str> {
    match (&mark.ie, &mark.me) {
        (Some(ie), _) => path(entry, &ie.f_handle),
        (_, Some(me)) => me.path.as_deref().ok_or_else(|| wrong(entry, "a mark of a mount without its path".into())),
        _ => Err(wrong(entry, "a mark that says of nothing what it marks".into())),
    }
}

fn path<'a>(entry: &FileEntry, handle: &'a FhEntry) -> Result<&'a str> {
    handle.path.as_deref().filter(|p| p.starts_with('/')).ok_or_else(|| {
        wrong(entry, "the path of a watched file is not in the image, only its handle".into())
            .hint("dump it where the path can be found (--force-irmap with CRIU)")
    })
}

fn wrong(entry: &FileEntry, cause: String) -> Error {
    Error::new(Phase::Check, name(entry), cause)
}

fn name(entry: &FileEntry) -> String {
    let kind = if entry.ffy.is_some() { "fanotify" } else { "inotify" };
    format!("file {} ({kind})", entry.id)
}
