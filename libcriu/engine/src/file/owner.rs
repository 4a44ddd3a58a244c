//! Who is signalled about a description.

use std::os::fd::RawFd;

use criu_images::messages::{FileEntry, FownEntry};

use super::load::Plan;
use crate::error::{Error, Phase, Result};
use crate::sys::descriptor::{SignalOwner, borrow, set_signal_owner};

/// Who is signalled about a description, and its status flags (O_ASYNC is set with the owner).
pub(super) fn owner<'a>(plan: &'a Plan, entry: &'a FileEntry) -> Option<(&'a FownEntry, u32)> {
    if let Some(fifo) = &entry.fifo {
        let reg = plan.entries.get(&fifo.regf_id?)?.reg.as_ref()?;
        return Some((&reg.fown, reg.flags));
    }
    None.or(entry.reg.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.pipe.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.efd.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.epfd.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.sgfd.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.tfd.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.memfd.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.uring.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.usk.as_deref().map(|e| (&e.fown, e.flags)))
        .or(entry.nlsk.as_deref().map(|e| (&e.fown, e.flags)))
        .or(entry.isk.as_deref().map(|e| (&e.fown, e.flags)))
        .or(entry.tty.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.ify.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.ffy.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.pidfd.as_ref().map(|e| (&e.fown, e.flags)))
        .or(entry.tunf.as_ref().and_then(|e| Some((e.fown.as_ref()?, e.flags()))))
}

pub(super) fn set_owner(fd: RawFd, fown: &FownEntry, flags: u32) -> Result<()> {
    if flags & libc::O_PATH as u32 != 0 || (fown.pid == 0 && fown.signum == 0) {
        return Ok(());
    }
    let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, format!("fd {fd}"), call, e);
    let owner = SignalOwner {
        kind: fown.pid_type as i32,
        pid: fown.pid as i32,
        signal: fown.signum as i32,
        uid: fown.uid,
        euid: fown.euid,
    };
    set_signal_owner(borrow(fd), owner).map_err(|e| failed("fcntl F_SETOWN_EX", e))?;
    if flags & libc::O_ASYNC as u32 != 0 {
        let now = rustix::fs::fcntl_getfl(borrow(fd)).map_err(|e| failed("fcntl F_GETFL", e.into()))?;
        rustix::fs::fcntl_setfl(borrow(fd), now | rustix::fs::OFlags::from_bits_retain(libc::O_ASYNC as u32))
            .map_err(|e| failed("fcntl F_SETFL", e.into()))?;
    }
    Ok(())
}
