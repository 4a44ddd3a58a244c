//! signalfd: made with its mask.

use std::os::fd::OwnedFd;

use criu_images::messages::FileEntry;

use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::Plan;
use crate::file::object::Object;
use crate::sys::descriptor::signalfd;

#[derive(Debug)]
pub(crate) struct Signalfds;

impl RestoreKind for Signalfds {
    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let open = |entry: &FileEntry| {
            let sgfd = body(entry, entry.sgfd.as_ref())?;
            signalfd(sgfd.sigmask, sgfd.flags & libc::O_NONBLOCK as u32 != 0)
                .map_err(|e| Error::os(Phase::Files, format!("file {} (signalfd)", entry.id), "signalfd", e))
        };
        members.iter().map(|m| open(m)).collect()
    }
}
