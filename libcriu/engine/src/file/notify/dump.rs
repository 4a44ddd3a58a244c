//! inotify and fanotify: watches and marks, from fdinfo.

use std::os::fd::AsFd;
use std::path::PathBuf;

use criu_images::messages::{
    FanotifyFileEntry, FanotifyInodeMarkEntry, FanotifyMarkEntry, FanotifyMountMarkEntry, FdTypes, FhEntry, FileEntry,
    InotifyFileEntry, InotifyWdEntry, MarkType,
};
use rustix::io::ioctl_fionread;

use super::fdinfo::{Watched, Words};
use super::whereabouts::Whereabouts;
use super::{HIGHEST_WD, number_after};
use crate::error::Result;
use crate::file::FileId;
use crate::file::collect::{Collected, image_path};
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;
use crate::sys::kernel::Kernel;

/// Words of a handle in an image: CRIU writes at least as many.
const HANDLE_WORDS: usize = 16;
/// Bits of fanotify_init's flags that say for which class of events: the permission classes.
const PERMISSION_CLASSES: u64 = 0xc;

#[derive(Debug, Default)]
pub(crate) struct Notifiers {
    whereabouts: Whereabouts,
}

impl DumpKind for Notifiers {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.is_anon("inotify") || seen.is_anon("[fanotify]")
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let waiting = ioctl_fionread(&seen.dup).map_err(|e| Unsaved::os(seen, "ioctl FIONREAD", e))?;
        if waiting > 0 {
            let cause = format!("{waiting} bytes of events that it has not read yet cannot be saved");
            return Err(Unsaved::because(cause).hint("dump again when it has read them"));
        }
        let (flags, fown) = (seen.info.flags, seen.fown);
        if seen.is_anon("inotify") {
            let wd = self.watches(seen)?;
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
        let mark = self.marks(seen)?;
        let (faflags, evflags) = (faflags as u32, evflags as u32);
        let ffy = FanotifyFileEntry { id, flags, fown, faflags, evflags, mark };
        Ok(FileEntry { r#type: FdTypes::Fanotify as i32, id, ffy: Some(ffy.into()), ..FileEntry::default() })
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
    fn watches(&mut self, seen: &Seen<'_>) -> Result<Vec<InotifyWdEntry>, Unsaved> {
        let near = near(seen);
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
                f_handle: self.handle(&inode, &near, &format!("watch {wd}"))?,
            });
        }
        Ok(watches)
    }

    fn marks(&mut self, seen: &Seen<'_>) -> Result<Vec<FanotifyMarkEntry>, Unsaved> {
        let near = near(seen);
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
                let path = path.ok_or_else(|| Unsaved::because("a mark of a mount that is not there any more"))?;
                image_path(&path).map(Some)
            };
            if let Some(inode) = words.watched() {
                mark.r#type = MarkType::Inode as i32;
                mark.s_dev = inode.dev;
                let f_handle = self.handle(&inode, &near, "a mark")?;
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

    fn handle(&mut self, inode: &Watched, near: &[PathBuf], what: &str) -> Result<FhEntry, Unsaved> {
        let path = self.whereabouts.find(inode, near).unwrap_or_default();
        let path = path.ok_or_else(|| {
            let (dev, ino) = (inode.dev, inode.ino);
            let cause =
                format!("{what} is on inode {ino} of device {}:{}, to which no path leads", dev >> 20, dev & 0xf_ffff);
            Unsaved::because(cause).hint("remove watches of unlinked files")
        })?;
        let (kind, bytes) = inode.handle.clone().unwrap_or_default();
        let mut handle = vec![0; HANDLE_WORDS.max(bytes.len().div_ceil(8))];
        for (i, &b) in bytes.iter().enumerate() {
            handle[i / 8] |= u64::from(b) << (8 * (i % 8));
        }
        let (bytes, r#type) = (bytes.len() as u32, kind as u32);
        Ok(FhEntry { bytes, r#type, handle, path: Some(image_path(&path)?), mnt_id: None })
    }
}

fn seen_id(n: usize) -> u32 {
    n as u32
}

/// Directories that the task has to do with: where a search finds soonest.
fn near(seen: &Seen<'_>) -> Vec<PathBuf> {
    let pid = seen.task.pid;
    let mut dirs: Vec<PathBuf> =
        ["cwd", "root"].iter().filter_map(|l| std::fs::read_link(format!("/proc/{pid}/{l}")).ok()).collect();
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
