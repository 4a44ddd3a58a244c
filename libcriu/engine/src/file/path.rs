//! Paths as /proc links show them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, CWD, Stat, statat};

const DELETED: &[u8] = b" (deleted)";

/// Where a file is, judged by its link and its inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The path leads to this very inode.
    Here(Vec<u8>),
    /// The name is gone; what it was.
    Gone(Vec<u8>),
    /// The path leads to something else: replaced, or mounted over.
    Other(Vec<u8>),
    /// Nothing is at its path though it was not unlinked: a mount hides it, or its process is gone.
    Hidden(Vec<u8>),
    /// Not reachable from the root directory of the engine.
    Unreachable(Vec<u8>),
}

/// Finds out whether the path in `link` still leads to the inode of `stat`.
pub(crate) fn place(link: &[u8], stat: &Stat) -> Place {
    if !link.starts_with(b"/") {
        return Place::Unreachable(link.to_vec());
    }
    // A file may really be called "x (deleted)"; what the path leads to decides.
    if let Ok(there) = lstat(link) {
        if same(&there, stat) {
            return Place::Here(link.to_vec());
        }
        if !link.ends_with(DELETED) {
            return Place::Other(link.to_vec());
        }
    }
    match link.strip_suffix(DELETED) {
        Some(name) => Place::Gone(name.to_vec()),
        None => Place::Hidden(link.to_vec()),
    }
}

pub(crate) fn lstat(path: &[u8]) -> rustix::io::Result<Stat> {
    statat(CWD, OsStr::from_bytes(path), AtFlags::SYMLINK_NOFOLLOW)
}

pub(crate) fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// A path for messages.
pub(crate) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_end_in_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("x (deleted)");
        std::fs::write(&odd, "").unwrap();
        let odd = odd.as_os_str().as_bytes();
        let stat = lstat(odd).unwrap();
        assert_eq!(place(odd, &stat), Place::Here(odd.to_vec()));
        let plain = odd.strip_suffix(DELETED).unwrap();
        std::fs::rename(OsStr::from_bytes(odd), OsStr::from_bytes(plain)).unwrap();
        assert_eq!(place(odd, &stat), Place::Gone(plain.to_vec()));
        std::fs::write(OsStr::from_bytes(odd), "").unwrap();
        assert_eq!(place(plain, &lstat(odd).unwrap()), Place::Other(plain.to_vec()));
    }
}
