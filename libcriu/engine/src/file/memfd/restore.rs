//! memfd: inodes are made and filled in the coordinator; descriptions are opened through /proc/self/fd.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use criu_images::messages::{FdTypes, FileEntry, MemfdFileEntry, MemfdInodeEntry};
use criu_images::{ImageDir, Kind};
use rustix::fs::{
    CWD, Gid, MemfdFlags, Mode, OFlags, SealFlags, SeekFrom, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown,
    fcntl_add_seals, fsetxattr, ftruncate, futimens, memfd_create, openat, seek,
};

use super::{MFD_HUGETLB, NS_PER_S};
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::{Plan, loading};
use crate::file::object::Object;
use crate::mem::{huge, shmem};

const OPEN_FLAGS: u32 =
    (libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK | libc::O_NOATIME | libc::O_DIRECT) as u32 | 0o100_000;

#[derive(Debug, Default)]
pub(crate) struct Memfds {
    inodes: HashMap<u64, MemfdInodeEntry>,
    made: HashMap<u64, OwnedFd>,
    /// Inodes that are sealed when all has been mapped, with their seals.
    unsealed: Vec<(String, OwnedFd, SealFlags)>,
}

impl RestoreKind for Memfds {
    fn load(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        let wrong = |inode: &MemfdInodeEntry, why: String| Err(Error::new(Phase::Check, shown(inode), why));
        for inode in images.read_all::<MemfdInodeEntry>(Kind::MemfdInode, 0).map_err(loading)? {
            if inode.huge_page() == Some(None) {
                return wrong(&inode, format!("no pages have the size in {:#x}", inode.hugetlb_flag()));
            }
            if inode.size > i64::MAX as u64 {
                return wrong(&inode, format!("{} is no size of a file", inode.size));
            }
            self.inodes.insert(inode.inode_id, inode);
        }
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Memfd) {
            let inode = body(entry, entry.memfd.as_ref())?.inode_id;
            if !self.inodes.contains_key(&u64::from(inode)) {
                return Err(Error::new(
                    Phase::Check,
                    format!("file {}", entry.id),
                    format!("memfd.img has no inode {inode}"),
                ));
            }
        }
        Ok(())
    }

    fn prepare(&mut self, plan: &mut Plan) -> Result<()> {
        let used = plan.entries.values().filter_map(|e| e.memfd.as_ref()).map(|m| u64::from(m.inode_id));
        for id in used.collect::<HashSet<_>>() {
            if let Some(inode) = self.inodes.get(&id) {
                let fd = make(&plan.images, inode)?;
                let seals = SealFlags::from_bits_retain(inode.seals);
                if seals.contains(SealFlags::FUTURE_WRITE) {
                    let again = fd.try_clone().map_err(|e| Error::os(Phase::Files, shown(inode), "dup", e))?;
                    self.unsealed.push((shown(inode), again, seals));
                } else {
                    seal(&shown(inode), &fd, seals)?;
                }
                self.made.insert(id, fd);
            }
        }
        Ok(())
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let open = |entry: &FileEntry| {
            let memfd = body(entry, entry.memfd.as_ref())?;
            let fd = self.reopen(memfd, memfd.flags)?;
            if memfd.pos != 0 {
                let object = || format!("file {} (memfd)", entry.id);
                seek(&fd, SeekFrom::Start(memfd.pos)).map_err(|e| Error::os(Phase::Files, object(), "lseek", e))?;
            }
            Ok(fd)
        };
        members.iter().map(|m| open(m)).collect()
    }

    fn open_again(&mut self, _plan: &mut Plan, entry: &FileEntry, flags: u32) -> Result<OwnedFd> {
        self.reopen(body(entry, entry.memfd.as_ref())?, flags)
    }

    fn hand_over(&mut self) {
        self.made.clear();
    }

    fn resume(&self, _plan: &Plan) -> Result<()> {
        self.unsealed.iter().try_for_each(|(name, fd, seals)| seal(name, fd, *seals))
    }

    fn close(&mut self) {
        self.made.clear();
        self.unsealed.clear();
    }
}

impl Memfds {
    fn reopen(&self, memfd: &MemfdFileEntry, flags: u32) -> Result<OwnedFd> {
        let object = || format!("file {} (memfd)", memfd.id);
        let made = self.made.get(&u64::from(memfd.inode_id));
        let made = made.ok_or_else(|| Error::new(Phase::Files, object(), "its inode was not made"))?;
        let flags = OFlags::from_bits_retain(flags & OPEN_FLAGS) | OFlags::CLOEXEC;
        openat(CWD, format!("/proc/self/fd/{}", made.as_raw_fd()), flags, Mode::empty())
            .map_err(|e| Error::os(Phase::Files, object(), "open", e))
    }
}

/// What the image says of an inode's pages.
pub(crate) trait HugePages {
    /// The size of its pages if these are huge; the inner `None` when no pages have such a size.
    fn huge_page(&self) -> Option<Option<u64>>;
}

impl HugePages for MemfdInodeEntry {
    fn huge_page(&self) -> Option<Option<u64>> {
        self.hugetlb_flag.filter(|f| *f != 0).map(huge::size_in)
    }
}

pub(crate) fn shown(inode: &MemfdInodeEntry) -> String {
    format!("memfd {}", crate::file::path::shown(&inode.name))
}

fn make(images: &ImageDir, inode: &MemfdInodeEntry) -> Result<OwnedFd> {
    let failed = |call: &str, e: rustix::io::Errno| Error::os(Phase::Files, shown(inode), call, e);
    let huge_page = inode.huge_page().flatten();
    let size_flags = huge_page.map_or(0, |page_bytes| MFD_HUGETLB | huge::size_flags(page_bytes));
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::from_bits_retain(size_flags);
    let fd = memfd_create(&*inode.name, flags).map_err(|e| failed("memfd_create", e))?;
    ftruncate(&fd, inode.size).map_err(|e| failed("ftruncate", e))?;
    let shmid = u64::from(inode.shmid);
    match huge_page {
        Some(_) => huge::fill(images, shmid, fd.as_fd(), inode.size)?,
        None => shmem::fill(images, shmid, fd.as_fd(), inode.size)?,
    }
    fchown(&fd, Some(Uid::from_raw(inode.uid)), Some(Gid::from_raw(inode.gid))).map_err(|e| failed("fchown", e))?;
    if let Some(mode) = inode.mode {
        fchmod(&fd, Mode::from_raw_mode(mode & 0o7777)).map_err(|e| failed("fchmod", e))?;
    }
    for attribute in &inode.xattrs {
        fsetxattr(&fd, &*attribute.name, &attribute.value, XattrFlags::empty()).map_err(|e| failed("fsetxattr", e))?;
    }
    if let (Some(atim), Some(mtim)) = (inode.atim_ns, inode.mtim_ns) {
        let times = Timestamps { last_access: timespec(atim), last_modification: timespec(mtim) };
        futimens(&fd, &times).map_err(|e| failed("futimens", e))?;
    }
    Ok(fd)
}

fn timespec(ns: i64) -> Timespec {
    Timespec { tv_sec: ns.div_euclid(NS_PER_S), tv_nsec: ns.rem_euclid(NS_PER_S) }
}

fn seal(name: &str, fd: &OwnedFd, seals: SealFlags) -> Result<()> {
    if seals.is_empty() {
        return Ok(());
    }
    fcntl_add_seals(fd, seals).map_err(|e| Error::os(Phase::Files, name, "fcntl F_ADD_SEALS", e))
}
