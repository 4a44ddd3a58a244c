//! Puts saved contents back into an object of shared memory.

use std::os::fd::BorrowedFd;

use criu_images::messages::PagemapEntry;
use criu_images::{ImageDir, Kind, PageFile};

use crate::error::{Error, Phase, Result};
use crate::mem::vma::PAGE_BYTES;
use crate::sys::mapping::Mapped;

const BUFFER_BYTES: u64 = 512 << 10;

/// Fills the object behind `file`, which is fresh and `size` bytes long, from `pagemap-shmem-SHMID.img`. Without such an image it
/// stays empty.
///
/// # Errors
/// An image that is not valid for an object of this size, or cannot be read; a file that cannot be written.
pub fn fill(images: &ImageDir, shmid: u64, file: BorrowedFd<'_>, size: u64) -> Result<()> {
    let image = |e| Error::image(Phase::Memory, e);
    let Some(pagemap) = images.pagemap(Kind::ShmemPagemap, shmid).map_err(image)? else { return Ok(()) };
    let name = Kind::ShmemPagemap.file_name(shmid);
    for record in &pagemap.records {
        check(record, size).map_err(|cause| Error::new(Phase::Memory, &name, cause))?;
    }
    let Some(pages) = images.page_file(&pagemap).map_err(image)? else { return Ok(()) };
    let mut at = 0;
    for record in pagemap.records.iter().filter(|r| r.is_present()) {
        copy(&pages, at, file, record, size)?;
        at += record.page_count();
    }
    Ok(())
}

/// As [`fill`], through a mapping of the whole object.
///
/// # Errors
/// As `fill`; no huge page is free.
pub fn fill_mapped(images: &ImageDir, shmid: u64, to: &Mapped) -> Result<()> {
    let image = |e| Error::image(Phase::Memory, e);
    let Some(pagemap) = images.pagemap(Kind::ShmemPagemap, shmid).map_err(image)? else { return Ok(()) };
    let name = Kind::ShmemPagemap.file_name(shmid);
    let mut parts = Vec::new();
    for r in &pagemap.records {
        check(r, to.len()).map_err(|cause| Error::new(Phase::Memory, &name, cause))?;
        parts.push((to.start() + r.vaddr, r.page_count() * PAGE_BYTES));
    }
    let present: Vec<(u64, u64)> =
        parts.into_iter().zip(&pagemap.records).filter(|(_, r)| PagemapEntry::is_present(r)).map(|(p, _)| p).collect();
    let Some(pages) = images.page_file(&pagemap).map_err(image)? else { return Ok(()) };
    Mapped::read_parts(&[*to], pages.file(), 0, &present)
        .map_err(|e| Error::os(Phase::Memory, name, "reading its pages", e))
}

fn check(record: &PagemapEntry, size: u64) -> Result<(), String> {
    if record.is_in_parent() {
        return Err("pages of a parent checkpoint cannot be restored yet".into());
    }
    // Their order, alignment and number were checked when the image was read.
    let end = record.vaddr + record.page_count() * PAGE_BYTES;
    if end > size.next_multiple_of(PAGE_BYTES) {
        return Err(format!("pages at {:#x} lie outside the {size} bytes of the object", record.vaddr));
    }
    Ok(())
}

fn copy(pages: &PageFile, from: u64, to: BorrowedFd<'_>, record: &PagemapEntry, size: u64) -> Result<()> {
    let bytes = record.page_count() * PAGE_BYTES;
    let mut buffer = vec![0; bytes.min(BUFFER_BYTES) as usize];
    let mut done = 0;
    while done < bytes {
        let n = (bytes - done).min(BUFFER_BYTES) as usize;
        pages.read_at(from + done / PAGE_BYTES, &mut buffer[..n]).map_err(|e| Error::image(Phase::Memory, e))?;
        // The last page may reach beyond the end of the object.
        let inside = n.min(size.saturating_sub(record.vaddr + done) as usize);
        write(to, &buffer[..inside], record.vaddr + done)?;
        done += n as u64;
    }
    Ok(())
}

fn write(to: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(to, bytes, at) {
            Ok(0) => return Err(Error::new(Phase::Memory, "shared memory", "pwrite: nothing was written")),
            Ok(n) => {
                bytes = &bytes[n..];
                at += n as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::os(Phase::Memory, "shared memory", "pwrite", e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::pages::PagesIds;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    fn images() -> (ImageDir, std::path::PathBuf) {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("criu-shmem-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        (ImageDir::new(File::open(&path).unwrap().into()), path)
    }

    #[test]
    fn contents_and_holes_come_back() {
        let (images, path) = images();
        let size = (8 << 20) + 100;
        let old = File::from(memfd_create("old", MemfdFlags::CLOEXEC).unwrap());
        old.set_len(size).unwrap();
        old.write_all_at(b"first", 3).unwrap();
        old.write_all_at(&vec![7; 3 << 20], 1 << 20).unwrap();
        old.write_all_at(b"last", size - 4).unwrap();
        let t = super::super::dump(&images, 9, old.as_fd(), (size, None), &mut PagesIds::default(), &mut || Ok(()))
            .unwrap();
        assert_eq!(t.pages, 1 + 768 + 1);
        let new = File::from(memfd_create("new", MemfdFlags::CLOEXEC).unwrap());
        new.set_len(size).unwrap();
        fill(&images, 9, new.as_fd(), size).unwrap();
        let (mut a, mut b) = (vec![0; size as usize], vec![0; size as usize]);
        old.read_exact_at(&mut a, 0).unwrap();
        new.read_exact_at(&mut b, 0).unwrap();
        assert!(a == b);
        assert_eq!(new.metadata().unwrap().len(), size);
        let blocks = |f: &File| std::os::unix::fs::MetadataExt::blocks(&f.metadata().unwrap());
        assert_eq!(blocks(&old), blocks(&new));
        // An object that is smaller than the image says is refused.
        assert!(fill(&images, 9, new.as_fd(), 4096).unwrap_err().cause.contains("outside"));
        std::fs::remove_dir_all(path).unwrap();
    }
}
