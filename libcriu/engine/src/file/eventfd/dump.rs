//! eventfd: counter and mode, from fdinfo.

use criu_images::messages::{EventfdFileEntry, FdTypes, FileEntry};

use super::SEMAPHORE;
use crate::error::Result;
use crate::file::FileId;
use crate::file::collect::Collected;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;

#[derive(Debug)]
pub(crate) struct Eventfds;

impl DumpKind for Eventfds {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.is_anon("[eventfd]")
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let counter = seen.info.value("eventfd-count").and_then(|v| u64::from_str_radix(v, 16).ok());
        let counter = counter.ok_or_else(|| seen.no_line("eventfd-count"))?;
        let semaphore = seen.info.value("eventfd-semaphore").is_some_and(|v| v != "0");
        let flags = seen.info.flags | if semaphore { SEMAPHORE } else { 0 };
        let efd = EventfdFileEntry { id, flags, fown: seen.fown, counter };
        Ok(FileEntry { r#type: FdTypes::Eventfd as i32, id, efd: Some(efd.into()), ..FileEntry::default() })
    }
}
