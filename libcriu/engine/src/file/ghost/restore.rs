//! Ghosts come back: made in the coordinator, unlinked at once, opened by whoever needs them through /proc/self/fd.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use criu_images::messages::{GhostChunkEntry, GhostFileEntry, RemapFilePathEntry, RemapType, Timeval};
use criu_images::{ImageDir, ImageReader, Kind};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, ftruncate, futimens, ioctl_getflags, ioctl_setflags, linkat, mkdirat, mknodat, openat, symlinkat,
    unlinkat, utimensat,
};

use super::COPY_BYTES;
use crate::error::{Error, Phase, Result};
use crate::file::Entries;
use crate::file::FileId;
use crate::file::load::loading;
use crate::file::path::shown;

/// What stands in for a file whose name is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Remap {
    Ghost(u32),
    /// The entry whose path is another link of the same file.
    Linked(FileId),
    /// A file of a /proc directory of a task that is gone.
    Procfs(u32),
}

/// Older images have no type: the high bit says ghost.
const GHOST_BIT: u32 = 1 << 31;

/// The ghosts of a restore.
#[derive(Debug, Default)]
pub(crate) struct GhostFiles {
    remaps: HashMap<FileId, Remap>,
    made: HashMap<Remap, OwnedFd>,
    /// Which ghost was which inode (device, number).
    by_inode: HashMap<(u32, u64), Remap>,
    /// Paths of links that the dump made.
    links: BTreeSet<Vec<u8>>,
    removed_links: bool,
}

impl GhostFiles {
    pub(crate) fn load(images: &ImageDir) -> Result<Self> {
        let entries: Vec<RemapFilePathEntry> = images.read_all(Kind::RemapFpath, 0).map_err(loading)?;
        let mut remaps = HashMap::new();
        for e in entries {
            let remap = match e.remap_type.map(RemapType::try_from) {
                None if e.remap_id & GHOST_BIT != 0 => Remap::Ghost(e.remap_id & !GHOST_BIT),
                None | Some(Ok(RemapType::Linked)) => Remap::Linked(e.remap_id),
                Some(Ok(RemapType::Ghost)) => Remap::Ghost(e.remap_id & !GHOST_BIT),
                Some(Ok(RemapType::Procfs)) => Remap::Procfs(e.remap_id),
                Some(Err(e)) => return Err(Error::new(Phase::Load, "remap-fpath.img", e.to_string())),
            };
            remaps.insert(e.orig_id, remap);
        }
        Ok(GhostFiles { remaps, ..GhostFiles::default() })
    }

    pub(crate) fn remap(&self, id: FileId) -> Option<Remap> {
        self.remaps.get(&id).copied()
    }

    /// Makes whatever stands in for entries whose names are gone: ghosts, and openings of links.
    pub(crate) fn make(&mut self, images: &ImageDir, entries: &Entries) -> Result<()> {
        for reg in entries.values().filter_map(|e| e.reg.as_ref()) {
            let Some(remap) = self.remap(reg.id).filter(|r| !self.made.contains_key(r)) else { continue };
            let made = match remap {
                Remap::Ghost(ghost) => {
                    let (made, inode) = make(images, ghost, &reg.name)?;
                    self.by_inode.extend(inode.map(|inode| (inode, remap)));
                    made
                }
                Remap::Linked(link) => {
                    let link = entries.get(&link).and_then(|e| e.reg.as_ref());
                    let link =
                        link.ok_or_else(|| Error::new(Phase::Check, shown(&reg.name), "its link is not in files.img"))?;
                    self.links.insert(link.name.clone());
                    open_link(&link.name, &reg.name)?
                }
                Remap::Procfs(_) => continue,
            };
            self.made.insert(remap, made);
        }
        Ok(())
    }

    /// What was made; open it through /proc/self/fd.
    pub(crate) fn get(&self, remap: Remap) -> Option<BorrowedFd<'_>> {
        self.made.get(&remap).map(AsFd::as_fd)
    }

    /// The ghost that stands in for what was this inode.
    pub(crate) fn of_inode(&self, dev: u32, ino: u64) -> Option<BorrowedFd<'_>> {
        self.get(*self.by_inode.get(&(dev, ino))?)
    }

    /// The restore is complete: the links that the dump made are not needed any more.
    pub(crate) fn remove_links(&mut self) {
        self.removed_links |= !self.links.is_empty();
        for link in std::mem::take(&mut self.links) {
            if let Err(e) = unlinkat(CWD, &*link, AtFlags::empty()) {
                log::warn!("the link {} of the checkpoint could not be removed: {e}", shown(&link));
            }
        }
    }

    /// Whether there were links to remove: who watches such a file is told of it.
    pub(crate) fn removed_links(&self) -> bool {
        self.removed_links
    }

    /// Lets go of what was made.
    pub(crate) fn close(&mut self) {
        self.made.clear();
    }
}

/// Opens the file of a link by the name that is gone, if that is free, so that /proc shows it.
fn open_link(link: &[u8], name: &[u8]) -> Result<OwnedFd> {
    let object = || format!("{} (link {})", shown(name), shown(link));
    let failed = |call: &str, e: rustix::io::Errno| Error::os(Phase::Files, object(), call, e);
    let linked = linkat(CWD, link, CWD, name, AtFlags::empty());
    let path = match linked {
        Ok(()) => name,
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOENT) => link,
        Err(e) => return Err(failed("linkat", e)),
    };
    let opened = openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    if linked.is_ok() {
        unlinkat(CWD, name, AtFlags::empty()).map_err(|e| failed("unlinkat", e))?;
    }
    opened.map_err(|e| failed("open", e))
}

/// Whether it never had a name, and may be given one (`O_TMPFILE`): the kernel shows the number of the inode.
fn is_nameless(path: &Path) -> bool {
    let shown = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix('#'));
    shown.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Makes a ghost; answers which inode it was as well.
fn make(images: &ImageDir, ghost: u32, name: &[u8]) -> Result<(OwnedFd, Option<(u32, u64)>)> {
    let object = format!("ghost file {}", shown(name));
    let failed = |call: &str, e: rustix::io::Errno| Error::os(Phase::Files, &*object, call, e);
    let mut image = images.require(Kind::GhostFile, u64::from(ghost)).map_err(loading)?;
    let entry: GhostFileEntry =
        image.entry().map_err(loading)?.ok_or_else(|| loading(image.corrupt("the image holds no entry")))?;
    let name = Path::new(OsStr::from_bytes(name));
    let parents = Parents::make(name).map_err(|e| failed("mkdir", e))?;
    let may_be_named = is_nameless(name) && entry.mode & libc::S_IFMT == libc::S_IFREG;
    let folder = name.parent().filter(|_| may_be_named);
    let nameless = folder.and_then(|folder| make_nameless(folder).transpose());
    let opened = nameless.map(|made| made.map_err(|e| failed("open O_TMPFILE", e)));
    let opened = opened.unwrap_or_else(|| {
        let path = create(&entry, ghost, name).map_err(|e| failed("create", e))?;
        let opened = open_and_unlink(&entry, &path).map_err(|e| failed("open", e));
        // Where opening failed the name may still be there.
        if opened.is_err() {
            let _ = unlinkat(CWD, &path, unlink_flags(&entry));
        }
        opened
    });
    parents.remove();
    let file = opened?;
    let inode = entry.dev.zip(entry.ino);
    if entry.mode & libc::S_IFMT == libc::S_IFREG {
        let file = File::from(file);
        fill(&mut image, &entry, &file, &object)?;
        own(&entry, &file).map_err(|e| failed("fchown", e))?;
        // Nobody may have it open for writing when it becomes a task's executable.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed("open", e))?;
        return Ok((file, inode));
    }
    Ok((file, inode))
}

/// `None`: the file system has no such files.
fn make_nameless(folder: &Path) -> rustix::io::Result<Option<OwnedFd>> {
    match openat(CWD, folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => Ok(None),
        Err(e) => Err(e),
    }
}

/// `NAME.cr.GHOST.ghost`, as much of the name as there is room for.
fn beside(name: &Path, ghost: u32) -> PathBuf {
    let suffix = format!(".cr.{ghost:x}.ghost");
    let mut last = name.file_name().unwrap_or_default().as_bytes().to_vec();
    last.truncate(NAME_MAX - suffix.len());
    last.extend(suffix.bytes());
    name.with_file_name(OsStr::from_bytes(&last))
}

/// As in linux/limits.h.
const NAME_MAX: usize = 255;

/// Makes the node and answers its path: the old one, or one beside it when that is taken.
fn create(entry: &GhostFileEntry, ghost: u32, name: &Path) -> rustix::io::Result<PathBuf> {
    let node = |path: &Path| {
        let perm = Mode::from_raw_mode(entry.mode & 0o7777);
        match entry.mode & libc::S_IFMT {
            libc::S_IFREG => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                openat(CWD, path, flags, Mode::RUSR | Mode::WUSR).map(drop)
            }
            libc::S_IFDIR => mkdirat(CWD, path, perm),
            libc::S_IFLNK => symlinkat(entry.symlnk_target.as_deref().unwrap_or(b"."), CWD, path),
            kind @ (libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK) => {
                let rdev = entry.rdev.unwrap_or(0);
                mknodat(
                    CWD,
                    path,
                    FileType::from_raw_mode(kind),
                    perm,
                    rustix::fs::makedev(rdev >> 20, rdev & 0xf_ffff),
                )
            }
            _ => Err(rustix::io::Errno::INVAL),
        }
    };
    match node(name) {
        Ok(()) => Ok(name.into()),
        Err(rustix::io::Errno::EXIST) => {
            let beside = beside(name, ghost);
            node(&beside).map(|()| beside)
        }
        Err(e) => Err(e),
    }
}

fn open_and_unlink(entry: &GhostFileEntry, path: &Path) -> rustix::io::Result<OwnedFd> {
    let kind = entry.mode & libc::S_IFMT;
    let flags = match kind {
        libc::S_IFREG => OFlags::RDWR | OFlags::NOFOLLOW,
        libc::S_IFDIR => OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        _ => OFlags::PATH | OFlags::NOFOLLOW,
    };
    if kind != libc::S_IFREG {
        chownat(CWD, path, uid(entry), gid(entry), AtFlags::SYMLINK_NOFOLLOW)?;
        if kind != libc::S_IFLNK {
            rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(entry.mode & 0o7777), AtFlags::empty())?;
        }
    }
    let fd = openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())?;
    if kind == libc::S_IFDIR {
        for attribute in &entry.xattrs {
            fsetxattr(&fd, &*attribute.name, &attribute.value, XattrFlags::empty())?;
        }
    }
    if let Some(times) = times(entry).filter(|_| kind != libc::S_IFREG) {
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    unlinkat(CWD, path, unlink_flags(entry))?;
    Ok(fd)
}

fn unlink_flags(entry: &GhostFileEntry) -> AtFlags {
    if entry.mode & libc::S_IFMT == libc::S_IFDIR { AtFlags::REMOVEDIR } else { AtFlags::empty() }
}

fn own(entry: &GhostFileEntry, file: &File) -> rustix::io::Result<()> {
    fchown(file, uid(entry), gid(entry))?;
    // After the owner: chown clears set-id bits.
    fchmod(file, Mode::from_raw_mode(entry.mode & 0o7777))?;
    // After the mode: an access list is more of it.
    for attribute in &entry.xattrs {
        fsetxattr(file, &*attribute.name, &attribute.value, XattrFlags::empty())?;
    }
    if let Some(flags) = entry.inode_flags {
        let now = ioctl_getflags(file)?;
        ioctl_setflags(file, now | (IFlags::from_bits_retain(flags) & super::KEPT_FLAGS))?;
    }
    times(entry).map_or(Ok(()), |times| futimens(file, &times))
}

fn times(entry: &GhostFileEntry) -> Option<Timestamps> {
    let last_access = timespec(entry.atim?, entry.atim_nsec);
    Some(Timestamps { last_access, last_modification: timespec(entry.mtim?, entry.mtim_nsec) })
}

fn uid(entry: &GhostFileEntry) -> Option<Uid> {
    Some(Uid::from_raw(entry.uid))
}

fn gid(entry: &GhostFileEntry) -> Option<Gid> {
    Some(Gid::from_raw(entry.gid))
}

fn timespec(t: Timeval, nsec: Option<u32>) -> Timespec {
    let nsec = nsec.map_or(t.tv_usec.min(999_999) * 1000, |nsec| nsec.min(999_999_999).into());
    Timespec { tv_sec: t.tv_sec as i64, tv_nsec: nsec as _ }
}

/// Writes the contents: one run of bytes, or chunks with holes between.
fn fill(image: &mut ImageReader, entry: &GhostFileEntry, file: &File, object: &str) -> Result<()> {
    let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, object, call, e);
    if entry.chunks != Some(true) {
        return copy(image, file, 0, image.left(), failed);
    }
    let size = entry.size.unwrap_or(0);
    ftruncate(file, size).map_err(|e| failed("ftruncate", e.into()))?;
    while let Some(chunk) = image.entry::<GhostChunkEntry>().map_err(loading)? {
        if chunk.off.checked_add(chunk.len).is_none_or(|end| end > size) {
            return Err(loading(image.corrupt(format!("a chunk ends beyond the file's {size} bytes"))));
        }
        copy(image, file, chunk.off, chunk.len, failed)?;
    }
    Ok(())
}

fn copy(
    image: &mut ImageReader,
    file: &File,
    start: u64,
    len: u64,
    failed: impl Fn(&str, std::io::Error) -> Error,
) -> Result<()> {
    let mut done = 0;
    while done < len {
        let bytes = image.payload((len - done).min(COPY_BYTES as u64)).map_err(loading)?;
        file.write_all_at(&bytes, start + done).map_err(|e| failed("pwrite", e))?;
        done += bytes.len() as u64;
    }
    Ok(())
}

/// Directories that had to be made for a moment because a ghost's own are gone as well.
struct Parents(Vec<PathBuf>);

impl Parents {
    fn make(name: &Path) -> rustix::io::Result<Self> {
        let mut made = Parents(Vec::new());
        let mut missing = Vec::new();
        let mut at = name.parent();
        while let Some(dir) = at.filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
            missing.push(dir.to_owned());
            at = dir.parent();
        }
        for dir in missing.into_iter().rev() {
            if let Err(e) = mkdirat(CWD, &dir, Mode::RWXU) {
                made.remove();
                return Err(e);
            }
            made.0.push(dir);
        }
        Ok(made)
    }

    fn remove(self) {
        for dir in self.0.iter().rev() {
            // Not empty any more only when somebody else has put something there: theirs to keep.
            let _ = unlinkat(CWD, dir, AtFlags::REMOVEDIR);
        }
    }
}

/// Opens a ghost anew with the given flags.
pub(crate) fn open_made(made: BorrowedFd<'_>, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", made.as_raw_fd());
    // What is made is no symbolic link, but the way to it is one.
    let flags = (flags - OFlags::NOFOLLOW) | OFlags::CLOEXEC;
    openat(CWD, OsStr::from_bytes(path.as_bytes()), flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_beside_a_name_that_is_taken() {
        assert_eq!(beside(Path::new("/d/x"), 0x1f), Path::new("/d/x.cr.1f.ghost"));
        let longest = [b"/d/".as_slice(), &[0xff; NAME_MAX]].concat();
        let beside = beside(Path::new(OsStr::from_bytes(&longest)), 1);
        let name = beside.file_name().unwrap().as_bytes();
        assert!(name.len() == NAME_MAX && name.starts_with(b"\xff") && name.ends_with(b"\xff.cr.1.ghost"));
    }
}
