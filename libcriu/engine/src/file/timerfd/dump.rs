//! timerfd: everything from fdinfo.

use criu_images::messages::{FdTypes, FileEntry, TimerfdEntry};
use rustix::time::{ClockId, clock_gettime, timerfd_gettime};

use super::{ABSTIME, NSEC, awaits_a_look, is_settable};
use crate::error::Result;
use crate::file::FileId;
use crate::file::collect::Collected;
use crate::file::fdinfo::FdInfo;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;

#[derive(Debug)]
pub(crate) struct Timerfds;

impl DumpKind for Timerfds {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.is_anon("[timerfd]")
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let parsed = |info: &FdInfo| parse(info).ok_or_else(|| seen.no_line("it_value"));
        let mut tfd = parsed(&seen.info)?;
        if tfd.ticks == 0 && (tfd.vsec, tfd.vnsec) == (0, 0) {
            // Not armed, or due this very moment: then its expiration counts by the next look.
            tfd = parsed(&seen.info_again()?)?;
        }
        if awaits_a_look(&tfd) {
            // A periodic timer that has expired is set anew when somebody looks at it, and only then does the kernel
            // know what is left. The look changes nothing that the task could see: ticks count as if it were read.
            timerfd_gettime(&seen.dup).map_err(|e| Unsaved::os(seen, "timerfd_gettime", e))?;
            tfd = parsed(&seen.info_again()?)?;
            if awaits_a_look(&tfd) {
                // It has expired once more in between.
                (tfd.vsec, tfd.vnsec) = (tfd.isec, tfd.insec);
            }
        }
        if tfd.settime_flags & ABSTIME != 0 && is_settable(tfd.clockid) && (tfd.vsec, tfd.vnsec) != (0, 0) {
            let now = clock_gettime(ClockId::Realtime);
            let nsec = tfd.vnsec + now.tv_nsec as u64;
            tfd.expires_sec = Some(tfd.vsec + now.tv_sec as u64 + nsec / NSEC);
            tfd.expires_nsec = Some(nsec % NSEC);
        }
        let tfd = TimerfdEntry { id, flags: seen.info.flags, fown: seen.fown, ..tfd };
        Ok(FileEntry { r#type: FdTypes::Timerfd as i32, id, tfd: Some(tfd.into()), ..FileEntry::default() })
    }
}

pub(super) fn parse(info: &FdInfo) -> Option<TimerfdEntry> {
    let (vsec, vnsec) = pair(info.value("it_value")?)?;
    let (isec, insec) = pair(info.value("it_interval")?)?;
    Some(TimerfdEntry {
        clockid: info.value("clockid")?.parse().ok()?,
        ticks: info.value("ticks")?.parse().ok()?,
        settime_flags: u32::from_str_radix(info.value("settime flags")?, 8).ok()?,
        vsec,
        vnsec,
        isec,
        insec,
        ..TimerfdEntry::default()
    })
}

/// `(seconds, nanoseconds)`.
fn pair(text: &str) -> Option<(u64, u64)> {
    let (sec, nsec) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some((sec.trim().parse().ok()?, nsec.trim().parse().ok()?))
}
