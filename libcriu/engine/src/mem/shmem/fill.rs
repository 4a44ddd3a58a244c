//! Puts saved contents back into an object of shared memory.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use criu_images::messages::{PagemapEntry, PagemapHead};
use criu_images::{ImageDir, ImageReader, Kind};

use crate::error::{Error, Phase, Result};
use crate::mem::pages::flags;
use crate::mem::vma::PAGE_BYTES;

const BUFFER_BYTES: u64 = 512 << 10;

/// Fills the object behind `file`, which is fresh and has at least `size` bytes (rounded up to whole pages it may be written that far),
/// from `pagemap-shmem-SHMID.img`. Without such an image it stays empty.
///
/// # Errors
/// An image that is not valid for an object of this size, or cannot be read; a file that cannot be written.
pub fn fill(images: &ImageDir, shmid: u64, file: BorrowedFd<'_>, size: u64) -> Result<()> {
    let image = |e| Error::image(Phase::Memory, e);
    let Some(mut pagemap) = images.open(Kind::ShmemPagemap, shmid).map_err(image)? else { return Ok(()) };
    let head: PagemapHead = pagemap.entry().map_err(image)?.ok_or_else(|| image(pagemap.corrupt("no head")))?;
    let name = Kind::Pages.file_name(u64::from(head.pages_id));
    let pages = images
        .open_raw(&name)
        .map_err(image)?
        .ok_or_else(|| image(criu_images::ImageError::Missing { file: name.clone() }))?;
    let mut offset = 0;
    while let Some(entry) = pagemap.entry::<PagemapEntry>().map_err(image)? {
        let bytes = check(&pagemap, &entry, size).map_err(image)?;
        if is_present(&entry) {
            copy(&pages, &name, offset, file, entry.vaddr, bytes, size)?;
            offset += bytes;
        }
    }
    Ok(())
}

fn is_present(e: &PagemapEntry) -> bool {
    // Before there were flags every record had its pages in the image.
    e.flags.is_none_or(|f| f & flags::PRESENT != 0)
}

/// The number of bytes that a record stands for.
fn check(pagemap: &ImageReader, e: &PagemapEntry, size: u64) -> criu_images::Result<u64> {
    let pages = e.nr_pages.unwrap_or(u64::from(e.compat_nr_pages));
    let end = pages.checked_mul(PAGE_BYTES).and_then(|b| b.checked_add(e.vaddr));
    if e.in_parent == Some(true) || e.flags.is_some_and(|f| f & flags::PARENT != 0) {
        return Err(pagemap.corrupt("pages of a parent checkpoint cannot be restored yet"));
    }
    match end {
        Some(end) if e.vaddr % PAGE_BYTES == 0 && end <= size.next_multiple_of(PAGE_BYTES) => Ok(pages * PAGE_BYTES),
        _ => Err(pagemap.corrupt(format!("pages at {:#x} lie outside the {size} bytes of the object", e.vaddr))),
    }
}

fn copy(pages: &File, name: &str, from: u64, to: BorrowedFd<'_>, at: u64, bytes: u64, size: u64) -> Result<()> {
    let mut buffer = vec![0; bytes.min(BUFFER_BYTES) as usize];
    let mut done = 0;
    while done < bytes {
        let n = (bytes - done).min(BUFFER_BYTES) as usize;
        pages
            .read_exact_at(&mut buffer[..n], from + done)
            .map_err(|e| Error::os(Phase::Memory, name, "reading pages", e))?;
        // The last page may stand beyond the end of the object.
        let n_written = n.min(size.saturating_sub(at + done) as usize);
        let mut written = 0;
        while written < n_written {
            let place = at + done + written as u64;
            match rustix::io::pwrite(to, &buffer[written..n_written], place) {
                Ok(w) if w > 0 => written += w,
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Err(Error::new(Phase::Memory, "shared memory", "pwrite: nothing was written")),
                Err(e) => return Err(Error::os(Phase::Memory, "shared memory", "pwrite", e)),
            }
        }
        done += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::pages::PagesIds;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::os::fd::AsFd;

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
        let t = super::super::dump(&images, 9, old.as_fd(), size, &mut PagesIds::default()).unwrap();
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
