//! Names of unix sockets, and the files that go with paths.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, CWD, Stat, fstat, readlinkat, statat};

use crate::sys::unix;

/// `sun_path` has so many bytes; the kernel adds a zero to a path that fills it.
const MAX_BYTES: usize = 108;

/// A name, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    None,
    /// With the zero byte it starts with.
    Abstract(&'a [u8]),
    /// Without the zero byte it ends with.
    Path(&'a [u8]),
}

impl<'a> Name<'a> {
    /// The text says why it is none.
    pub(super) fn parse(name: &'a [u8]) -> Result<Self, &'static str> {
        match name {
            [] => Ok(Name::None),
            [0, ..] if name.len() <= MAX_BYTES => Ok(Name::Abstract(name)),
            [0, ..] => Err("its name is too long"),
            path => {
                let path = path.strip_suffix(&[0]).unwrap_or(path);
                match path {
                    _ if path.len() > MAX_BYTES => Err("its name is too long"),
                    _ if path.contains(&0) => Err("its name has a zero byte in it"),
                    _ => Ok(Name::Path(path)),
                }
            }
        }
    }
}

/// A name for messages.
pub(super) fn shown(name: &[u8]) -> String {
    match name {
        [0, rest @ ..] => format!("@{}", String::from_utf8_lossy(rest)),
        path => String::from_utf8_lossy(path.strip_suffix(&[0]).unwrap_or(path)).into_owned(),
    }
}

/// The file of a socket that is bound to a path.
#[derive(Debug)]
pub(super) struct SocketFile {
    /// Where it is now, or was.
    pub path: Vec<u8>,
    pub deleted: bool,
    pub stat: Stat,
}

const DELETED: &[u8] = b" (deleted)";

impl SocketFile {
    pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let file = unix::file(socket)?;
        let stat = fstat(&file)?;
        let mut path = readlinkat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new())?.into_bytes();
        let here = |path: &[u8]| {
            statat(CWD, OsStr::from_bytes(path), AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|s| (s.st_dev, s.st_ino) == (stat.st_dev, stat.st_ino))
        };
        let deleted = !here(&path) && path.ends_with(DELETED);
        if deleted {
            path.truncate(path.len() - DELETED.len());
        }
        Ok(SocketFile { path, deleted, stat })
    }

    /// Whether its path, as the engine sees it, leads to it.
    pub(super) fn is_reachable(&self) -> bool {
        statat(CWD, OsStr::from_bytes(&self.path), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|s| (s.st_dev, s.st_ino) == (self.stat.st_dev, self.stat.st_ino))
    }
}

/// The directory in which a relative name was bound, when the path of the file shows it.
pub(super) fn directory(name: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    if name.starts_with(b"/") {
        return None;
    }
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let dir = path.strip_suffix(name)?.strip_suffix(b"/")?;
    Some(if dir.is_empty() { b"/".to_vec() } else { dir.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Name::parse(b"/run/x\0"), Ok(Name::Path(b"/run/x")));
        assert_eq!(Name::parse(b"\0a\0b"), Ok(Name::Abstract(b"\0a\0b")));
        assert!(Name::parse(b"/run\0/x").is_err());
        assert!(Name::parse(&[b'x'; 110]).is_err());
        assert_eq!(directory(b"./s", b"/d/s"), Some(b"/d".to_vec()));
        assert_eq!(directory(b"s", b"/s"), Some(b"/".to_vec()));
        assert_eq!(directory(b"s", b"/d/xs"), None);
        assert_eq!(directory(b"/d/s", b"/d/s"), None);
    }
}
