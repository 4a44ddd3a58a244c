//! memfd: inodes, seals, and contents through `mem::shmem`.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::{FdTypes, FileEntry, MemfdFileEntry, MemfdInodeEntry};
use criu_images::{ImageDir, Kind};
use rustix::fs::fcntl_get_seals;

use super::{MFD_HUGETLB, NS_PER_S};
use crate::error::Result;
use crate::file::FileId;
use crate::file::collect::{Collected, saving};
use crate::file::ghost::{attributes, reopen};
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;
use crate::mem::pages::PagesIds;
use crate::mem::{huge, shmem};

const MEMFD: &[u8] = b"/memfd:";
const DELETED: &[u8] = b" (deleted)";

#[derive(Debug)]
pub(crate) struct Memfds {
    /// Device of the kernel's own tmpfs.
    dev: Option<u64>,
    inodes: Vec<Inode>,
    by_inode: HashMap<(u64, u64), u64>,
}

#[derive(Debug)]
struct Inode {
    entry: MemfdInodeEntry,
    file: OwnedFd,
    /// The size of its pages, if these are huge.
    huge_page: Option<u64>,
}

impl Default for Memfds {
    fn default() -> Self {
        Memfds { dev: shmem::memfd_device().ok(), inodes: Vec::new(), by_inode: HashMap::new() }
    }
}

impl DumpKind for Memfds {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        let named = seen.link.starts_with(MEMFD) || seen.link == b"/dev/zero (deleted)";
        named
            && seen.file_type() == libc::S_IFREG
            && (Some(seen.stat.st_dev) == self.dev || seen.link.starts_with(MEMFD))
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let huge_page = huge::page_bytes_of(seen.stat.st_dev);
        if Some(seen.stat.st_dev) != self.dev && huge_page.is_none() {
            return Err(Unsaved::because("a memfd on an unknown device cannot be saved"));
        }
        let key = (seen.stat.st_dev, seen.stat.st_ino);
        let inode_id = match self.by_inode.get(&key) {
            Some(&inode) => inode,
            None => {
                let inode = self.add(seen, huge_page)?;
                self.by_inode.insert(key, inode);
                inode
            }
        };
        let memfd = MemfdFileEntry {
            id,
            flags: seen.info.flags,
            pos: seen.info.pos,
            fown: seen.fown,
            inode_id: inode_id as u32,
        };
        Ok(FileEntry { r#type: FdTypes::Memfd as i32, id, memfd: Some(memfd.into()), ..FileEntry::default() })
    }

    fn save(&mut self, _common: &Collected, images: &ImageDir, ids: &mut PagesIds) -> Result<()> {
        if self.inodes.is_empty() {
            return Ok(());
        }
        let mut image = images.create(Kind::MemfdInode, 0).map_err(saving)?;
        for Inode { entry, file, huge_page } in &mut self.inodes {
            // Objects of other kinds are numbered by others.
            while !ids.claim_shared(entry.shmid.into()) {
                entry.shmid = entry.shmid.wrapping_add(1);
            }
            image.entry(entry).map_err(saving)?;
            let (shmid, size) = (u64::from(entry.shmid), entry.size);
            shmem::dump(images, shmid, file.as_fd(), (size, *huge_page), ids, &mut || Ok(()))?;
        }
        image.finish().map_err(saving)
    }
}

fn nanoseconds(seconds: i64, rest: u64) -> i64 {
    seconds.saturating_mul(NS_PER_S).saturating_add_unsigned(rest)
}

impl Memfds {
    fn add(&mut self, seen: &Seen<'_>, huge_page: Option<u64>) -> Result<u64, Unsaved> {
        let name = seen.link.strip_suffix(DELETED).unwrap_or(&seen.link);
        let name = name.strip_prefix(MEMFD).unwrap_or(name).to_vec();
        let file = reopen(seen).map_err(|e| Unsaved::os(seen, "open", e))?;
        let seals = fcntl_get_seals(&file).map_err(|e| Unsaved::os(seen, "fcntl F_GET_SEALS", e))?;
        let inode_id = self.inodes.len() as u64 + 1;
        let entry = MemfdInodeEntry {
            name,
            uid: seen.stat.st_uid,
            gid: seen.stat.st_gid,
            size: seen.stat.st_size as u64,
            // Unless another object has the number.
            shmid: seen.stat.st_ino as u32,
            seals: seals.bits(),
            inode_id,
            hugetlb_flag: huge_page.map(|bytes| MFD_HUGETLB | huge::size_flags(bytes)),
            mode: Some(seen.stat.st_mode),
            xattrs: if huge_page.is_none() { attributes(seen)? } else { Vec::new() },
            atim_ns: Some(nanoseconds(seen.stat.st_atime, seen.stat.st_atime_nsec)),
            mtim_ns: Some(nanoseconds(seen.stat.st_mtime, seen.stat.st_mtime_nsec)),
        };
        self.inodes.push(Inode { entry, file, huge_page });
        Ok(inode_id)
    }
}
