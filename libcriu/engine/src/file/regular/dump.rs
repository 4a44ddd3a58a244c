//! Regular files and their like: the entry.

use std::os::fd::AsFd;

use criu_images::messages::{FdTypes, FileEntry, RegFileEntry};
use rustix::fs::{major, minor};

use super::build_id::build_id;
use crate::error::Result;
use crate::file::FileId;
use crate::file::collect::{Collected, image_path};
use crate::file::ghost::reopen;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::path::{Place, place, shown};
use crate::file::seen::Seen;

#[derive(Debug, Default)]
pub(crate) struct Regular;

impl DumpKind for Regular {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        match seen.file_type() {
            libc::S_IFREG | libc::S_IFDIR | libc::S_IFCHR | libc::S_IFBLK => seen.link.starts_with(b"/"),
            _ => seen.is_o_path() && seen.link.starts_with(b"/"),
        }
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        if !seen.is_o_path() {
            check_device(seen)?;
        }
        let reg = entry(seen, id, common)?;
        Ok(FileEntry { r#type: FdTypes::Reg as i32, id, reg: Some(reg), ..FileEntry::default() })
    }
}

/// The entry of whatever `seen`'s path leads to; makes it a ghost when the name is gone.
pub(crate) fn entry(seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<RegFileEntry, Unsaved> {
    let name = match place(&seen.link, &seen.stat) {
        Place::Here(name) => name,
        Place::Gone(name) => {
            common.ghosts.remap(seen, id, &name, &common.opts)?;
            name
        }
        Place::Other(name) => {
            let cause = format!("another file is at {} now: it was replaced or mounted over", shown(&name));
            return Err(Unsaved::because(cause).hint("put the file back at its path"));
        }
        Place::Unreachable(name) => {
            return Err(Unsaved::because(format!("{} is no path that leads to it", shown(&name)))
                .hint("dump inside its mount namespace"));
        }
    };
    let regular = seen.file_type() == libc::S_IFREG;
    Ok(RegFileEntry {
        id,
        flags: seen.info.flags,
        pos: seen.info.pos,
        fown: seen.fown,
        name: image_path(&name)?,
        size: regular.then_some(seen.stat.st_size as u64),
        mode: Some(seen.stat.st_mode),
        build_id: if regular && seen.fd < 0 {
            reopen(seen).map(|f| build_id(f.as_fd())).unwrap_or_default()
        } else {
            vec![]
        },
        ..RegFileEntry::default()
    })
}

/// Devices whose open descriptors have no state: opening the node again is all there is to it.
fn check_device(seen: &Seen<'_>) -> Result<(), Unsaved> {
    let (major, minor) = (major(seen.stat.st_rdev), minor(seen.stat.st_rdev));
    let stateless = match seen.file_type() {
        // null, port, zero, full, random, urandom, kmsg, mem; hwrng
        libc::S_IFCHR => matches!((major, minor), (1, 1 | 3 | 4 | 5 | 7 | 8 | 9 | 11) | (10, 183)),
        libc::S_IFBLK => false,
        _ => true,
    };
    if stateless {
        return Ok(());
    }
    let what = if seen.file_type() == libc::S_IFBLK { "block" } else { "character" };
    Err(Unsaved::because(format!("a {what} device ({major}:{minor}) whose state in the driver cannot be saved"))
        .hint("close it before the dump"))
}
