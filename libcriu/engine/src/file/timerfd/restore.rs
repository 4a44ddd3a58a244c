//! timerfd: made, set, and given its unread expirations.

use std::os::fd::{AsFd, OwnedFd};

use criu_images::ImageDir;
use criu_images::messages::{FdTypes, FileEntry, TimerfdEntry};

use super::{ABSTIME, NSEC, awaits_a_look, is_settable};
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::Plan;
use crate::file::object::Object;
use crate::sys::timerfd;

#[derive(Debug)]
pub(crate) struct Timerfds;

impl RestoreKind for Timerfds {
    fn load(&mut self, plan: &Plan, _images: &ImageDir) -> Result<()> {
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Timerfd) {
            let tfd = body(entry, entry.tfd.as_ref())?;
            let seconds = [tfd.vsec, tfd.isec, tfd.expires_sec.unwrap_or(0)];
            let nanos = [tfd.vnsec, tfd.insec, tfd.expires_nsec.unwrap_or(0)];
            if seconds.iter().any(|&s| s > i64::MAX as u64 / 2) || nanos.iter().any(|&n| n >= NSEC) {
                return Err(Error::new(Phase::Check, name(entry), "a time that no clock reaches"));
            }
        }
        Ok(())
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        members.iter().map(|m| open(m)).collect()
    }
}

fn name(entry: &FileEntry) -> String {
    format!("file {} (timerfd)", entry.id)
}

fn open(entry: &FileEntry) -> Result<OwnedFd> {
    let tfd = body(entry, entry.tfd.as_ref())?;
    let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, name(entry), call, e);
    let nonblock = tfd.flags & libc::O_NONBLOCK as u32 != 0;
    let fd = timerfd::create(tfd.clockid as i32, nonblock).map_err(|e| failed("timerfd_create", e))?;
    // In images that were made without a look it has expired for good.
    let tfd = match awaits_a_look(tfd) {
        true => &TimerfdEntry { vsec: tfd.isec, vnsec: tfd.insec, ..TimerfdEntry::clone(tfd) },
        false => tfd,
    };
    let value = value(tfd).map_err(|e| failed("clock_gettime", e))?;
    if value != (0, 0) || (tfd.isec, tfd.insec) != (0, 0) {
        timerfd::settime(fd.as_fd(), tfd.settime_flags as i32, value, (tfd.isec, tfd.insec))
            .map_err(|e| failed("timerfd_settime", e))?;
    }
    // After it was set: that forgets them.
    if tfd.ticks > 0 {
        timerfd::set_ticks(fd.as_fd(), tfd.ticks).map_err(|e| failed("ioctl TFD_IOC_SET_TICKS", e))?;
    }
    Ok(fd)
}

/// When it expires, as `settime_flags` says: from now on, or on its clock.
fn value(tfd: &TimerfdEntry) -> std::io::Result<(u64, u64)> {
    if (tfd.vsec, tfd.vnsec) == (0, 0) || tfd.settime_flags & ABSTIME == 0 {
        return Ok((tfd.vsec, tfd.vnsec));
    }
    if let (true, Some(sec), Some(nsec)) = (is_settable(tfd.clockid), tfd.expires_sec, tfd.expires_nsec) {
        return Ok((sec, nsec));
    }
    let now = timerfd::now(tfd.clockid as i32)?;
    let nsec = now.1 + tfd.vnsec;
    Ok((now.0 + tfd.vsec + nsec / NSEC, nsec % NSEC))
}
