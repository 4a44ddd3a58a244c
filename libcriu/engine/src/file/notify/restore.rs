//! inotify and fanotify: made empty; watches and marks are added when descriptors are at their numbers.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use criu_images::ImageDir;
use criu_images::messages::{
    FanotifyMarkEntry, FdTypes, FhEntry, FileEntry, InotifyFileEntry, InotifyWdEntry, MarkType,
};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{fcntl_dupfd_cloexec, ioctl_fionread};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::fdinfo::Watched;
use super::whereabouts::Whereabouts;
use super::{
    FAN_MARK_FILESYSTEM, FAN_MARK_IGNORE, FAN_MARK_IGNORED_MASK, FAN_MARK_MOUNT, HIGHEST_WD, MAX_WD_IN_TURN, WATCHABLE,
};
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::Plan;
use crate::file::object::Object;
use crate::file::path::shown;
use crate::sys::descriptor::{adopt, borrow};
use crate::sys::notify::{add_mark, fanotify, set_next_watch};

#[derive(Debug, Default)]
pub(crate) struct Notifiers {
    /// Of inodes without a path: the ghost that stands in for one, or what its handle leads to.
    nameless: HashMap<(u32, u64), OwnedFd>,
}

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
                        check_path(entry, &wd.f_handle)?;
                    }
                    if let Some(next) = ify.next_wd.filter(|next| !(1..=HIGHEST_WD).contains(next)) {
                        return Err(wrong(entry, format!("its next watch has the number {next}")));
                    }
                }
                FdTypes::Fanotify => {
                    for mark in &body(entry, entry.ffy.as_ref())?.mark {
                        check_mark(entry, mark)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn prepare(&mut self, plan: &mut Plan) -> Result<()> {
        let mut whereabouts = Whereabouts::default();
        for entry in plan.entries.values() {
            for (dev, ino, handle) in nameless(entry) {
                let failed = |call: &str, e| Error::os(Phase::Files, name(entry), call, e);
                let found = match plan.ghosts.of_inode(dev, ino) {
                    Some(ghost) => Some(fcntl_dupfd_cloexec(ghost, 0).map_err(|e| failed("dup", e.into()))?),
                    None => whereabouts.open(&watched(dev, ino, handle)).map_err(|e| failed("reading mountinfo", e))?,
                };
                let found = found.ok_or_else(|| {
                    let cause =
                        format!("neither path nor handle lead to inode {ino} of device {dev:#x}, which it watches");
                    wrong(entry, cause)
                        .hint("restore where its filesystem is mounted, or dump it where a path can be found")
                })?;
                self.nameless.insert((dev, ino), found);
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
        // What has no path the coordinator knows.
        if plan.first_user.get(&entry.id) != Some(&at) || nameless(entry).next().is_some() {
            return Ok(());
        }
        self.complete_one(entry, fd)
    }

    fn hand_over(&mut self) {}

    fn close(&mut self) {
        self.nameless.clear();
    }

    fn resume(&self, plan: &Plan) -> Result<()> {
        for (entry, pid, queue) in held(plan) {
            let queue = queue?;
            if nameless(entry).next().is_some() {
                self.complete_one(entry, queue.as_raw_fd())?;
            }
            forget(entry, pid, &queue)?;
        }
        Ok(())
    }

    fn wake(&self, plan: &Plan) -> Result<()> {
        if !plan.ghosts.removed_links() {
            return Ok(());
        }
        held(plan).try_for_each(|(entry, pid, queue)| forget(entry, pid, &queue?))
    }
}

/// Every instance and group that a task has open, and its pid. One that is held in a message alone watches nothing.
fn held(plan: &Plan) -> impl Iterator<Item = (&FileEntry, Pid, Result<OwnedFd>)> {
    let watchers = plan.entries.values().filter(|e| e.ify.is_some() || e.ffy.is_some());
    watchers.filter_map(|entry| {
        let (pid, fd) = holder(plan, entry)?;
        let queue = pidfd_open(pid, PidfdFlags::empty())
            .and_then(|task| pidfd_getfd(task, fd, PidfdGetfdFlags::empty()))
            .map_err(|e| Error::os(Phase::Resume, name(entry), "pidfd_getfd", e).pid(pid.as_raw_nonzero().get()));
        Some((entry, pid, queue))
    })
}

impl Notifiers {
    /// Adds what it watches.
    fn complete_one(&self, entry: &FileEntry, fd: RawFd) -> Result<()> {
        match (&entry.ify, &entry.ffy) {
            (Some(ify), _) => {
                self.watch_all(entry, fd, ify)?;
                let failed = |e: rustix::io::Errno| Error::os(Phase::Files, name(entry), "fcntl F_SETFL", e);
                if ify.flags & libc::O_NONBLOCK as u32 == 0 {
                    let now = fcntl_getfl(borrow(fd)).map_err(failed)?;
                    fcntl_setfl(borrow(fd), now - OFlags::NONBLOCK).map_err(failed)?;
                }
                Ok(())
            }
            // The kernel tells the newest first.
            (_, Some(ffy)) => ffy.mark.iter().rev().try_for_each(|m| self.mark(entry, fd, m)),
            _ => Ok(()),
        }
    }

    /// The path by which an inode is watched; whether its last part may be a symbolic link that is meant itself.
    fn path(&self, entry: &FileEntry, (dev, ino): (u32, u64), handle: &FhEntry) -> Result<(Vec<u8>, WatchFlags)> {
        match (&handle.path, self.nameless.get(&(dev, ino))) {
            (Some(path), _) => Ok((path.clone(), WatchFlags::DONT_FOLLOW)),
            (None, Some(fd)) => Ok((format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes(), WatchFlags::empty())),
            (None, None) => Err(wrong(entry, "a watched file has no path".into())),
        }
    }

    /// Adds watches in the order of their numbers; the next one gets its number, too.
    fn watch_all(&self, entry: &FileEntry, fd: RawFd, ify: &InotifyFileEntry) -> Result<()> {
        let mut watches: Vec<&InotifyWdEntry> = ify.wd.iter().collect();
        watches.sort_by_key(|w| w.wd);
        let fd = borrow(fd);
        let mut next = 1;
        for w in watches {
            let (path, follow) = self.path(entry, (w.s_dev, w.i_ino), &w.f_handle)?;
            let failed = |e: rustix::io::Errno| {
                let object = format!("{} watch {} of {}", name(entry), w.wd, shown(&path));
                Error::os(Phase::Files, object, "inotify_add_watch", e).hint("what was watched has to be at its path")
            };
            go_to(entry, fd, next, w.wd)?;
            // Not what a symbolic link leads to: the path is the inode's own.
            let flags = WatchFlags::from_bits_retain(w.mask & WATCHABLE) | follow;
            if inotify::add_watch(fd, &*path, flags).map_err(failed)? as u32 != w.wd {
                return Err(failed(rustix::io::Errno::EXIST));
            }
            next = w.wd.saturating_add(1);
        }
        go_to(entry, fd, next, ify.next_wd.unwrap_or(next))?;
        drain(fd);
        Ok(())
    }

    fn mark(&self, entry: &FileEntry, fd: RawFd, mark: &FanotifyMarkEntry) -> Result<()> {
        let (path, _) = match (&mark.ie, &mark.me) {
            (Some(ie), _) => self.path(entry, (mark.s_dev, ie.i_ino), &ie.f_handle)?,
            (_, me) => (me.as_ref().and_then(|me| me.path.clone()).unwrap_or_default(), WatchFlags::empty()),
        };
        let of = match mark.r#type() {
            MarkType::Inode => 0,
            MarkType::Mount => FAN_MARK_MOUNT,
            MarkType::Filesystem => FAN_MARK_FILESYSTEM,
        };
        let c_path = CString::new(&*path).map_err(|_| wrong(entry, "a path with a zero byte".into()))?;
        let add = |flags: u32, mask: u32| {
            add_mark(borrow(fd), of | flags, mask.into(), &c_path).map_err(|e| {
                Error::os(Phase::Files, format!("{} mark of {}", name(entry), shown(&path)), "fanotify_mark", e)
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
}

/// What an entry watches by a handle alone: device, inode, handle.
fn nameless(entry: &FileEntry) -> impl Iterator<Item = (u32, u64, &FhEntry)> {
    let watches = entry.ify.iter().flat_map(|ify| &ify.wd).map(|w| (w.s_dev, w.i_ino, &w.f_handle));
    let marks = entry.ffy.iter().flat_map(|ffy| &ffy.mark);
    let marks = marks.filter_map(|m| m.ie.as_ref().map(|ie| (m.s_dev, ie.i_ino, &ie.f_handle)));
    watches.chain(marks).filter(|(_, _, handle)| handle.path.is_none())
}

/// An inode with the handle that an image has for it.
fn watched(dev: u32, ino: u64, handle: &FhEntry) -> Watched {
    let bytes = handle.handle.iter().flat_map(|word| word.to_le_bytes()).take(handle.bytes as usize).collect();
    Watched { ino, dev, handle: Some((handle.r#type as i32, bytes)) }
}

/// A task that has it open, and at which number.
fn holder(plan: &Plan, entry: &FileEntry) -> Option<(Pid, RawFd)> {
    let &at = plan.first_user.get(&entry.id)?;
    let (_, fds) = plan.tables.get(at)?;
    let fd = fds.iter().find(|f| f.id == entry.id)?.fd as RawFd;
    Some((Pid::from_raw(*plan.users.get(at)?)?, fd))
}

/// Takes out what the restore itself has brought into a queue: no task has run yet.
fn forget(entry: &FileEntry, pid: Pid, queue: &OwnedFd) -> Result<()> {
    let failed =
        |e: rustix::io::Errno| Error::os(Phase::Resume, name(entry), "read", e).pid(pid.as_raw_nonzero().get());
    let mut buf = [0; 8192];
    while ioctl_fionread(queue).map_err(failed)? > 0 {
        let n = rustix::io::read(queue, &mut buf).map_err(failed)?;
        if n == 0 {
            break;
        }
        if entry.ffy.is_some() {
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

fn check_mark(entry: &FileEntry, mark: &FanotifyMarkEntry) -> Result<()> {
    match (&mark.ie, &mark.me) {
        (Some(ie), _) => check_path(entry, &ie.f_handle),
        (_, Some(me)) if me.path.is_some() => Ok(()),
        (_, Some(_)) => Err(wrong(entry, "a mark of a mount without its path".into())),
        _ => Err(wrong(entry, "a mark that says of nothing what it marks".into())),
    }
}

/// A path has to be absolute; none is found by its handle, or as a ghost.
fn check_path(entry: &FileEntry, handle: &FhEntry) -> Result<()> {
    let is_relative = handle.path.as_ref().is_some_and(|p| !p.starts_with(b"/"));
    if is_relative { Err(wrong(entry, "the path of a watched file is not absolute".into())) } else { Ok(()) }
}

fn wrong(entry: &FileEntry, cause: String) -> Error {
    Error::new(Phase::Check, name(entry), cause)
}

fn name(entry: &FileEntry) -> String {
    let kind = if entry.ffy.is_some() { "fanotify" } else { "inotify" };
    format!("file {} ({kind})", entry.id)
}
