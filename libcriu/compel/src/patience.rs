//! Waiting for stops: quick at first (a stop usually comes within microseconds), then sparing, never for ever.

use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::ptrace::{self, Stop};
use crate::status::{self, ThreadStatus};

/// How long a thread may take to stop: nothing but a hanging kernel needs that long.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long a vfork child usually needs at most until it calls execve.
const VFORK_LIMIT: Duration = Duration::from_millis(20);
/// How long it is looked for all the time, other threads being let by: a wake-up from sleep may take as long.
const EAGER: Duration = Duration::from_micros(300);

/// Waits until the thread reports something.
///
/// # Errors
/// [`Kind::Gone`] when it is no tracee any more or dead without a report (a leader whose threads live on),
/// [`Kind::InVfork`], [`Kind::Unresponsive`].
pub(crate) fn wait(pid: i32, tid: i32) -> Result<Stop> {
    let begin = Instant::now();
    loop {
        if let Some(stop) = ptrace::try_wait(tid, false)? {
            return Ok(stop);
        }
        if begin.elapsed() > EAGER {
            break;
        }
        std::thread::yield_now();
    }
    let mut pause = Duration::from_micros(20);
    loop {
        std::thread::sleep(pause);
        if let Some(stop) = ptrace::try_wait(tid, false)? {
            return Ok(stop);
        }
        if pause < Duration::from_millis(2) {
            pause *= 2;
            continue;
        }
        let Some(now) = ThreadStatus::read(pid, tid) else { return Err(Error::new(tid, Kind::Gone, "stopping")) };
        if now.is_dead() {
            // It may have reported just before it was seen dead.
            return ptrace::try_wait(tid, false)?.ok_or(Error::new(tid, Kind::Gone, "stopping"));
        }
        if now.state == b'D' && begin.elapsed() > VFORK_LIMIT && status::is_in_vfork(pid, tid) {
            return Err(Error::new(tid, Kind::InVfork, "stopping"));
        }
        if begin.elapsed() > STOP_LIMIT {
            return Err(Error::new(tid, Kind::Unresponsive, "stopping"));
        }
    }
}
