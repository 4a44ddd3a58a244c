//! Timers from an image: their values are remaining times.

use std::collections::HashMap;

use criu_images::messages::{ItimerEntry, PosixTimerEntry, TaskTimersEntry};
use criu_pie::abi::restorer::{IntervalTimer, PosixTimer, SigInfo};

use super::dump::counts_time;
use super::overrun::of_timer;

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
        let is_of_thread = notify & libc::SIGEV_THREAD_ID != 0;
        let notify_tid = e.notify_thread_id.filter(|_| is_of_thread).unwrap_or(0);
        if is_of_thread && !has_thread(notify_tid) {
            return bad(&format!("it notifies thread {notify_tid}, which is not in the task"));
        }
        let overrun = if e.overrun == 0 {
            0
        } else {
            overrun(e).unwrap_or_else(|why| {
                log::warn!("POSIX timer {}: it ran over {} times, which is 0 from now on: {why}", e.it_id, e.overrun);
                0
            })
        };
        timers.push(PosixTimer {
            id: e.it_id,
            clock: e.clock_id as i32,
            signo: e.si_signo as i32,
            notify,
            notify_tid,
            overrun,
            rings: 0,
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

/// How often a timer had run over, as it can be brought about again.
fn overrun(e: &PosixTimerEntry) -> Result<i32, &'static str> {
    let overrun = i32::try_from(e.overrun).map_err(|_| NEVER)?;
    can_run_over(e, overrun).map(|()| overrun)
}

const NEVER: &str = "such a timer never does";

fn can_run_over(e: &PosixTimerEntry, overrun: i32) -> Result<(), &'static str> {
    let clock = e.clock_id as i32;
    if !counts_time(clock) {
        return Err("that of a CPU clock's timer cannot be set");
    }
    let nanos = |s: u64, ns: u64| i128::from(s) * i128::from(NANOS) + i128::from(ns);
    let (interval, left) = (nanos(e.isec, e.insec), nanos(e.vsec, e.vnsec));
    let signo = e.si_signo as i32;
    let is_signal = (1..=64).contains(&signo) && ![libc::SIGKILL, libc::SIGSTOP].contains(&signo);
    let notifies = [libc::SIGEV_SIGNAL, libc::SIGEV_THREAD_ID].contains(&(e.it_sigev_notify as i32));
    if !is_signal || !notifies || left == 0 || left > interval || overrun < 0 {
        return Err(NEVER);
    }
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    let is_known = unsafe { libc::clock_gettime(clock, &raw mut now) } == 0;
    let began = i128::from(now.tv_sec) * i128::from(NANOS) + left - interval * (i128::from(overrun) + 1);
    if is_known && began > 0 { Ok(()) } else { Err("its clock has not run for that long on this machine") }
}

/// Finds the timers whose signals wait, and can be brought about by letting them ring: the kernel goes on counting then, and what it
/// has counted is told to the program in every way. `pending`: each signal that waits, and for which thread, 0 for the process.
pub fn find_ringing<'a>(
    timers: &mut [PosixTimer],
    entries: Option<&TaskTimersEntry>,
    pending: impl Iterator<Item = (i32, &'a SigInfo)>,
) {
    let mut waiting: HashMap<i32, Vec<(i32, &SigInfo, i32)>> = HashMap::new();
    for (tid, info) in pending {
        if let Some((id, overrun)) = of_timer(&info.0) {
            waiting.entry(id).or_default().push((tid, info, overrun));
        }
    }
    if waiting.is_empty() {
        return;
    }
    let number = |info: &SigInfo, at: usize| info.0[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
    for e in entries.map_or(&[][..], |t| &t.posix) {
        let Some([(tid, info, overrun)]) = waiting.get(&(e.it_id as i32)).map(|all| &all[..]) else { continue };
        let at = timers.binary_search_by_key(&e.it_id, |t| t.id);
        let Some(timer) = at.ok().and_then(|at| timers.get_mut(at)) else { continue };
        let is_its_own =
            number(info, 0) as u32 == e.si_signo && number(info, 24) == e.sival_ptr && *tid == timer.notify_tid;
        // What timer_getoverrun tells of the signal before would be lost.
        if timer.overrun == 0 && is_its_own && can_run_over(e, *overrun).is_ok() {
            timer.rings = 1;
        }
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
    #[test]
    fn overruns_that_can_be_brought_about() {
        let timer = |change: &dyn Fn(&mut PosixTimerEntry)| {
            let mut e = PosixTimerEntry {
                clock_id: libc::CLOCK_REALTIME as u32,
                si_signo: 34,
                it_sigev_notify: libc::SIGEV_SIGNAL as u32,
                overrun: 4,
                isec: 1000,
                vsec: 500,
                ..PosixTimerEntry::default()
            };
            change(&mut e);
            overrun(&e).ok()
        };
        assert_eq!(timer(&|_| ()), Some(4));
        assert_eq!(timer(&|e| e.vsec = 1001), None);
        assert_eq!(timer(&|e| e.vsec = 0), None);
        assert_eq!(timer(&|e| e.overrun = u32::MAX), None);
        assert_eq!(timer(&|e| e.overrun = i32::MAX as u32), None, "before 1970");
        assert_eq!(timer(&|e| e.clock_id = libc::CLOCK_PROCESS_CPUTIME_ID as u32), None);
        assert_eq!(timer(&|e| e.clock_id = -6_i32 as u32), None);
        assert_eq!(timer(&|e| e.si_signo = libc::SIGKILL as u32), None);
        assert_eq!(timer(&|e| e.si_signo = 65), None);
        assert_eq!(timer(&|e| e.it_sigev_notify = libc::SIGEV_NONE as u32), None);
    }
}
