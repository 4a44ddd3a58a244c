//! How often repeating POSIX timers have run over. For the signal that was taken last the program can ask (timer_getoverrun). For
//! one that waits the kernel alone knows: it stands in the signal when that is delivered, and in its image before.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use criu_compel::TimerValue;
use criu_images::messages::SiginfoEntry;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::dump::counts_time;
use crate::proc::PosixTimer;
use crate::sys::kernel::{Address, Kernel};

/// Where overruns are in the kernel's `siginfo_t`.
const OVERRUN: std::ops::Range<usize> = 20..24;

/// The timer that a signal is from, of the kernel's `siginfo_t`; and how often it had run over, if it is known.
pub fn of_timer(info: &[u8]) -> Option<(i32, i32)> {
    const SI_TIMER: i32 = -2;
    let word = |at: usize| info.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes);
    (word(8)? == SI_TIMER).then_some(())?;
    word(16).zip(word(OVERRUN.start))
}

/// Which timers have rung since the task was asked, or just before.
pub struct Rung<'a> {
    pub is: &'a dyn Fn(i32) -> bool,
    /// How long ago it was asked, at most.
    pub since: Duration,
}

/// Puts into signals that wait how often their timers have run over; the log tells of what will be lost. `now` is what the task has
/// said of its timers; those that have rung afterwards are brought up to date.
pub fn tell_overruns<'a>(
    pid: i32,
    timers: &[PosixTimer],
    now: &mut [criu_compel::PosixTimer],
    pending: impl Iterator<Item = &'a mut SiginfoEntry>,
    rung: &Rung<'_>,
) {
    for (timer, now) in timers.iter().zip(&*now).filter(|(t, now)| now.overrun != 0 && !counts_time(t.clock)) {
        log::warn!(
            "pid {pid}: POSIX timer {} ran over {} times, which a restore cannot set for a CPU clock",
            timer.id,
            now.overrun
        );
    }
    let mut by_id: HashMap<i32, &mut TimerValue> = now.iter_mut().map(|t| (t.id, &mut t.value)).collect();
    let mut known = None;
    // The last one of a timer is its own; others are what a restore has queued.
    let pending: Vec<_> = pending.filter_map(|s| Some((of_timer(&s.siginfo)?.0, s))).collect();
    for (id, signal) in pending.into_iter().rev() {
        let Some(value) = by_id.remove(&id) else { continue };
        let has_rung = (rung.is)(id);
        if value.interval == (0, 0) {
            if has_rung {
                value.left = (0, 0);
            }
            continue;
        }
        let known = known.get_or_insert_with(|| in_kernel(pid, timers.len()).map_err(|e| e.to_string()));
        let count = known.as_ref().map(|known| known.get(&id).copied());
        let count = match count {
            // The kernel counts when the task asks, one for the ring itself: this is one that rang later, or does not wait at all.
            Ok(Some(count)) if count < 0 && !has_rung => continue,
            Ok(Some(count)) => count,
            why => {
                let why = why.err().map_or("the kernel has no such timer", String::as_str);
                log::warn!(
                    "pid {pid}: how often POSIX timer {id} has run over while its signal waits cannot be found out ({why}): a restore begins at 0"
                );
                let is_later = has_rung && seconds(value.left) <= rung.since.as_secs_f64();
                if is_later { -1 } else { 0 }
            }
        };
        if count < 0 {
            value.left = sum(value.left, value.interval);
        }
        if let (Ok(_), Some(at)) = (&known, signal.siginfo.get_mut(OVERRUN)) {
            at.copy_from_slice(&(count.clamp(0, i32::MAX.into()) as i32).to_ne_bytes());
        }
    }
}

fn seconds(time: (i64, i64)) -> f64 {
    Duration::new(time.0.max(0) as u64, time.1.clamp(0, NANOS - 1) as u32).as_secs_f64()
}

fn sum(a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
    let nanos = a.1 + b.1;
    (a.0 + b.0 + nanos / NANOS, nanos % NANOS)
}

const NANOS: i64 = 1_000_000_000;

/// Counts of all timers, by id, up to when the task asked for their values last. They mean something for those whose signals wait.
///
/// # References
/// `it_overrun` of the kernel's `struct k_itimer`, -1 for none
fn in_kernel(pid: i32, most: usize) -> io::Result<HashMap<i32, i64>> {
    let kernel = Kernel::open()?;
    let process = pidfd_open(Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?, PidfdFlags::empty())?;
    let signal = kernel.number(kernel.task_of(process.as_fd())?, "task_struct", "signal")?;
    let head = kernel.place(signal, "signal_struct", "posix_timers")?;
    let offset = kernel.layouts.member("k_itimer", "list")?.offset as u64;
    let pointer = |at: Address| {
        let mut bytes = [0; 8];
        kernel.read(at, &mut bytes)?;
        Ok::<_, io::Error>(u64::from_ne_bytes(bytes))
    };
    let mut counts = HashMap::new();
    let mut node = pointer(head)?;
    while node != 0 && node != head && counts.len() < most {
        let timer = node.wrapping_sub(offset);
        let id = kernel.number(timer, "k_itimer", "it_id")? as i32;
        let overrun = kernel.number(timer, "k_itimer", "it_overrun")? as i64;
        if counts.insert(id, overrun).is_some() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        node = pointer(node)?;
    }
    Ok(counts)
}
