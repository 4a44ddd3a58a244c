//! One task: everything that its entry in the tree says is there, and agrees.

use std::collections::BTreeSet;

use criu_images::messages::{CoreEntry, FdinfoEntry, FsEntry, MmEntry, PstreeEntry, TaskKobjIdsEntry, VmaEntry};
use criu_images::{Kind, PAGE_BYTES, Pagemap};

use super::Findings;

const ALIVE: u32 = 1;
const STOPPED: u32 = 3;
const FILE_BITS: u32 = 1 << 6 | 1 << 7;

impl Findings {
    pub(super) fn task(&mut self, entry: &PstreeEntry) {
        let pid = u64::from(entry.pid);
        let core = self.dir.read_one::<CoreEntry>(Kind::Core, pid);
        let Some(core) = self.read(core) else { return };
        self.needs_of(&core);
        let Some(tc) = &core.tc else {
            return self.problem(format_args!("core-{pid}.img: the facts of a process (tc) are missing"));
        };
        if !matches!(tc.task_state, ALIVE | STOPPED) {
            return;
        }
        for &tid in entry.threads.iter().filter(|&&t| t != entry.pid) {
            let thread = self.dir.read_one::<CoreEntry>(Kind::Core, u64::from(tid));
            if let Some(thread) = self.read(thread) {
                self.needs_of(&thread);
            }
        }
        let ids = match core.ids {
            Some(ids) => Some(ids),
            None => {
                let ids = self.dir.read_one::<TaskKobjIdsEntry>(Kind::Ids, pid);
                self.read(ids)
            }
        };
        if let Some(ids) = ids {
            self.descriptors(u64::from(ids.files_id));
        }
        let fs = self.dir.read_one::<FsEntry>(Kind::Fs, pid);
        if let Some(fs) = self.read(fs) {
            for (what, id) in [("cwd", fs.cwd_id), ("root", fs.root_id)] {
                self.file(&format!("fs-{pid}.img: {what}"), id);
            }
        }
        let mm = self.dir.read_one::<MmEntry>(Kind::Mm, pid);
        if let Some(mm) = self.read(mm) {
            self.memory(pid, &mm);
        }
    }

    fn file(&mut self, place: &str, id: u32) {
        if !self.files.contains_key(&id) {
            self.problem(format_args!("{place}: file {id} is not in files.img"));
        }
    }

    fn descriptors(&mut self, files_id: u64) {
        let image = Kind::Fdinfo.file_name(files_id);
        let fds = self.dir.read_all::<FdinfoEntry>(Kind::Fdinfo, files_id);
        let mut seen = BTreeSet::new();
        for fd in self.read(fds).unwrap_or_default() {
            if !seen.insert(fd.fd) {
                self.problem(format_args!("{image}: fd {} is given twice", fd.fd));
            }
            let place = format!("{image}: fd {}", fd.fd);
            self.file(&place, fd.id);
            let kind = self.files.get(&fd.id).map(|f| f.r#type);
            if kind.is_some_and(|k| k != fd.r#type) {
                self.problem(format_args!("{place}: its type is not that of file {}", fd.id));
            }
        }
    }

    fn memory(&mut self, pid: u64, mm: &MmEntry) {
        let image = Kind::Mm.file_name(pid);
        self.file(&format!("{image}: executable"), mm.exe_file_id);
        let mut end = 0;
        for vma in &mm.vmas {
            if vma.start < end || vma.end <= vma.start || (vma.start | vma.end) % PAGE_BYTES != 0 {
                self.problem(format_args!("{image}: area {:#x}-{:#x} is out of order", vma.start, vma.end));
            }
            end = vma.end;
            if vma.status & FILE_BITS != 0 {
                let id = u32::try_from(vma.shmid).unwrap_or(u32::MAX);
                self.file(&format!("{image}: area {:#x}", vma.start), id);
            }
        }
        let pagemap = self.dir.pagemap(Kind::Pagemap, pid);
        match self.read(pagemap) {
            Some(Some(pagemap)) => self.pages(&Kind::Pagemap.file_name(pid), &pagemap, &mm.vmas),
            Some(None) => self.problem(format_args!("{}: missing", Kind::Pagemap.file_name(pid))),
            None => {}
        }
    }

    /// Pages lie in areas, and the page file holds exactly those that are said to be in it.
    fn pages(&mut self, image: &str, pagemap: &Pagemap, vmas: &[VmaEntry]) {
        for record in &pagemap.records {
            let (mut at, end) = (record.vaddr, record.vaddr + record.page_count() * PAGE_BYTES);
            for vma in &vmas[vmas.partition_point(|v| v.end <= at)..] {
                if at >= end || vma.start > at {
                    break;
                }
                at = vma.end;
            }
            if at < end {
                self.problem(format_args!("{image}: pages at {:#x} are in no area", record.vaddr));
            }
        }
        if pagemap.records.iter().any(|r| r.is_in_parent()) {
            match self.dir.open_raw("parent/inventory.img") {
                Ok(Some(_)) => {
                    self.needs.insert("the parent checkpoint".to_owned());
                }
                _ => self.problem(format_args!("{image}: pages are in the parent checkpoint, which is not there")),
            }
        }
        let wanted = pagemap.present_pages() * PAGE_BYTES;
        let name = Kind::Pages.file_name(u64::from(pagemap.pages_id));
        let size = match self.dir.open_raw(&name).map(|f| f.map(|f| f.metadata())) {
            Ok(Some(Ok(metadata))) => Some(metadata.len()),
            Ok(None) if wanted == 0 => Some(0),
            _ => None,
        };
        match size {
            None => self.problem(format_args!("{name}: missing")),
            Some(size) if size < wanted => {
                self.problem(format_args!("{name}: {size} bytes where {image} says {wanted}"));
            }
            Some(_) => {}
        }
    }
}
