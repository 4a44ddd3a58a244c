//! Pagemaps and the page files they describe.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::dir::ImageDir;
use crate::error::{ImageError, Result};
use crate::kind::Kind;
use crate::layout::PAGE_BYTES;
use crate::messages::{PagemapEntry, PagemapHead};

/// `pagemap_entry.flags`: the pages are in the parent images.
pub const PE_PARENT: u32 = 1;
/// `pagemap_entry.flags`: the pages may be sent after the restore.
pub const PE_LAZY: u32 = 2;
/// `pagemap_entry.flags`: the pages are in this image's page file.
pub const PE_PRESENT: u32 = 4;

impl PagemapEntry {
    /// How many pages the record covers; older images have the number in another field.
    pub fn page_count(&self) -> u64 {
        self.nr_pages.unwrap_or(u64::from(self.compat_nr_pages))
    }

    /// The record's `PE_*` flags; older images say only whether the pages are in the parent.
    pub fn page_flags(&self) -> u32 {
        match self.flags {
            Some(flags) => flags,
            None if self.in_parent() => PE_PARENT,
            None => PE_PRESENT,
        }
    }

    /// The pages are in the parent images.
    pub fn is_in_parent(&self) -> bool {
        self.page_flags() & PE_PARENT != 0
    }

    /// The pages are in this image's page file.
    pub fn is_present(&self) -> bool {
        self.page_flags() & PE_PRESENT != 0
    }

    /// The pages may be sent after the restore.
    pub fn is_lazy(&self) -> bool {
        self.page_flags() & PE_LAZY != 0
    }
}

/// A pagemap: which pages of an address space were saved, and in which page file.
#[derive(Clone, Debug, Default)]
pub struct Pagemap {
    /// The number of the page file.
    pub pages_id: u32,
    /// By ascending address, page-aligned, without overlap, none empty, each with some flag of place.
    pub records: Vec<PagemapEntry>,
}

impl Pagemap {
    /// How many pages the page file holds for this pagemap.
    pub fn present_pages(&self) -> u64 {
        self.records.iter().filter(|r| r.is_present()).map(PagemapEntry::page_count).sum()
    }
}

impl ImageDir {
    /// Reads and checks a pagemap ([`Kind::Pagemap`] by pid, [`Kind::ShmemPagemap`] by shmid); `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`crate::ImageReader::entry`]; [`ImageError::Corrupt`] for records that break the promises of [`Pagemap::records`].
    pub fn pagemap(&self, kind: Kind, id: u64) -> Result<Option<Pagemap>> {
        let Some(mut image) = self.open(kind, id)? else { return Ok(None) };
        let head: PagemapHead = image.entry()?.ok_or_else(|| image.corrupt("a pagemap without a head"))?;
        let (mut records, mut end) = (Vec::new(), 0u64);
        while let Some(record) = image.entry::<PagemapEntry>()? {
            let bytes = record.page_count().checked_mul(PAGE_BYTES).filter(|&b| b > 0);
            let Some(stop) = bytes.and_then(|b| record.vaddr.checked_add(b)) else {
                return Err(image.corrupt(format!("{} pages at {:#x}", record.page_count(), record.vaddr)));
            };
            if record.vaddr < end || record.vaddr % PAGE_BYTES != 0 {
                return Err(image.corrupt(format!("pages at {:#x} are out of order or unaligned", record.vaddr)));
            }
            if record.page_flags() & !(PE_PARENT | PE_LAZY | PE_PRESENT) != 0 {
                return Err(image.corrupt(format!("flags {:#x} at {:#x}", record.page_flags(), record.vaddr)));
            }
            end = stop;
            records.push(record);
        }
        Ok(Some(Pagemap { pages_id: head.pages_id, records }))
    }

    /// Opens the page file of a pagemap and checks that it holds the pages that the pagemap counts.
    ///
    /// # Errors
    ///
    /// [`ImageError::Missing`] when pages are counted and there is no file, [`ImageError::Corrupt`] when it is too short,
    /// [`ImageError::Io`].
    pub fn page_file(&self, pagemap: &Pagemap) -> Result<Option<PageFile>> {
        let name = Kind::Pages.file_name(u64::from(pagemap.pages_id));
        let wanted = pagemap.present_pages();
        let Some(file) = self.open_raw(&name)? else {
            return if wanted == 0 { Ok(None) } else { Err(ImageError::Missing { file: name }) };
        };
        let size =
            file.metadata().map_err(|source| ImageError::Io { file: name.clone(), call: "fstat", source })?.len();
        let pages = PageFile { name, file, pages: size / PAGE_BYTES };
        if pages.pages < wanted {
            return Err(pages.corrupt(size, format!("{wanted} pages are in the pagemap, {} in the file", pages.pages)));
        }
        Ok(Some(pages))
    }
}

/// A page file, `pages-N.img`: pages back to back, in the order of the pagemap's records.
#[derive(Debug)]
pub struct PageFile {
    name: String,
    file: File,
    pages: u64,
}

impl PageFile {
    /// How many whole pages the file holds.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The file, for mapping it or reading into the memory of another task.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Fills `buffer` from page number `page` on; reads may come from several threads.
    ///
    /// # Errors
    ///
    /// [`ImageError::Corrupt`] beyond the file's end; [`ImageError::Io`].
    pub fn read_at(&self, page: u64, buffer: &mut [u8]) -> Result<()> {
        let end = page.checked_add((buffer.len() as u64).div_ceil(PAGE_BYTES));
        if end.is_none_or(|e| e > self.pages) {
            let reason = format!("{} bytes at page {page}, the file has {} pages", buffer.len(), self.pages);
            return Err(self.corrupt(page.saturating_mul(PAGE_BYTES), reason));
        }
        self.file.read_exact_at(buffer, page * PAGE_BYTES).map_err(|source| ImageError::Io {
            file: self.name.clone(),
            call: "pread",
            source,
        })
    }

    fn corrupt(&self, offset: u64, reason: String) -> ImageError {
        ImageError::Corrupt { file: self.name.clone(), offset, reason }
    }
}
