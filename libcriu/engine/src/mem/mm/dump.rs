//! Collects the areas of a task and the fields of its address space.

use std::collections::HashMap;
use std::io;

use criu_images::messages::{AioRingEntry, AreaPolicyEntry, MmEntry, VmaEntry};
use rustix::fs::{OFlags, major, minor};

use crate::error::{Blocker, Error, Phase, Result};
use crate::file::{BE_ROOT_OUTSIDE, DumpFiles, DumpTask, FileId, Link, SocketMapping, UNREACHABLE, UringMapping};
use crate::mem::aio::dump::Contexts;
use crate::mem::pages::{Known, guard_regions};
use crate::mem::shmem::memfd_device;
use crate::mem::vma::{
    AreaKind, END_THEM, UPROBES, breakpoint, classify, entry, flags, huge_page, is_aio_ring, status,
};
use crate::proc::{Area, Names, ProcDir, Stat, are_told, areas_among, areas_of, auxv};
use crate::sys::memory::{RemoteRange, process_vm_readv};

/// Collects address spaces, one after the other.
#[derive(Debug)]
pub struct Collector {
    /// The kernel's own tmpfs, where shared anonymous memory lives.
    shmem_dev: (u32, u32),
    /// The mapped files of all tasks so far.
    mapped: HashMap<MappedFile, Option<FileId>>,
    /// May the links of map_files be followed? As soon as it was tried.
    can_follow: Option<bool>,
}

/// Inode, device and path as this process sees it.
type MappedFile = (u64, (u32, u32), Vec<u8>);

/// An address space as far as it can be seen from outside.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    pub vmas: Vec<VmaEntry>,
    /// Objects of shared memory: one area of each.
    pub shared: Vec<SharedObject>,
    /// The System V segments, as often as each is attached.
    pub segments: Vec<Segment>,
    /// Areas that show rings of packet sockets: which of `vmas`, and the socket's inode.
    sockets: Vec<(usize, u64)>,
    /// The same of io_uring instances.
    urings: Vec<(usize, u64)>,
    /// Those areas that can have a memory policy of their own, by their starts.
    pub bindable: Vec<(u64, u64)>,
    aios: Vec<AioRingEntry>,
    exe: FileId,
    auxv: Vec<u64>,
    stat: Stat,
}

/// A System V segment: its id, and the size of its pages if these are huge.
pub type Segment = (u32, Option<u64>);

/// An object of shared anonymous memory, and an area through which it can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedObject {
    pub shmid: u64,
    pub is_segment: bool,
    pub start: u64,
    pub end: u64,
    /// The size of its pages, if these are huge.
    pub huge_page: Option<u64>,
}

/// What the task alone can tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub brk: u64,
    pub dumpable: i32,
    /// PR_GET_THP_DISABLE: 0, or 1 and flags.
    pub thp_disable: u32,
    /// Bit n: the key n is allocated.
    pub protection_keys: u16,
    /// MCL_* for memory to come; 0 when it is not locked.
    pub mlock_future: u32,
    /// Memory policies of single areas.
    pub policies: Vec<AreaPolicyEntry>,
    /// PR_GET_MEMORY_MERGE
    pub memory_merge: bool,
}

/// What /proc shows of an address space.
#[derive(Debug)]
pub struct Seen {
    areas: Vec<Area>,
    auxv: Vec<u64>,
    /// To be added where there are rings.
    pub contexts: Option<Contexts>,
    /// Its executable, when that is known already.
    pub exe: Option<FileId>,
}

impl Seen {
    /// `pid`: whose it is, in errors. `resident_pages`: as its stat line has them.
    ///
    /// # Errors
    /// Those of reading /proc.
    pub fn of(dir: &ProcDir, pid: i32, resident_pages: u64) -> Result<Seen> {
        let failed = |call: &'static str| move |e| Error::os(Phase::Collect, "memory", call, e).pid(pid);
        Ok(Seen {
            areas: areas_of(dir, resident_pages).map_err(failed("reading smaps"))?,
            auxv: auxv(dir).map_err(failed("reading auxv"))?,
            contexts: None,
            exe: None,
        })
    }

    /// Of a process that has the same auxiliary vector as another.
    ///
    /// # Errors
    /// As above.
    pub fn like(other: &Seen, dir: &ProcDir, pid: i32, resident_pages: u64, names: &Names) -> Result<Seen> {
        let failed = |e| Error::os(Phase::Collect, "memory", "reading smaps", e).pid(pid);
        let areas = areas_among(dir, resident_pages, names).map_err(failed)?;
        Ok(Seen { areas, auxv: other.auxv.clone(), contexts: None, exe: None })
    }

    /// Do the kernel's records, if they can be read, tell the same of the areas?
    pub fn is_told(&self, dir: &ProcDir, names: &Names) -> bool {
        are_told(dir, &self.areas, names)
    }

    pub fn has_aio_rings(&self) -> bool {
        self.areas.iter().any(is_aio_ring)
    }
}

impl Collector {
    /// # Errors
    /// Those of memfd_create(2).
    pub fn new() -> io::Result<Collector> {
        let dev = memfd_device()?;
        Ok(Collector { shmem_dev: (major(dev), minor(dev)), mapped: HashMap::new(), can_follow: None })
    }

    /// Collects the address space of a task and the files that are mapped in it; only reads.
    ///
    /// # Errors
    /// Those of reading /proc.
    pub fn collect(
        &mut self,
        task: &DumpTask<'_>,
        dir: &ProcDir,
        seen: Seen,
        stat: &Stat,
        files: &mut DumpFiles,
        blockers: &mut Vec<Blocker>,
    ) -> Result<Collected> {
        let failed = |call: &str, e| Error::os(Phase::Collect, "memory", call, e).pid(task.pid);
        let Seen { areas: list, auxv, contexts, exe } = seen;
        let mut mm = Collected {
            vmas: Vec::with_capacity(list.len()),
            exe: match exe {
                Some(exe) => exe,
                None => files.collect_link(task, Link::Exe, blockers)?.unwrap_or(0),
            },
            auxv,
            stat: stat.clone(),
            ..Collected::default()
        };
        for area in &list {
            let kind = match classify(area, self.shmem_dev) {
                Ok(kind) => kind,
                Err((cause, hint)) => {
                    blockers.push(Blocker::new(task.pid, describe(area), cause).hint(hint));
                    continue;
                }
            };
            let file = match kind {
                AreaKind::File { .. } => {
                    let key = (area.inode, area.dev, area.name.clone());
                    let id = match self.mapped.get(&key) {
                        Some(id) => *id,
                        None => {
                            let Area { start, end, dev, inode, .. } = *area;
                            let link = Link::Mapped { start, end, dev, inode };
                            let id = files.collect_link(task, link, blockers)?;
                            self.mapped.insert(key, id);
                            id
                        }
                    };
                    let access = area.access.map_or_else(|| area.access_by(dir), Ok);
                    let access = access.map_err(|e| failed("lstat of map_files", e))?;
                    // A seal (F_SEAL_FUTURE_WRITE) keeps what was mapped since from ever being written to.
                    let is_sealed = area.shared && !area.has(b"mw");
                    let access = if is_sealed { libc::O_RDONLY as u32 } else { access };
                    if let Some(id) = id.filter(|_| area.shared) {
                        files.note_shared_mapping(id);
                    }
                    // A file that was refused has its own blocker.
                    id.map(|id| (id, access))
                }
                _ => None,
            };
            if area.has_own_code
                && let Some(at) = breakpoint::find(dir, area).map_err(|e| failed("looking for uprobes", e))?
            {
                let object = format!("instruction at {at:#x} ({})", String::from_utf8_lossy(&area.name));
                blockers.push(Blocker::new(task.pid, object, UPROBES).hint(END_THEM));
            }
            if matches!(kind, AreaKind::SharedAnonymous { .. } | AreaKind::SysV { .. }) && !self.can_follow(dir, area) {
                blockers.push(Blocker::new(task.pid, describe(area), UNREACHABLE).hint(BE_ROOT_OUTSIDE));
            }
            if kind == AreaKind::AioRing {
                let unknown = || Err(("its context was not looked for".into(), ""));
                match contexts.as_ref().map_or_else(unknown, |c| c.entry(dir.id(), area)) {
                    Ok(ring) => mm.aios.push(ring),
                    Err((cause, hint)) => blockers.push(Blocker::new(task.pid, describe(area), cause).hint(hint)),
                }
            }
            mm.add(area, kind, file);
            // That of old system calls is the kernel's, and nobody's to bind.
            if area.may_have_policy && kind != AreaKind::Vsyscall {
                mm.bindable.push((area.start, area.end));
            }
            if area.has(b"gu") {
                mm.add_guards(guard_regions(dir, area.start, area.end).map_err(|e| failed("PAGEMAP_SCAN", e))?);
            }
        }
        Ok(mm)
    }
}

impl Collector {
    fn can_follow(&mut self, dir: &ProcDir, area: &Area) -> bool {
        *self.can_follow.get_or_insert_with(|| {
            let opened = dir.open_at(&format!("map_files/{:x}-{:x}", area.start, area.end), OFlags::PATH);
            opened.err().and_then(|e| e.raw_os_error()) != Some(libc::EPERM)
        })
    }
}

fn describe(area: &Area) -> String {
    let range = format!("mapping {:#x}-{:#x}", area.start, area.end);
    if area.name.is_empty() { range } else { format!("{range} ({})", String::from_utf8_lossy(&area.name)) }
}

impl Collected {
    pub fn exe(&self) -> FileId {
        self.exe
    }

    /// Names the sockets whose rings are mapped, when all descriptors are known. `id_of`: what can be mapped of one, by inode.
    pub fn resolve_sockets(&mut self, pid: i32, id_of: impl Fn(u64) -> SocketMapping, blockers: &mut Vec<Blocker>) {
        for (at, inode) in std::mem::take(&mut self.sockets) {
            let Some(v) = self.vmas.get_mut(at) else { continue };
            let cause = match id_of(inode) {
                SocketMapping::Rings(id, bytes) if v.end - v.start == bytes && v.pgoff == 0 => {
                    v.shmid = u64::from(id);
                    continue;
                }
                SocketMapping::Rings(..) => "a part of the rings of a packet socket is mapped; this cannot be saved",
                SocketMapping::Tcp => "a TCP socket is mapped (for TCP_ZEROCOPY_RECEIVE); this cannot be saved",
                SocketMapping::Unknown => {
                    "a socket that is not open any more, or was refused, is mapped; this cannot be saved"
                }
            };
            let object = format!("mapping {:#x}-{:#x} (socket:[{inode}])", v.start, v.end);
            blockers.push(Blocker::new(pid, object, cause).hint("unmap it before the dump"));
        }
    }

    /// Names the io_uring instances that are mapped, when all descriptors are known, and returns them, as often as each is. `id_of`: the id of one that the process has,
    /// and how much of it can be mapped from where, by inode.
    pub fn resolve_urings(
        &mut self,
        pid: i32,
        id_of: impl Fn(u64) -> UringMapping,
        blockers: &mut Vec<Blocker>,
    ) -> Vec<FileId> {
        let mut mapped = Vec::new();
        for (at, inode) in std::mem::take(&mut self.urings) {
            let Some(v) = self.vmas.get_mut(at) else { continue };
            let cause = match id_of(inode) {
                UringMapping::Refused => continue,
                UringMapping::Of(id, parts) => {
                    mapped.push(id);
                    let is_within = |part: &(u64, u64)| part.0 == v.pgoff && v.end - v.start <= part.1;
                    if parts.iter().any(is_within) && v.protection_key.is_none() {
                        v.shmid = u64::from(id);
                        continue;
                    }
                    "a part of an io_uring instance is mapped, or under a protection key; this cannot be saved"
                }
                UringMapping::Unknown => "an io_uring instance that this process has no descriptor of is mapped",
            };
            let object = format!("mapping {:#x}-{:#x} (io_uring ino {inode})", v.start, v.end);
            blockers.push(Blocker::new(pid, object, cause).hint("unmap it before the dump"));
        }
        mapped
    }

    fn add(&mut self, area: &Area, kind: AreaKind, file: Option<(FileId, u32)>) {
        let new = entry(area, kind, file);
        if let AreaKind::Socket { inode } = kind {
            self.sockets.push((self.vmas.len(), inode));
        }
        if let AreaKind::Uring { inode } = kind {
            self.urings.push((self.vmas.len(), inode));
        }
        if let AreaKind::SysV { id } = kind {
            self.segments.push((id, huge_page(area)));
        }
        let object = match kind {
            AreaKind::SharedAnonymous { inode } => Some((inode, false)),
            AreaKind::SysV { id } => Some((u64::from(id), true)),
            _ => None,
        };
        if let Some((shmid, is_segment)) = object
            && !self.shared.iter().any(|s| (s.shmid, s.is_segment) == (shmid, is_segment))
        {
            let huge_page = huge_page(area);
            self.shared.push(SharedObject { shmid, is_segment, start: area.start, end: area.end, huge_page });
        }
        match self.vmas.last_mut() {
            // The pages of the time namespace's clock follow those of vvar.
            Some(last) if kind == AreaKind::Vvar && last.status & status::VVAR != 0 && last.end == new.start => {
                last.end = new.end;
            }
            _ => self.vmas.push(new),
        }
    }

    fn add_guards(&mut self, regions: Vec<(u64, u64)>) {
        let guard =
            VmaEntry { flags: flags::PRIVATE | flags::ANONYMOUS, status: status::GUARD, fd: -1, ..VmaEntry::default() };
        self.vmas.extend(regions.into_iter().map(|(start, end)| VmaEntry { start, end, ..guard }));
    }

    /// The rings of the standing task, through the thread `tid` of it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn rings(&self, tid: i32) -> io::Result<Vec<Known>> {
        let read = |ring: &AioRingEntry| {
            let mut bytes = vec![0; ring.ring_len as usize];
            let range = RemoteRange { start: ring.id, len: bytes.len() };
            match process_vm_readv(tid, &[range], &mut bytes)? {
                n if n == bytes.len() => Ok(Known { address: ring.id, bytes }),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        self.aios.iter().map(read).collect()
    }

    /// The image of the address space.
    pub fn entry(&self, facts: &Facts) -> MmEntry {
        let s = &self.stat;
        MmEntry {
            mm_start_code: s.start_code,
            mm_end_code: s.end_code,
            mm_start_data: s.start_data,
            mm_end_data: s.end_data,
            mm_start_stack: s.start_stack,
            mm_start_brk: s.start_brk,
            mm_brk: facts.brk,
            mm_arg_start: s.arg_start,
            mm_arg_end: s.arg_end,
            mm_env_start: s.env_start,
            mm_env_end: s.env_end,
            exe_file_id: self.exe,
            mm_saved_auxv: self.auxv.clone(),
            vmas: self.vmas.iter().map(|v| without_kernels_key(v, facts.protection_keys)).collect(),
            dumpable: Some(facts.dumpable),
            aios: self.aios.clone(),
            thp_disabled: Some(facts.thp_disable != 0),
            thp_disable: (facts.thp_disable > 1).then_some(facts.thp_disable),
            protection_keys: (facts.protection_keys != 0).then_some(facts.protection_keys.into()),
            mlock_future: (facts.mlock_future != 0).then_some(facts.mlock_future),
            policies: facts.policies.clone(),
            memory_merge: facts.memory_merge.then_some(true),
        }
    }
}

/// The kernel gives an area that can only be executed a key of its own choice, and will do so again.
fn without_kernels_key(v: &VmaEntry, allocated: u16) -> VmaEntry {
    let is_kernels = |key: u32| v.prot == libc::PROT_EXEC as u32 && allocated >> (key & 15) & 1 == 0;
    VmaEntry { protection_key: v.protection_key.filter(|key| !is_kernels(*key)), ..*v }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_areas() {
        let area = |prot, key| VmaEntry { prot, protection_key: Some(key), ..VmaEntry::default() };
        assert_eq!(without_kernels_key(&area(4, 3), 1 << 2).protection_key, None);
        assert_eq!(without_kernels_key(&area(4, 3), 1 << 3).protection_key, Some(3));
        assert_eq!(without_kernels_key(&area(1, 3), 0).protection_key, Some(3));
    }
}
