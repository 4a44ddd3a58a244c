//! Ghosts: which files are some, and their contents.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use criu_images::messages::{
    CriuOpts, FdTypes, FileEntry, GhostChunkEntry, GhostFileEntry, GhostXattrEntry, RegFileEntry, RemapFilePathEntry,
    RemapType, Timeval,
};
use criu_images::{ImageDir, ImageWriter, Kind};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, SeekFrom, fstatfs, getxattr, ioctl_getflags, linkat, listxattr, openat, readlinkat,
    seek, unlinkat,
};

use super::COPY_BYTES;
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::file::collect::{Collected, saving};
use crate::file::kind::Unsaved;
use crate::file::path::{lstat, shown};
use crate::file::seen::Seen;

#[derive(Debug)]
struct Ghost {
    id: u32,
    entry: GhostFileEntry,
    /// A description of our own to read the contents from; none for anything but a regular file.
    contents: Option<File>,
    size_bytes: u64,
    name: String,
}

/// A link of our own for a file whose name is gone while others are left.
#[derive(Debug)]
struct LinkRemap {
    id: FileId,
    inode: (u64, u64),
    fd: OwnedFd,
    path: Vec<u8>,
    made: bool,
}

impl Drop for LinkRemap {
    /// A dump that failed leaves no link behind.
    fn drop(&mut self) {
        if self.made {
            let _ = unlinkat(CWD, &*self.path, AtFlags::empty());
        }
    }
}

/// The ghosts of a dump.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    links: Vec<LinkRemap>,
    ghosts: Vec<Ghost>,
    by_inode: HashMap<(u64, u64), u32>,
    remaps: Vec<RemapFilePathEntry>,
}

/// Takes in a file whose name `name` is gone; `id` is its entry's.
pub(crate) fn remap(common: &mut Collected, seen: &Seen<'_>, id: FileId, name: &[u8]) -> Result<(), Unsaved> {
    let stat = &seen.stat;
    let key = (stat.st_dev, stat.st_ino);
    let (remap_id, remap_type) = if stat.st_nlink > 0 && seen.file_type() != libc::S_IFDIR {
        let link = match common.ghosts.links.iter().find(|l| l.inode == key) {
            Some(link) => link.id,
            None => add_link(common, seen, name)?,
        };
        (link, RemapType::Linked)
    } else {
        let ghost = match common.ghosts.by_inode.get(&key) {
            Some(&ghost) => ghost,
            None => {
                let ghost = common.ghosts.add(seen, name, &common.opts)?;
                common.ghosts.by_inode.insert(key, ghost);
                ghost
            }
        };
        (ghost, RemapType::Ghost)
    };
    common.ghosts.remaps.push(RemapFilePathEntry { orig_id: id, remap_id, remap_type: Some(remap_type as i32) });
    Ok(())
}

/// Plans a link of our own beside where the name was.
fn add_link(common: &mut Collected, seen: &Seen<'_>, name: &[u8]) -> Result<FileId, Unsaved> {
    if !common.opts.link_remap() {
        let cause = format!("its name {} is gone, but it has {} other links", shown(name), seen.stat.st_nlink);
        return Err(Unsaved::because(cause).hint("let a link be made for it with --link-remap"));
    }
    let dir = name.iter().rposition(|&b| b == b'/').map_or(&name[..0], |at| &name[..=at]);
    if lstat(if dir.is_empty() { b"/" } else { dir }).is_err() {
        return Err(Unsaved::because(format!("its directory {} is gone, but it has other links", shown(dir)))
            .hint("give it its directory back"));
    }
    let id = common.new_id();
    let path = free_name(dir, id);
    let fd = rustix::io::fcntl_dupfd_cloexec(&seen.dup, 0).map_err(|e| Unsaved::os(seen, "dup", e))?;
    let regular = seen.file_type() == libc::S_IFREG;
    let reg = RegFileEntry {
        id,
        name: path.clone(),
        size: regular.then_some(seen.stat.st_size as u64),
        mode: Some(seen.stat.st_mode),
        ..RegFileEntry::default()
    };
    common.entries.push(FileEntry { r#type: FdTypes::Reg as i32, id, reg: Some(reg.into()), ..FileEntry::default() });
    let inode = (seen.stat.st_dev, seen.stat.st_ino);
    common.ghosts.links.push(LinkRemap { id, inode, fd, path, made: false });
    Ok(id)
}

/// `link_remap.ID`, or with a number added where that is taken.
fn free_name(dir: &[u8], id: FileId) -> Vec<u8> {
    let with = |suffix: &str| [dir, format!("link_remap.{id}{suffix}").as_bytes()].concat();
    let mut name = with("");
    let mut n = 0;
    while lstat(&name).is_ok() {
        n += 1;
        name = with(&format!(".{n}"));
    }
    name
}

/// As in linux/limits.h.
const XATTR_LIST_MAX: usize = 64 << 10;
const XATTR_SIZE_MAX: usize = 64 << 10;

/// Files of hugetlbfs cannot be written to.
const HUGETLBFS_MAGIC: rustix::fs::FsWord = 0x9584_58f6;

impl Ghosts {
    /// A file of the /proc directory of a process that is gone.
    pub(crate) fn add_of_dead(&mut self, id: FileId, task: i32) {
        let remap_type = Some(RemapType::Procfs as i32);
        self.remaps.push(RemapFilePathEntry { orig_id: id, remap_id: task as u32, remap_type });
    }

    pub(crate) fn is_of_dead(&self, id: FileId) -> bool {
        self.remaps.iter().any(|r| r.orig_id == id && r.remap_type == Some(RemapType::Procfs as i32))
    }

    /// Device and inode, as its image has them, of the ghost that stat(2) tells as `told`, or of which `is_it` knows.
    pub(crate) fn inode(&self, told: Option<(u64, u64)>, is_it: impl Fn(BorrowedFd<'_>) -> bool) -> Option<(u32, u64)> {
        let by_number = told.and_then(|told| self.by_inode.get(&told));
        let is_ghost = |ghost: &&Ghost| match by_number {
            Some(&id) => ghost.id == id,
            None => ghost.contents.as_ref().is_some_and(|file| is_it(file.as_fd())),
        };
        let entry = &self.ghosts.iter().find(is_ghost)?.entry;
        entry.dev.zip(entry.ino)
    }

    fn add(&mut self, seen: &Seen<'_>, name: &[u8], opts: &CriuOpts) -> Result<u32, Unsaved> {
        let stat = &seen.stat;
        let size_bytes = stat.st_size as u64;
        let stored = size_bytes.min((stat.st_blocks as u64).saturating_mul(512));
        let limit = u64::from(opts.ghost_limit());
        let regular = seen.file_type() == libc::S_IFREG;
        if regular && fstatfs(&seen.dup).map_err(|e| Unsaved::os(seen, "fstatfs", e))?.f_type == HUGETLBFS_MAGIC {
            let cause = "an unlinked file of huge pages cannot be saved, unless it is a memfd (MFD_HUGETLB)";
            return Err(Unsaved::because(cause).hint("close it before the dump"));
        }
        if regular && stored > limit {
            let cause = format!("an unlinked file with {stored} bytes of contents, more than the limit of {limit}");
            return Err(Unsaved::because(cause).hint("raise the limit with --ghost-limit"));
        }
        let id = self.ghosts.len() as u32 + 1;
        let device = matches!(seen.file_type(), libc::S_IFCHR | libc::S_IFBLK);
        let symlnk_target = if seen.file_type() == libc::S_IFLNK {
            let target = readlinkat(&seen.dup, c"", Vec::new()).map_err(|e| Unsaved::os(seen, "readlinkat", e))?;
            Some(target.into_bytes())
        } else {
            None
        };
        let has_attributes = regular || seen.file_type() == libc::S_IFDIR;
        let contents = regular.then(|| reopen(seen)).transpose().map_err(|e| Unsaved::os(seen, "open", e))?;
        let entry = GhostFileEntry {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode,
            dev: Some(kernel_dev(stat.st_dev)),
            ino: Some(stat.st_ino),
            rdev: device.then(|| kernel_dev(stat.st_rdev)),
            atim: Some(timeval(stat.st_atime, stat.st_atime_nsec)),
            mtim: Some(timeval(stat.st_mtime, stat.st_mtime_nsec)),
            chunks: None,
            size: None,
            symlnk_target,
            xattrs: if has_attributes { attributes(seen)? } else { Vec::new() },
            inode_flags: inode_flags(contents.as_ref()),
            atim_nsec: Some(stat.st_atime_nsec as u32),
            mtim_nsec: Some(stat.st_mtime_nsec as u32),
        };
        self.ghosts.push(Ghost { id, entry, contents: contents.map(File::from), size_bytes, name: shown(name) });
        Ok(id)
    }

    /// Writes `remap-fpath.img` and every ghost's image.
    pub(crate) fn save(&mut self, images: &ImageDir) -> Result<()> {
        if self.remaps.is_empty() {
            return Ok(());
        }
        for link in &mut self.links {
            let from = format!("/proc/self/fd/{}", link.fd.as_raw_fd());
            linkat(CWD, from, CWD, &*link.path, AtFlags::SYMLINK_FOLLOW)
                .map_err(|e| Error::os(Phase::Save, format!("link {}", shown(&link.path)), "linkat", e))?;
            link.made = true;
        }
        let mut image = images.create(Kind::RemapFpath, 0).map_err(saving)?;
        for remap in &self.remaps {
            image.entry(remap).map_err(saving)?;
        }
        image.finish().map_err(saving)?;
        self.ghosts.iter().try_for_each(|g| g.save(images))
    }
}

impl Ghosts {
    /// The checkpoint is complete: what it needs stays.
    pub(crate) fn close(&mut self) {
        self.ghosts.clear();
    }

    pub(crate) fn keep_links(&mut self) {
        for link in &mut self.links {
            link.made = false;
        }
    }
}

impl Ghost {
    fn save(&self, images: &ImageDir) -> Result<()> {
        let failed =
            |call: &str, e: std::io::Error| Error::os(Phase::Save, format!("ghost file {}", self.name), call, e);
        let mut image = images.create(Kind::GhostFile, u64::from(self.id)).map_err(saving)?;
        let Some(file) = &self.contents else {
            image.entry(&self.entry).map_err(saving)?;
            return image.finish().map_err(saving);
        };
        let extents = extents(file, self.size_bytes).map_err(|e| failed("lseek", e))?;
        if extents == [(0, self.size_bytes)] || self.size_bytes == 0 {
            image.entry(&self.entry).map_err(saving)?;
            copy(file, 0, self.size_bytes, &mut image, failed)?;
        } else {
            let entry = GhostFileEntry { chunks: Some(true), size: Some(self.size_bytes), ..self.entry.clone() };
            image.entry(&entry).map_err(saving)?;
            for (off, len) in extents {
                image.entry(&GhostChunkEntry { len, off }).map_err(saving)?;
                copy(file, off, len, &mut image, failed)?;
            }
        }
        image.finish().map_err(saving)
    }
}

/// Extended attributes, access lists among them, of an open file.
pub(crate) fn attributes(seen: &Seen<'_>) -> Result<Vec<GhostXattrEntry>, Unsaved> {
    let path = format!("/proc/self/fd/{}", seen.dup.as_raw_fd());
    let mut names = vec![0; XATTR_LIST_MAX];
    let len = match listxattr(&path, &mut names[..]) {
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        other => other.map_err(|e| Unsaved::os(seen, "listxattr", e))?,
    };
    let mut found = Vec::new();
    for name in names[..len].split(|&b| b == 0).filter(|n| is_kept(n)) {
        let mut value = vec![0; XATTR_SIZE_MAX];
        let len = match getxattr(&path, name, &mut value[..]) {
            // Of a security module, say, that has none for it.
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => continue,
            other => other.map_err(|e| Unsaved::os(seen, "getxattr", e))?,
        };
        value.truncate(len);
        found.push(GhostXattrEntry { name: name.into(), value });
    }
    Ok(found)
}

/// Labels of security modules are theirs to give.
fn is_kept(name: &[u8]) -> bool {
    !name.is_empty() && (!name.starts_with(b"security.") || name == b"security.capability")
}

/// What chattr(1) sets, of those flags that do not keep the owner from writing; none where there are none.
fn inode_flags(contents: Option<&OwnedFd>) -> Option<u32> {
    let flags = ioctl_getflags(contents?).ok()? & super::KEPT_FLAGS;
    Some(flags.bits()).filter(|&f| f != 0)
}

/// Parts that hold data, as (offset, length) in bytes.
fn extents(file: &File, size_bytes: u64) -> std::io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < size_bytes {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size_bytes);
        if end <= start {
            break;
        }
        found.push((start, end - start));
        at = end;
    }
    Ok(found)
}

fn copy(
    file: &File,
    start: u64,
    len: u64,
    image: &mut ImageWriter,
    failed: impl Fn(&str, std::io::Error) -> Error,
) -> Result<()> {
    let mut buf = vec![0; COPY_BYTES.min(len as usize)];
    let mut done = 0;
    while done < len {
        let want = buf.len().min((len - done) as usize);
        file.read_exact_at(&mut buf[..want], start + done).map_err(|e| failed("pread", e))?;
        image.raw(&buf[..want]).map_err(saving)?;
        done += want as u64;
    }
    Ok(())
}

/// A read-only description of our own of the same file: it may be read and sought without the task noticing.
pub(crate) fn reopen(seen: &Seen<'_>) -> std::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", seen.dup.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // O_NOATIME is for the owner and the privileged; without it a ghost's access time moves.
    match openat(CWD, &path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => Ok(openat(CWD, &path, flags, Mode::empty())?),
        other => Ok(other?),
    }
}

/// A device number as the kernel and the images have it: 12 bits major above 20 bits minor.
pub(crate) fn kernel_dev(dev: u64) -> u32 {
    (rustix::fs::major(dev) << 20) | (rustix::fs::minor(dev) & 0xf_ffff)
}

fn timeval(sec: i64, nsec: impl TryInto<u64>) -> Timeval {
    Timeval { tv_sec: sec as u64, tv_usec: nsec.try_into().unwrap_or(0) / 1000 }
}
