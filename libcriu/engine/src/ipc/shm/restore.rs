//! Segments are made, filled and attached by the coordinator; tasks inherit the attachment and move a copy of it to
//! its place. Those that no task has attached are made by the root task: whose they are is told by who has made them.

use criu_images::messages::{IpcDescEntry, IpcShmEntry};
use criu_images::{ImageDir, Kind};

use super::{DEST, LOCKED, SHM_HUGETLB};
use crate::error::{Error, Phase, Result};
use crate::ipc::object::{PERMISSIONS, Row, create, describe, existing, failed, owner};
use crate::mem::vma::PAGE_BYTES;
use crate::mem::{huge, shmem};
use crate::sys::ipc::{Family, shm_attach, shm_create, shm_detach, shm_lock, shm_set};
use crate::sys::spawn::shared_file;

/// A segment of the image, with its bytes unless they are in a pagemap.
pub(crate) type Saved = (IpcShmEntry, Option<Vec<u8>>);

pub(crate) fn load(images: &ImageDir, id: u64) -> Result<Vec<Saved>> {
    let image = |e| Error::image(Phase::Load, e);
    let Some(mut reader) = images.open(Kind::IpcnsShm, id).map_err(image)? else { return Ok(Vec::new()) };
    let mut segments = Vec::new();
    while let Some(entry) = reader.entry::<IpcShmEntry>().map_err(image)? {
        let bytes = reader.segment(&entry).map_err(image)?;
        if entry.size == 0 || entry.size > i64::MAX as u64 - PAGE_BYTES {
            let cause = format!("{} bytes are no size", entry.size);
            return Err(Error::new(Phase::Load, describe(Family::Shm, &entry.desc), cause));
        }
        if huge_page(&entry) == Some(None) {
            let cause = format!("no pages have the size in {:#x}", entry.hugetlb_flag());
            return Err(Error::new(Phase::Load, describe(Family::Shm, &entry.desc), cause));
        }
        segments.push((entry, bytes));
    }
    Ok(segments)
}

/// The size of its pages if these are huge; the inner `None` when no pages have such a size.
pub(crate) fn huge_page(entry: &IpcShmEntry) -> Option<Option<u64>> {
    entry.hugetlb_flag.filter(|f| *f != 0).map(huge::size_in)
}

/// The bytes that a mapping of the whole segment has.
pub(crate) fn mapped_bytes(entry: &IpcShmEntry) -> u64 {
    let page = huge_page(entry).flatten().unwrap_or(PAGE_BYTES);
    entry.size.checked_next_multiple_of(page).unwrap_or(entry.size)
}

/// Makes the segment be there; true when it was made now, which is the last that can fail.
///
/// # Errors
/// Its key or id is taken, or it is in use by others.
pub(crate) fn provide(entry: &IpcShmEntry) -> Result<bool> {
    if left(entry)?.is_some() {
        return Ok(false);
    }
    let desc = &entry.desc;
    // Nobody finds a removed segment by its key.
    let key = if desc.mode & DEST != 0 { 0 } else { desc.key };
    let pages = huge_page(entry).flatten().map_or(0, |bytes| SHM_HUGETLB | huge::size_flags(bytes));
    create(Family::Shm, desc, || shm_create(key, entry.size, desc.mode & PERMISSIONS | pages))?;
    Ok(true)
}

/// What is left of the segment.
pub(super) fn left(entry: &IpcShmEntry) -> Result<Option<Row>> {
    let desc = &entry.desc;
    let Some(row) = existing(Family::Shm, desc)? else { return Ok(None) };
    match (row.get("nattch"), row.get("size") as u64) {
        // The one that was dumped went with its last user.
        _ if desc.mode & DEST != 0 => Err(in_the_way(desc, "the id is taken".into())),
        (0, size) if size == entry.size => Ok(Some(row)),
        (0, size) => Err(in_the_way(desc, format!("there is one of {size} bytes instead of {}", entry.size))),
        (n, _) => Err(in_the_way(desc, format!("it is attached {n} times already"))),
    }
}

pub(super) fn in_the_way(desc: &IpcDescEntry, cause: String) -> Error {
    Error::new(Phase::Memory, describe(Family::Shm, desc), cause)
        .errno(libc::EEXIST)
        .hint("end its users and remove it (ipcrm), or restore inside an IPC namespace of its own")
}

/// Fills the segment and sets what is set by calls.
pub(crate) fn settle(images: &ImageDir, entry: &IpcShmEntry, bytes: Option<&[u8]>, is_new: bool) -> Result<()> {
    let desc = &entry.desc;
    let failed = |call: &'static str| failed(Family::Shm, desc, call);
    let mapped = shm_attach(desc.id, mapped_bytes(entry), true).map_err(failed("shmat"))?;
    if !is_new {
        let there =
            shared_file(&mapped).and_then(|f| Ok(rustix::fs::fstat(f)?)).map_err(failed("looking at its pages"))?;
        if huge::page_bytes_of(there.st_dev) != huge_page(entry).flatten() {
            let cause = "there is one with pages of another size";
            return Err(Error::new(Phase::Memory, describe(Family::Shm, desc), cause)
                .errno(libc::EEXIST)
                .hint("remove it (ipcrm), or restore inside an IPC namespace of its own"));
        }
        mapped.advise(libc::MADV_REMOVE).map_err(failed("madvise MADV_REMOVE"))?;
    }
    match bytes {
        Some(bytes) => mapped.fill(bytes).map_err(failed("filling it"))?,
        None => shmem::fill_mapped(images, desc.id.into(), &mapped)?,
    }
    shm_detach(mapped).map_err(failed("shmdt"))?;
    shm_set(desc.id, owner(desc)).map_err(failed("shmctl IPC_SET"))?;
    if desc.mode & LOCKED != 0 {
        shm_lock(desc.id).map_err(failed("shmctl SHM_LOCK"))?;
    }
    Ok(())
}

/// Removes a segment that had been removed while it was in use: it lives as long as it is attached.
pub(crate) fn doom(entry: &IpcShmEntry) -> Result<()> {
    if entry.desc.mode & DEST == 0 {
        return Ok(());
    }
    Family::Shm.remove(entry.desc.id).map_err(failed(Family::Shm, &entry.desc, "shmctl IPC_RMID"))
}
