//! Binds sockets to what they were bound to: the name as it was, and the file where it was.
//!
//! A name is what was given to bind(2), which need not be where the file is now: it may be relative, the file may have been
//! moved or removed. Such a socket is bound in a thread with a root directory of its own, in which the name leads to a
//! directory beside the file's place (the file is then moved there), or to a file system that nobody else can see.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criu_images::messages::{FilePermsEntry, UnixSkEntry};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chmodat, chownat, lstat, mkdirat, openat, renameat, unlinkat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::name::{Name, shown};
use super::named;
use crate::error::{Error, Phase, Result};
use crate::file::kernel_dev;
use crate::socket::diag::unix_sockets;
use crate::sys::fs::{apart, enter_root};
use crate::sys::unix;

/// The mode of a file whose own is not in the image: older checkpoints have none.
const USUAL: Mode = Mode::from_raw_mode(0o755);

/// The files that a restore has made; removed when it fails.
#[derive(Debug, Default)]
pub(super) struct Files {
    made: Vec<PathBuf>,
    /// The process that made them: only there a failure removes them.
    maker: u32,
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.maker == std::process::id() {
            for path in &self.made {
                let _ = unlinkat(CWD, path, AtFlags::empty());
            }
        }
    }
}

impl Files {
    /// They are the restored tasks' now.
    pub(super) fn keep(&mut self) {
        self.made.clear();
    }

    /// Binds a socket to its entry's name; makes its file, in place of one that no socket is bound to.
    pub(super) fn bind(&mut self, usk: &UnixSkEntry, fd: BorrowedFd<'_>) -> Result<()> {
        let failed = |e: io::Error| {
            let hint = match e.raw_os_error() {
                Some(libc::EADDRINUSE) => "its name is in use: end who uses it",
                Some(libc::ENOENT | libc::ENOTDIR) => "its directory has to be there",
                _ => "",
            };
            Error::os(Phase::Files, named(usk), "bind", e).hint(hint)
        };
        let name = match Name::parse(&usk.name) {
            Ok(Name::Path(name)) => name,
            Ok(Name::Abstract(name)) => return bind_abstract(name, fd).map_err(failed),
            Ok(Name::None) => return Ok(()),
            Err(why) => return Err(Error::new(Phase::Check, named(usk), why)),
        };
        let Some(place) = place(usk, name).filter(|_| !usk.deleted()) else {
            return bind_unseen(name, fd, usk.file_perms.as_ref()).map_err(failed);
        };
        make_room(usk, &place)?;
        let dir = usk.name_dir.as_deref().map(OsStr::from_bytes);
        let path = Path::new(OsStr::from_bytes(name));
        let bound = if path == place {
            with_umask(|| unix::bind(fd, name))
        } else if let Some(dir) = dir.filter(|d| Path::new(d).join(path) == place) {
            apart(|| {
                std::env::set_current_dir(dir)?;
                with_umask(|| unix::bind(fd, name))
            })
        } else {
            bind_beside(name, &place, fd)
        };
        bound.map_err(failed)?;
        self.maker = std::process::id();
        self.made.push(place.clone());
        match &usk.file_perms {
            Some(perms) => own(&place, perms).map_err(failed),
            None => chmodat(CWD, &place, USUAL, AtFlags::empty()).map_err(|e| failed(e.into())),
        }
    }
}

/// Where the file of a socket with a path has to be.
fn place(usk: &UnixSkEntry, name: &[u8]) -> Option<PathBuf> {
    let name = Path::new(OsStr::from_bytes(name));
    match (&usk.file_path, &usk.name_dir) {
        (Some(path), _) => Some(OsStr::from_bytes(path).into()),
        _ if name.is_absolute() => Some(name.to_owned()),
        (None, Some(dir)) => Some(Path::new(OsStr::from_bytes(dir)).join(name)),
        (None, None) => None,
    }
}

/// Removes a socket's file that nobody is bound to any more.
fn make_room(usk: &UnixSkEntry, place: &Path) -> Result<()> {
    let failed = |call: &str, e: io::Error| Error::os(Phase::Files, named(usk), call, e);
    let stat = match lstat(place) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(e) => return Err(failed("stat", e.into())),
    };
    let shown = place.display();
    if stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        let cause = format!("{shown} is there and is no socket");
        return Err(Error::new(Phase::Files, named(usk), cause).hint("remove it"));
    }
    let sockets = unix_sockets().map_err(|e| failed("sock_diag", e))?;
    let name = place.as_os_str().as_bytes();
    let in_use = sockets.values().any(|s| {
        // A file system may show other device numbers than sockets are noted with: then the name decides.
        s.file.is_some_and(|(ino, dev)| {
            let same_name = s.name.as_deref().is_some_and(|n| n.strip_suffix(&[0]).unwrap_or(n) == name);
            ino == stat.st_ino as u32 && (dev == kernel_dev(stat.st_dev) || same_name)
        })
    });
    if in_use {
        let cause = format!("another socket is bound to {shown}");
        return Err(Error::new(Phase::Files, named(usk), cause).hint("end who uses it").errno(libc::EADDRINUSE));
    }
    unlinkat(CWD, place, AtFlags::empty()).map_err(|e| failed("unlink", e.into()))
}

/// The sockets of a dump that were in their own queues, or in those of each other, have their names until the kernel has
/// collected them, some time after the tasks have ended. It does so when a unix socket is closed, anybody's.
fn bind_abstract(name: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_millis(500);
    let end = Instant::now() + PATIENCE;
    loop {
        match unix::bind(fd, name) {
            Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE) && Instant::now() < end => {
                drop(UnixDatagram::unbound()?);
                std::thread::sleep(Duration::from_millis(2));
            }
            done => return done,
        }
    }
}

/// Until they have their owner and mode, files are for nobody.
fn with_umask<T>(f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = rustix::process::umask(Mode::from_raw_mode(0o777));
    let result = f();
    rustix::process::umask(before);
    result
}

fn own(path: &Path, perms: &FilePermsEntry) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(perms.uid), Gid::from_raw(perms.gid));
    chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    // After the owner: chown clears set-id bits.
    chmodat(CWD, path, Mode::from_raw_mode(perms.mode & 0o7777), AtFlags::empty())?;
    Ok(())
}

/// Binds to a name whose file is removed at once, as it was for the socket that is restored.
pub(super) fn bind_unseen(name: &[u8], fd: BorrowedFd<'_>, perms: Option<&FilePermsEntry>) -> io::Result<()> {
    if name.first().is_none_or(|&b| b == 0) {
        return unix::bind(fd, name);
    }
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let root = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    apart(|| {
        bind_below(name, root.as_fd(), fd)?;
        // A sender's name has its final zero with it.
        let path = Path::new(OsStr::from_bytes(name.split(|&b| b == 0).next().unwrap_or_default()));
        // SIOCUNIXFILE still leads to the file.
        if let Some(perms) = perms {
            own(path, perms)?;
        }
        Ok(unlinkat(CWD, path, AtFlags::empty())?)
    })
}

/// Binds in a directory beside `place` and moves the file there: nothing but a move within one directory's file system
/// is sure to work.
fn bind_beside(name: &[u8], place: &Path, fd: BorrowedFd<'_>) -> io::Result<()> {
    let nowhere = || io::Error::from_raw_os_error(libc::ENOENT);
    let parent = place.parent().ok_or_else(nowhere)?;
    let beside = parent.join(format!(".criu-socket.{}.{}", std::process::id(), fd.as_raw_fd()));
    mkdirat(CWD, &beside, Mode::RWXU)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let bound = openat(CWD, &beside, flags, Mode::empty()).map_err(io::Error::from).and_then(|root| {
        apart(|| bind_below(name, root.as_fd(), fd))?;
        let file = OsStr::from_bytes(name.strip_prefix(b"/").unwrap_or(name));
        renameat(&root, within_root(Path::new(file)), CWD, place)?;
        Ok(())
    });
    // Holds nothing but directories that were made for the name.
    let _ = std::fs::remove_dir_all(&beside);
    bound
}

/// In a thread of its own: makes the directories of the name below `root` and binds there.
fn bind_below(name: &[u8], root: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    enter_root(root)?;
    if let Some(dir) = Path::new(OsStr::from_bytes(name)).parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir)?;
    }
    with_umask(|| unix::bind(fd, name))
}

/// A path as it is resolved where nothing is above the root and nothing is a link.
fn within_root(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    plain
}

/// Something to connect to, or to send to, that leads to a bound socket wherever its file is.
#[derive(Debug)]
pub(super) struct Address {
    pub name: Vec<u8>,
    /// The name goes through this descriptor.
    _file: Option<OwnedFd>,
}

impl Address {
    pub(super) fn of(usk: &UnixSkEntry, fd: BorrowedFd<'_>) -> Result<Self> {
        if usk.name.first().is_none_or(|&b| b == 0) {
            return Ok(Address { name: usk.name.clone(), _file: None });
        }
        let file = match unix::file(fd) {
            Ok(file) => file,
            // Without the right to ask, the name has to do.
            Err(e) if e.raw_os_error() == Some(libc::EPERM) && usk.name.starts_with(b"/") => {
                return Ok(Address { name: usk.name.clone(), _file: None });
            }
            Err(e) => {
                let object = format!("{} bound to {}", named(usk), shown(&usk.name));
                return Err(Error::os(Phase::Files, object, "ioctl SIOCUNIXFILE", e));
            }
        };
        Ok(Address { name: format!("/proc/self/fd/{}", file.as_raw_fd()).into_bytes(), _file: Some(file) })
    }
}
