//! eventfd: made with mode and counter.

use std::os::fd::OwnedFd;

use criu_images::messages::FileEntry;
use rustix::event::{EventfdFlags, eventfd};

use super::SEMAPHORE;
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::Plan;
use crate::file::object::Object;

#[derive(Debug)]
pub(crate) struct Eventfds;

impl RestoreKind for Eventfds {
    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        members.iter().map(|m| open(m)).collect()
    }
}

fn open(entry: &FileEntry) -> Result<OwnedFd> {
    let efd = body(entry, entry.efd.as_ref())?;
    let failed =
        |call: &str, e: rustix::io::Errno| Error::os(Phase::Files, format!("file {} (eventfd)", entry.id), call, e);
    let mut flags = EventfdFlags::CLOEXEC;
    flags.set(EventfdFlags::SEMAPHORE, efd.flags & SEMAPHORE != 0);
    flags.set(EventfdFlags::NONBLOCK, efd.flags & libc::O_NONBLOCK as u32 != 0);
    // The call takes 32 bits; the counter has 64, of which the largest value can be neither held nor written.
    let small = u32::try_from(efd.counter);
    let fd = eventfd(small.unwrap_or(0), flags).map_err(|e| failed("eventfd", e))?;
    if small.is_err() {
        rustix::io::write(&fd, &efd.counter.to_ne_bytes()).map_err(|e| failed("write", e))?;
    }
    Ok(fd)
}
