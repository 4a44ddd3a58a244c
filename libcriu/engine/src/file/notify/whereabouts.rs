//! From an inode to a path.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat, readlinkat};

use super::fdinfo::{Watched, Words};
use crate::file::fdinfo::FdInfo;
use crate::sys::notify::open_by_handle;

/// How many names a search looks at before it gives up.
const MAX_NAMES: usize = 4_000_000;

#[derive(Clone, Debug)]
struct Mount {
    id: u32,
    /// 12 bits major above 20 bits minor.
    dev: u32,
    point: PathBuf,
}

/// Finds watched inodes.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    mounts: Vec<Mount>,
    known: HashMap<Watched, Place>,
}

/// Where a watched inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path(Vec<u8>),
    /// It has no name any more; what stat(2) tells of it.
    Unlinked {
        dev: u64,
        ino: u64,
    },
    Unknown,
}

impl Whereabouts {
    /// Where it is. `near` are directories to begin a search with.
    pub fn find(&mut self, inode: &Watched, near: &[PathBuf]) -> std::io::Result<Place> {
        if let Some(known) = self.known.get(inode) {
            return Ok(known.clone());
        }
        let mounts = self.mounts_of(inode.dev)?;
        let found = match by_handle(inode, &mounts) {
            Found::At(path) => Place::Path(path),
            Found::Unlinked { dev, ino } => Place::Unlinked { dev, ino },
            Found::NotThisWay => by_search(inode, &mounts, near).map_or(Place::Unknown, Place::Path),
        };
        self.known.insert(inode.clone(), found.clone());
        Ok(found)
    }

    /// What its handle leads to, if that is still the same inode.
    pub fn open(&mut self, inode: &Watched) -> std::io::Result<Option<OwnedFd>> {
        let mounts = self.mounts_of(inode.dev)?;
        let is_it = |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_ino == inode.ino);
        Ok(opened_by_handle(inode, &mounts).find(is_it))
    }

    fn mounts_of(&mut self, dev: u32) -> std::io::Result<Vec<Mount>> {
        self.load_mounts()?;
        Ok(self.mounts.iter().filter(|m| m.dev == dev).cloned().collect())
    }

    /// Where the mount with this id is.
    pub fn mount_point(&mut self, id: u32) -> std::io::Result<Option<Vec<u8>>> {
        self.load_mounts()?;
        Ok(self.mounts.iter().find(|m| m.id == id).map(|m| m.point.clone().into_os_string().into_vec()))
    }

    /// A mount of this filesystem.
    pub fn filesystem(&mut self, dev: u32) -> std::io::Result<Option<Vec<u8>>> {
        self.load_mounts()?;
        Ok(self.mounts.iter().find(|m| m.dev == dev).map(|m| m.point.clone().into_os_string().into_vec()))
    }

    fn load_mounts(&mut self) -> std::io::Result<()> {
        if self.mounts.is_empty() {
            let text = std::fs::read("/proc/self/mountinfo")?;
            self.mounts = text.split(|&b| b == b'\n').filter_map(mount).collect();
            // What is mounted last hides the others.
            self.mounts.reverse();
        }
        Ok(())
    }
}

/// `36 35 98:0 /root /point options ...`
fn mount(line: &[u8]) -> Option<Mount> {
    let words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let number = |w: &[u8]| std::str::from_utf8(w).ok()?.parse::<u32>().ok();
    let dev = std::str::from_utf8(words.get(2)?).ok()?;
    let (major, minor) = dev.split_once(':')?;
    let dev = major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?;
    Some(Mount { id: number(words.first()?)?, dev, point: PathBuf::from(OsStr::from_bytes(&unescaped(words.get(4)?))) })
}

/// Spaces and the like stand as `\040` there.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 4).and_then(|d| std::str::from_utf8(d).ok());
        match digits.filter(|_| text[at] == b'\\').and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

/// A watch of our own on this path says the same of the inode.
fn leads_there(path: &[u8], inode: &Watched) -> bool {
    is_watched(path, WatchFlags::DONT_FOLLOW, inode)
}

/// A watch of our own on this open file says the same of the inode.
pub(super) fn is_open_as(fd: BorrowedFd<'_>, inode: &Watched) -> bool {
    is_watched(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_bytes(), WatchFlags::empty(), inode)
}

fn is_watched(path: &[u8], flags: WatchFlags, inode: &Watched) -> bool {
    let look = || -> std::io::Result<bool> {
        let own = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&own, path, WatchFlags::DELETE_SELF | flags)?;
        let dir = File::open("/proc/self/fdinfo")?;
        let info = FdInfo::read(dir.as_fd(), own.as_raw_fd(), &mut Vec::new())?;
        let seen = info.text.lines().find_map(|l| Words::of(l, "inotify")).and_then(|w| w.watched());
        Ok(seen.as_ref() == Some(inode))
    };
    look().unwrap_or(false)
}

/// What a handle leads to.
enum Found {
    At(Vec<u8>),
    /// It has no name any more: no search will find one.
    Unlinked {
        dev: u64,
        ino: u64,
    },
    NotThisWay,
}

fn by_handle(inode: &Watched, mounts: &[Mount]) -> Found {
    for fd in opened_by_handle(inode, mounts) {
        if let Some(stat) = rustix::fs::fstat(&fd).ok().filter(|stat| stat.st_nlink == 0) {
            return Found::Unlinked { dev: stat.st_dev, ino: stat.st_ino };
        }
        if let Some(path) = path_of(&fd).filter(|p| leads_there(p, inode)) {
            return Found::At(path);
        }
    }
    Found::NotThisWay
}

/// What the handle leads to on each of the mounts.
fn opened_by_handle<'a>(inode: &'a Watched, mounts: &'a [Mount]) -> impl Iterator<Item = OwnedFd> + 'a {
    let handle = inode.handle.as_ref();
    mounts.iter().filter_map(move |mount| {
        let (kind, bytes) = handle?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let at = openat(CWD, &mount.point, flags, Mode::empty()).ok()?;
        open_by_handle(at.as_fd(), *kind, bytes).ok()
    })
}

fn path_of(fd: &OwnedFd) -> Option<Vec<u8>> {
    let link = readlinkat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new()).ok()?.into_bytes();
    link.starts_with(b"/").then_some(link)
}

/// Looks for the inode's number in directories: first in those near the tasks, one level deep, then on whole mounts.
fn by_search(inode: &Watched, mounts: &[Mount], near: &[PathBuf]) -> Option<Vec<u8>> {
    let mut names = 0;
    let mut seen = HashSet::new();
    let below_mount = |p: &&PathBuf| mounts.iter().any(|m| p.starts_with(&m.point));
    for dir in near.iter().filter(below_mount) {
        let path = dir.as_os_str().as_bytes();
        if leads_there(path, inode) {
            return Some(path.to_vec());
        }
        if let Some(found) = look_into(dir, inode, &mut names, &mut VecDeque::new()) {
            return Some(found);
        }
    }
    for mount in mounts {
        let mut queue = VecDeque::from([mount.point.clone()]);
        while let Some(dir) = queue.pop_front() {
            // Other mounts are searched for themselves, if at all.
            let other = dir != mount.point && mounts.iter().any(|m| m.point == dir);
            if other || !seen.insert(dir.clone()) {
                continue;
            }
            if let Some(found) = look_into(&dir, inode, &mut names, &mut queue) {
                return Some(found);
            }
            if names > MAX_NAMES {
                log::warn!("the search for watched inode {:#x} gave up after {names} names", inode.ino);
                return None;
            }
        }
    }
    None
}

/// Compares every name in a directory; its directories are put behind the others to be looked into.
fn look_into(dir: &Path, inode: &Watched, names: &mut usize, queue: &mut VecDeque<PathBuf>) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(CWD, dir, flags | OFlags::NOATIME, Mode::empty());
    let fd = fd.or_else(|_| openat(CWD, dir, flags, Mode::empty())).ok()?;
    for entry in Dir::read_from(&fd).ok()?.flatten() {
        let name = entry.file_name().to_bytes();
        if name == b"." {
            if entry.ino() == inode.ino && leads_there(dir.as_os_str().as_bytes(), inode) {
                return Some(dir.as_os_str().as_bytes().to_vec());
            }
            continue;
        }
        if name == b".." {
            continue;
        }
        *names += 1;
        let is_dir = entry.file_type() == FileType::Directory;
        // Of a directory that is a mount point, or lies on an overlay, the entry tells another number than the inode.
        let path = (is_dir || entry.ino() == inode.ino).then(|| dir.join(OsStr::from_bytes(name)));
        let Some(path) = path else { continue };
        if entry.ino() == inode.ino && leads_there(path.as_os_str().as_bytes(), inode) {
            return Some(path.into_os_string().into_vec());
        }
        if is_dir {
            queue.push_back(path);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::trial;

    fn watched(path: &str) -> Watched {
        let own = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&own, path, WatchFlags::CREATE).unwrap();
        let dir = File::open("/proc/self/fdinfo").unwrap();
        let info = FdInfo::read(dir.as_fd(), own.as_raw_fd(), &mut Vec::new()).unwrap();
        info.text.lines().find_map(|l| Words::of(l, "inotify")).and_then(|w| w.watched()).unwrap()
    }

    #[test]
    fn by_handle_and_without() {
        for root in ["/tmp", "/dev/shm"] {
            let dir = tempfile::tempdir_in(root).unwrap();
            let deep = dir.path().join("a b/c");
            std::fs::create_dir_all(&deep).unwrap();
            std::fs::write(deep.join("file"), "").unwrap();
            for path in [deep.join("file"), deep.clone()] {
                let mut inode = watched(path.to_str().unwrap());
                let expected = path.as_os_str().as_bytes().to_vec();
                assert_eq!(Whereabouts::default().find(&inode, &[]).unwrap(), Place::Path(expected.clone()));
                let opened = Whereabouts::default().open(&inode).unwrap().unwrap();
                let numbers = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
                let there = rustix::fs::stat(&path).unwrap();
                assert_eq!(numbers(rustix::fs::fstat(&opened).unwrap()), numbers(there));
                let mut whereabouts = Whereabouts::default();
                whereabouts.load_mounts().unwrap();
                let mounts: Vec<_> = whereabouts.mounts.into_iter().filter(|m| m.dev == inode.dev).collect();
                assert_eq!(by_search(&inode, &mounts, &[dir.path().join("a b")]), Some(expected));
                inode.ino += 1 << 40;
                assert_eq!(by_search(&inode, &[], &[dir.path().into()]), None);
            }
        }
    }

    #[test]
    fn on_an_overlay() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        for name in ["lower/a/b", "upper", "work", "merged"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::fs::write(at("lower/a/b/file"), "").unwrap();
        let options = format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
        let options = std::ffi::CString::new(options).unwrap();
        let apart = trial::fork(|| {
            trial::own_mounts();
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("overlay", at("merged"), "overlay", flags, Some(options.as_c_str())).unwrap();
            for name in ["merged/a/b/file", "merged/a/b", "merged"] {
                let found = Whereabouts::default().find(&watched(&at(name)), &[]).unwrap();
                assert_eq!(found, Place::Path(at(name).into_bytes()));
            }
        });
        apart.finish().unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn points_with_spaces() {
        let m = mount(b"36 35 98:7 / /a\\040b rw - ext3 /dev/x rw").unwrap();
        assert_eq!((m.id, m.dev, m.point.to_str()), (36, 98 << 20 | 7, Some("/a b")));
    }
}
