//! signalfd: the mask, from fdinfo.

use criu_images::messages::{FdTypes, FileEntry, SignalfdEntry};

use crate::error::Result;
use crate::file::FileId;
use crate::file::collect::Collected;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;

#[derive(Debug)]
pub(crate) struct Signalfds;

impl DumpKind for Signalfds {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.is_anon("[signalfd]")
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let sigmask = seen.info.value("sigmask").and_then(|v| u64::from_str_radix(v, 16).ok());
        let sigmask = sigmask.ok_or_else(|| seen.no_line("sigmask"))?;
        let sgfd = SignalfdEntry { id, flags: seen.info.flags, fown: seen.fown, sigmask };
        Ok(FileEntry { r#type: FdTypes::Signalfd as i32, id, sgfd: Some(sgfd.into()), ..FileEntry::default() })
    }
}
