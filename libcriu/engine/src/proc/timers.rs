//! /proc/PID/timers: the POSIX timers of a process

use std::io;

use super::{ProcDir, malformed};

/// A timer as timer_create(2) made it. Its times are known to the process alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PosixTimer {
    pub id: u32,
    pub signo: u32,
    pub value: u64,
    /// SIGEV_*
    pub notify: u32,
    /// The thread notified, for SIGEV_THREAD_ID.
    pub tid: Option<i32>,
    pub clock: i32,
}

/// Every POSIX timer of the process, by id.
///
/// # Errors
/// ENOENT in a kernel without CONFIG_CHECKPOINT_RESTORE.
pub fn posix_timers(dir: &ProcDir) -> io::Result<Vec<PosixTimer>> {
    parse(&dir.text("timers")?).ok_or_else(|| malformed("timers"))
}

pub(super) fn parse(text: &str) -> Option<Vec<PosixTimer>> {
    const THREAD_ID: u32 = libc::SIGEV_THREAD_ID as u32;
    let mut timers: Vec<PosixTimer> = Vec::new();
    for line in text.lines() {
        let (key, value) = line.split_once(':')?;
        let value = value.trim();
        if key == "ID" {
            timers.push(PosixTimer { id: value.parse().ok()?, ..PosixTimer::default() });
            continue;
        }
        let t = timers.last_mut()?;
        match key {
            "signal" => {
                let (signo, value) = value.split_once('/')?;
                t.signo = signo.parse().ok()?;
                t.value = u64::from_str_radix(value, 16).ok()?;
            }
            "notify" => {
                let (kind, whom) = value.split_once('/')?;
                let (what, id) = whom.split_once('.')?;
                t.notify = match kind {
                    "signal" => libc::SIGEV_SIGNAL as u32,
                    "none" => libc::SIGEV_NONE as u32,
                    "thread" => libc::SIGEV_THREAD as u32,
                    _ => return None,
                };
                if what == "tid" {
                    t.notify |= THREAD_ID;
                    t.tid = Some(id.parse().ok()?);
                }
            }
            "ClockID" => t.clock = value.parse().ok()?,
            _ => {}
        }
    }
    timers.sort_unstable_by_key(|t| t.id);
    Some(timers)
}

#[cfg(test)]
mod tests {
    use super::{PosixTimer, parse};

    #[test]
    fn kinds_of_notification() {
        let t = parse(
            "ID: 0\nsignal: 37/0000000000000063\nnotify: signal/pid.2982\nClockID: 1\nID: 2\nsignal: 0/00007f00\nnotify: \
             none/pid.2982\nClockID: 0\nID: 7\nsignal: 32/1\nnotify: signal/tid.2983\nClockID: -6\n",
        )
        .unwrap();
        assert_eq!(t[0], PosixTimer { id: 0, signo: 37, value: 99, notify: 0, tid: None, clock: 1 });
        assert_eq!((t[1].id, t[1].notify, t[1].value), (2, 1, 0x7f00));
        assert_eq!((t[2].notify, t[2].tid, t[2].clock), (4, Some(2983), -6));
        assert!(parse("").unwrap().is_empty());
        assert!(parse("signal: 1/1\n").is_none());
    }
}
