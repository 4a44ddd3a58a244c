//! Are there enough huge pages? Found out before anything is made.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use criu_images::messages::{FdTypes, FileEntry, MemfdInodeEntry};
use criu_images::{ImageDir, Kind};

use super::check::Checked;
use super::checkpoint::Alive;
use crate::error::{Error, Phase, Result};
use crate::file::memfd::{HugePages, shown};
use crate::ipc::restore::huge_segments;
use crate::mem::huge::Demand;
use crate::mem::pages::restore::Run;
use crate::mem::vma::PAGE_BYTES;
use crate::mem::vma::restore::{Area, Backing};

/// A shared object, and which of its bytes take pages.
#[derive(Debug)]
struct Shared {
    page_bytes: u64,
    pid: i32,
    name: String,
    parts: Vec<Range<u64>>,
}

impl Shared {
    /// Pages in which any of the parts lies.
    fn pages(mut self) -> u64 {
        self.parts.sort_by_key(|p| p.start);
        count(self.parts.iter().map(|p| p.start..p.end), self.page_bytes)
    }
}

/// # Errors
/// The machine has too few; images that cannot be read.
pub(super) fn check(images: &ImageDir, checked: &Checked) -> Result<()> {
    let mut demand = Demand::default();
    let tasks = &checked.checkpoint.tasks;
    let root = tasks.first().map_or(0, |t| t.pid);
    // Shared anonymous objects by their number, mapped files by theirs.
    let (mut objects, mut mapped) = (BTreeMap::new(), HashMap::<u32, Vec<(i32, Range<u64>)>>::new());
    for task in tasks {
        let Some(alive) = task.alive() else { continue };
        let parent = task.parent.and_then(|p| tasks.get(p)?.alive());
        for area in &alive.layout.areas {
            if let Backing::File { id, shared: true, .. } = area.backing
                && area.flags & libc::MAP_NORESERVE == 0
            {
                mapped.entry(id).or_default().push((task.pid, area.offset..area.offset + area.len()));
            }
            let Some(page_bytes) = area.huge_page() else { continue };
            match area.backing {
                Backing::Anonymous | Backing::File { shared: false, .. } => {
                    demand.add(page_bytes, private(alive, area, parent, page_bytes), task.pid, || area.name());
                }
                Backing::SharedAnonymous { shmid } => {
                    let new = || Shared { page_bytes, pid: task.pid, name: area.name(), parts: Vec::new() };
                    let object: &mut Shared = objects.entry(shmid).or_insert_with(new);
                    if area.flags & libc::MAP_NORESERVE == 0 {
                        // All of the object is put aside when it is made.
                        object.parts.push(0..area.offset + area.len());
                    }
                }
                _ => {}
            }
        }
    }
    for (shmid, mut object) in objects {
        object.parts.extend(touched(images, shmid)?);
        let (page_bytes, pid, name) = (object.page_bytes, object.pid, object.name.clone());
        demand.add(page_bytes, object.pages(), pid, || name);
    }
    memfds(images, root, &mapped, &mut demand)?;
    let namespace = tasks.first().and_then(|t| t.alive()).and_then(|a| a.ids.ipc_ns_id);
    for (name, size, page_bytes) in huge_segments(images, namespace.unwrap_or_default().into())? {
        demand.add(page_bytes, size.div_ceil(page_bytes), root, || name);
    }
    match demand.unmet() {
        unmet if unmet.is_empty() => Ok(()),
        unmet => Err(Error::refused(Phase::Check, unmet)),
    }
}

/// Pages of a private area. What a parent has put aside or filled, a child does not take once more.
fn private(alive: &Alive, area: &Area, parent: Option<&Alive>, page_bytes: u64) -> u64 {
    let own = alive.pages.within(area.start, area.end);
    let bytes = |runs: &[Run]| runs.iter().map(|r| r.address..r.address + r.len).collect::<Vec<_>>();
    let theirs = parent.and_then(|p| Some((p, p.layout.areas.get(p.layout.find(area.start)?)?)));
    match theirs.filter(|(_, theirs)| area.inherits(theirs)) {
        Some((parent, _)) => {
            let inherited = bytes(parent.pages.within(area.start, area.end));
            let both: Vec<Range<u64>> = bytes(own).into_iter().chain(inherited.iter().cloned()).collect();
            count(sorted(both).into_iter(), page_bytes) - count(inherited.into_iter(), page_bytes)
        }
        None if area.flags & libc::MAP_NORESERVE == 0 => area.len() / page_bytes,
        None => count(bytes(own).into_iter(), page_bytes),
    }
}

fn sorted(mut parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    parts.sort_by_key(|p| p.start);
    parts
}

/// Pages in which any of the parts lies, which are sorted by their beginnings.
fn count(parts: impl Iterator<Item = Range<u64>>, page_bytes: u64) -> u64 {
    let (mut pages, mut next) = (0, 0);
    for part in parts {
        let first = (part.start / page_bytes).max(next);
        next = next.max(part.end.div_ceil(page_bytes));
        pages += next.saturating_sub(first);
    }
    pages
}

/// What the image of a shared object has pages for.
fn touched(images: &ImageDir, shmid: u64) -> Result<Vec<Range<u64>>> {
    let pagemap = images.pagemap(Kind::ShmemPagemap, shmid).map_err(|e| Error::image(Phase::Load, e))?;
    let records = pagemap.map_or(Vec::new(), |p| p.records);
    Ok(records.iter().map(|r| r.vaddr..r.vaddr + r.page_count() * PAGE_BYTES).collect())
}

fn memfds(
    images: &ImageDir,
    root: i32,
    mapped: &HashMap<u32, Vec<(i32, Range<u64>)>>,
    demand: &mut Demand,
) -> Result<()> {
    let loading = |e| Error::image(Phase::Load, e);
    let mut inodes = HashMap::new();
    for inode in images.read_all::<MemfdInodeEntry>(Kind::MemfdInode, 0).map_err(loading)? {
        if let Some(Some(page_bytes)) = inode.huge_page() {
            let parts = touched(images, inode.shmid.into())?;
            inodes.insert(inode.inode_id, Shared { page_bytes, pid: root, name: shown(&inode), parts });
        }
    }
    if inodes.is_empty() {
        return Ok(());
    }
    for file in images.read_all::<FileEntry>(Kind::Files, 0).map_err(loading)? {
        let Some(memfd) = file.memfd.filter(|_| file.r#type == FdTypes::Memfd as i32) else { continue };
        let (Some(inode), Some(areas)) = (inodes.get_mut(&memfd.inode_id.into()), mapped.get(&file.id)) else {
            continue;
        };
        for (pid, part) in areas {
            inode.pid = *pid;
            inode.parts.push(part.clone());
        }
    }
    for inode in inodes.into_values() {
        let (page_bytes, pid, name) = (inode.page_bytes, inode.pid, inode.name.clone());
        demand.add(page_bytes, inode.pages(), pid, || name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_once() {
        let parts = vec![0..4096, 4096..8192, (2 << 20) - 1..(2 << 20) + 1, 8 << 20..12 << 20, 10 << 20..11 << 20];
        assert_eq!(count(parts.into_iter(), 2 << 20), 4);
        assert_eq!(count(std::iter::empty(), 2 << 20), 0);
        let name = String::new();
        let shared =
            Shared { page_bytes: 2 << 20, pid: 1, name, parts: vec![4 << 20..6 << 20, 0..2 << 20, 0..5 << 20] };
        assert_eq!(shared.pages(), 3);
    }
}
