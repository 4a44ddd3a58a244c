//! Timers from an image: their values are remaining times.

use criu_images::messages::{ItimerEntry, TaskTimersEntry};
use criu_pie::abi::restorer::{IntervalTimer, PosixTimer};

const MICROS: u64 = 1_000_000;
const NANOS: u64 = 1_000_000_000;
/// The longest time the kernel keeps, in seconds.
const LONGEST: u64 = i64::MAX as u64 / NANOS;

/// # Errors
/// In words.
pub fn itimers(t: Option<&TaskTimersEntry>) -> Result<Vec<IntervalTimer>, String> {
    let Some(t) = t else { return Ok(Vec::new()) };
    let three = [(libc::ITIMER_REAL, &t.real), (libc::ITIMER_VIRTUAL, &t.virt), (libc::ITIMER_PROF, &t.prof)];
    let armed = three.into_iter().filter(|(_, e)| e.vsec != 0 || e.vusec != 0 || e.isec != 0 || e.iusec != 0);
    armed.map(|(which, e)| itimer(which as u64, e)).collect()
}

fn itimer(which: u64, e: &ItimerEntry) -> Result<IntervalTimer, String> {
    if e.iusec >= MICROS || e.vusec >= MICROS || e.isec > LONGEST || e.vsec > LONGEST {
        return Err(format!("interval timer {which} has an impossible time"));
    }
    // While a signal of a repeating timer waits to be delivered, the kernel has not armed it anew and shows no time left.
    let rang = e.vsec == 0 && e.vusec == 0;
    let (value_s, value_us) = if rang { (e.isec, e.iusec) } else { (e.vsec, e.vusec) };
    Ok(IntervalTimer { which, interval_s: e.isec, interval_us: e.iusec, value_s, value_us })
}

/// Sorted by id. `has_thread` tells whether a thread id is one of the task's.
///
/// # Errors
/// In words.
pub fn posix(t: Option<&TaskTimersEntry>, has_thread: impl Fn(i32) -> bool) -> Result<Vec<PosixTimer>, String> {
    let mut timers = Vec::new();
    for e in t.map_or(&[][..], |t| &t.posix) {
        let bad = |why: &str| Err(format!("POSIX timer {}: {why}", e.it_id));
        let notify = e.it_sigev_notify as i32;
        if e.insec >= NANOS || e.vnsec >= NANOS || e.isec > LONGEST || e.vsec > LONGEST {
            return bad("an impossible time");
        }
        if e.it_id > i32::MAX as u32 {
            return bad("an impossible id");
        }
        let notify_tid = e.notify_thread_id.unwrap_or(0);
        if notify & libc::SIGEV_THREAD_ID != 0 && !has_thread(notify_tid) {
            return bad(&format!("it notifies thread {notify_tid}, which is not in the task"));
        }
        timers.push(PosixTimer {
            id: e.it_id,
            clock: e.clock_id as i32,
            signo: e.si_signo as i32,
            notify,
            notify_tid,
            pad: 0,
            value: e.sival_ptr,
            interval_s: e.isec,
            interval_ns: e.insec,
            value_s: e.vsec,
            value_ns: e.vnsec,
        });
    }
    timers.sort_by_key(|t| t.id);
    match timers.windows(2).find(|w| w[0].id == w[1].id) {
        Some(w) => Err(format!("POSIX timer {} is there twice", w[0].id)),
        None => Ok(timers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeating_timer_whose_signal_waits_rings_again() {
        let entry = ItimerEntry { isec: 0, iusec: 20_000, vsec: 0, vusec: 0 };
        let timer = itimer(0, &entry).unwrap();
        assert_eq!((timer.value_s, timer.value_us), (0, 20_000));
        let entry = ItimerEntry { vusec: 7, ..entry };
        assert_eq!(itimer(0, &entry).unwrap().value_us, 7);
    }
}
