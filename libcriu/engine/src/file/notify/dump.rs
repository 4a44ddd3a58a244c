//! inotify and fanotify: watches and marks, from fdinfo.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use criu_images::messages::{
    CriuOpts, FanotifyFileEntry, FanotifyInodeMarkEntry, FanotifyMarkEntry, FanotifyMountMarkEntry, FdTypes, FhEntry,
    FileEntry, InotifyFileEntry, InotifyWdEntry, MarkType,
};
use rustix::io::ioctl_fionread;

use super::fdinfo::{Watched, Words};
use super::whereabouts::{Place, Whereabouts, is_open_as};
use super::{HIGHEST_WD, number_after};
use crate::error::{Blocker, Result};
use crate::file::FileId;
use crate::file::collect::Collected;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;
use crate::sys::kernel::Kernel;

const REMOVE: &str = "remove watches of unlinked files that no task of the tree has open";
/// Words of a handle in an image: CRIU writes at least as many.
const HANDLE_WORDS: usize = 16;
/// Bits of fanotify_init's flags that say for which class of events: the permission classes.
const PERMISSION_CLASSES: u64 = 0xc;

#[derive(Debug, Default)]
pub(crate) struct Notifiers {
    whereabouts: Whereabouts,
    unlinked: Vec<Unlinked>,
}

/// A watch of an inode that has no name any more: kept if the inode is saved because a task has it open.
#[derive(Debug)]
struct Unlinked {
    pid: i32,
    object: String,
    cause: String,
    /// The entry, and which of its watches or marks it is.
    entry: FileId,
    nth: usize,
    inode: Watched,
    /// As stat(2) tells it, if its handle led to it.
    told: Option<(u64, u64)>,
}

impl DumpKind for Notifiers {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.is_anon("inotify") || seen.is_anon("[fanotify]")
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let waiting = ioctl_fionread(&seen.dup).map_err(|e| Unsaved::os(seen, "ioctl FIONREAD", e))?;
        if waiting > 0 {
            let cause = format!("{waiting} bytes of events that it has not read yet cannot be saved");
            return Err(Unsaved::because(cause).hint("dump again when it has read them"));
        }
        let (flags, fown) = (seen.info.flags, seen.fown);
        if seen.is_anon("inotify") {
            let wd = self.watches(seen, id, &near(seen, &common.opts))?;
            let next_wd = next_number(seen).filter(|&next| next != number_after(&wd));
            let ify = InotifyFileEntry { id, flags, fown, wd, next_wd };
            return Ok(FileEntry {
                r#type: FdTypes::Inotify as i32,
                id,
                ify: Some(ify.into()),
                ..FileEntry::default()
            });
        }
        let group = seen.info.text.lines().find_map(|l| Words::of(l, "fanotify").filter(|w| w.has("event-flags")));
        let group = group.ok_or_else(|| seen.no_line("fanotify flags"))?;
        let number = |name: &str| group.number(name).ok_or_else(|| seen.no_line(name));
        let (faflags, evflags) = (number("flags")?, number("event-flags")?);
        if faflags & PERMISSION_CLASSES != 0 {
            return Err(Unsaved::because(
                "a fanotify group for permission events: whoever waits for its answer is stuck",
            )
            .hint("close it before the dump"));
        }
        let mark = self.marks(seen, id, &near(seen, &common.opts))?;
        let (faflags, evflags) = (faflags as u32, evflags as u32);
        let ffy = FanotifyFileEntry { id, flags, fown, faflags, evflags, mark };
        Ok(FileEntry { r#type: FdTypes::Fanotify as i32, id, ffy: Some(ffy.into()), ..FileEntry::default() })
    }

    fn resolve(&mut self, common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        for watch in std::mem::take(&mut self.unlinked) {
            let is_it = |ghost: BorrowedFd<'_>| is_open_as(ghost, &watch.inode);
            let Some((dev, ino)) = common.ghosts.inode(watch.told, is_it) else {
                blockers.push(Blocker::new(watch.pid, watch.object, watch.cause).hint(REMOVE));
                continue;
            };
            // A filesystem may tell stat(2) another number than inotify: the restore goes by that of the ghost.
            let entry = common.entries.iter_mut().find(|e| e.id == watch.entry);
            if let Some(wd) = entry.and_then(|e| e.ify.as_mut()).and_then(|ify| ify.wd.get_mut(watch.nth)) {
                (wd.s_dev, wd.i_ino) = (dev, ino);
                continue;
            }
            let entry = common.entries.iter_mut().find(|e| e.id == watch.entry);
            if let Some(mark) = entry.and_then(|e| e.ffy.as_mut()).and_then(|ffy| ffy.mark.get_mut(watch.nth)) {
                mark.s_dev = dev;
                mark.ie.iter_mut().for_each(|ie| ie.i_ino = ino);
            }
        }
        Ok(())
    }
}

/// The number of the next watch, which no call tells. `None`: the kernel's memory cannot be read.
fn next_number(seen: &Seen<'_>) -> Option<u32> {
    let next = Kernel::open().and_then(|kernel| {
        let group = kernel.number(kernel.file(seen.dup.as_fd())?, "file", "private_data")?;
        kernel.number(group, "fsnotify_group", "inotify_data.idr.idr_next")
    });
    match next {
        // Behind the highest of all it begins anew.
        Ok(next) => Some(u32::try_from(next).ok().filter(|n| (1..=HIGHEST_WD).contains(n)).unwrap_or(1)),
        Err(e) => {
            let (pid, object) = (seen.holder_pid, seen.object());
            log::warn!("pid {pid} {object}: numbers of watches that it has removed may be given again ({e})");
            None
        }
    }
}

impl Notifiers {
    fn watches(&mut self, seen: &Seen<'_>, id: FileId, near: &[PathBuf]) -> Result<Vec<InotifyWdEntry>, Unsaved> {
        let mut watches = Vec::new();
        for words in seen.info.text.lines().filter_map(|l| Words::of(l, "inotify")) {
            let number = |name: &str| words.number(name).map(|n| n as u32).ok_or_else(|| seen.no_line(name));
            let inode = words.watched().ok_or_else(|| seen.no_line("inotify"))?;
            let wd = number("wd")?;
            watches.push(InotifyWdEntry {
                id: seen_id(watches.len()),
                i_ino: inode.ino,
                mask: number("mask")?,
                ignored_mask: number("ignored_mask")?,
                s_dev: inode.dev,
                wd,
                f_handle: self.handle(seen, (id, watches.len()), &inode, near, &format!("watch {wd}"))?,
            });
        }
        Ok(watches)
    }

    fn marks(&mut self, seen: &Seen<'_>, id: FileId, near: &[PathBuf]) -> Result<Vec<FanotifyMarkEntry>, Unsaved> {
        let mut marks = Vec::new();
        let lines = seen.info.text.lines().filter_map(|l| Words::of(l, "fanotify"));
        for words in lines.filter(|w| !w.has("event-flags")) {
            let number = |name: &str| words.number(name).map(|n| n as u32).ok_or_else(|| seen.no_line(name));
            let failed = |e| Unsaved::os(seen, "reading mountinfo", e);
            let mut mark = FanotifyMarkEntry {
                id: seen_id(marks.len()),
                mflags: number("mflags")?,
                mask: number("mask")?,
                ignored_mask: number("ignored_mask")?,
                ..FanotifyMarkEntry::default()
            };
            let place = |path: Option<Vec<u8>>| {
                path.map(Some).ok_or_else(|| Unsaved::because("a mark of a mount that is not there any more"))
            };
            if let Some(inode) = words.watched() {
                mark.r#type = MarkType::Inode as i32;
                mark.s_dev = inode.dev;
                let f_handle = self.handle(seen, (id, marks.len()), &inode, near, "a mark")?;
                mark.ie = Some(FanotifyInodeMarkEntry { i_ino: inode.ino, f_handle });
            } else if let Some(mnt_id) = words.number("mnt_id").map(|n| n as u32) {
                mark.r#type = MarkType::Mount as i32;
                let path = place(self.whereabouts.mount_point(mnt_id).map_err(failed)?)?;
                mark.me = Some(FanotifyMountMarkEntry { mnt_id, path });
            } else if let Some(dev) = words.number("sdev").map(|n| n as u32) {
                mark.r#type = MarkType::Filesystem as i32;
                mark.s_dev = dev;
                let path = place(self.whereabouts.filesystem(dev).map_err(failed)?)?;
                mark.me = Some(FanotifyMountMarkEntry { mnt_id: 0, path });
            } else {
                return Err(Unsaved::because("a fanotify mark of an unknown kind").hint("close it before the dump"));
            }
            marks.push(mark);
        }
        Ok(marks)
    }

    /// A handle has no path when its inode comes back as a ghost.
    fn handle(
        &mut self,
        seen: &Seen<'_>,
        (entry, nth): (FileId, usize),
        inode: &Watched,
        near: &[PathBuf],
        what: &str,
    ) -> Result<FhEntry, Unsaved> {
        let (dev, ino) = (inode.dev, inode.ino);
        let (major, minor) = (dev >> 20, dev & 0xf_ffff);
        let mut without_path = |told| {
            let cause = format!("{what} is on inode {ino} of device {major}:{minor}, to which no path leads");
            let (pid, object, inode) = (seen.holder_pid, seen.object(), inode.clone());
            self.unlinked.push(Unlinked { pid, object, cause, entry, nth, inode, told });
        };
        let path = match self.whereabouts.find(inode, near).unwrap_or(Place::Unknown) {
            Place::Path(path) => Some(path),
            Place::Unlinked { dev, ino } => {
                without_path(Some((dev, ino)));
                None
            }
            Place::Unknown => {
                without_path(None);
                None
            }
        };
        let (kind, bytes) = inode.handle.clone().unwrap_or_default();
        let mut handle = vec![0; HANDLE_WORDS.max(bytes.len().div_ceil(8))];
        for (i, &b) in bytes.iter().enumerate() {
            handle[i / 8] |= u64::from(b) << (8 * (i % 8));
        }
        let (bytes, r#type) = (bytes.len() as u32, kind as u32);
        Ok(FhEntry { bytes, r#type, handle, path, mnt_id: None })
    }
}

fn seen_id(n: usize) -> u32 {
    n as u32
}

/// Directories that the caller has named (`irmap_scan_paths`), or that the task has to do with: where a search finds soonest.
fn near(seen: &Seen<'_>, opts: &CriuOpts) -> Vec<PathBuf> {
    let pid = seen.task.pid;
    let named = opts.irmap_scan_paths.iter().map(PathBuf::from);
    let links = ["cwd", "root"].iter().filter_map(|l| std::fs::read_link(format!("/proc/{pid}/{l}")).ok());
    let mut dirs: Vec<PathBuf> = named.chain(links).collect();
    for fd in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let Ok(link) = std::fs::read_link(fd.path()) else { continue };
        if link.is_dir() {
            dirs.push(link.clone());
        }
        dirs.extend(link.parent().filter(|p| p.is_absolute()).map(Into::into));
    }
    dirs.retain(|d| d.is_absolute() && d.as_os_str() != "/" && !d.starts_with("/proc") && !d.starts_with("/dev/pts"));
    dirs.sort();
    dirs.dedup();
    dirs
}
