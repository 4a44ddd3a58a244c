//! Timers of the process: interval timers and POSIX timers, and how often the latter ran over.

use core::sync::atomic::Ordering;

use crate::abi::{Args, IntervalTimer, PosixTimer, SigInfo, Step, Thread};
use crate::report::{check, fail};
use crate::{call, slice, wait, wake};

const SYS_SETITIMER: i64 = 38;
const SYS_RT_SIGTIMEDWAIT: i64 = 128;
const SYS_RT_SIGQUEUEINFO: i64 = 129;
const SYS_PRCTL: i64 = 157;
const SYS_TIMER_CREATE: i64 = 222;
const SYS_TIMER_SETTIME: i64 = 223;
const SYS_TIMER_GETTIME: i64 = 224;
const SYS_TIMER_GETOVERRUN: i64 = 225;
const SYS_TIMER_DELETE: i64 = 226;
const SYS_CLOCK_GETTIME: i64 = 228;
const PR_TIMER_CREATE_RESTORE_IDS: u64 = 77;
const TIMER_ABSTIME: u64 = 1;
const SI_TIMER: i32 = -2;
const NANOS: i64 = 1_000_000_000;

/// The leader's first part: all POSIX timers are there afterwards, and those that have run over are set.
pub(crate) fn create_all(args: &Args, me: &Thread) {
    if args.timers.count == 0 {
        return;
    }
    let timers = slice::<PosixTimer>(args, args.timers);
    // Linux 6.16 creates a timer under a chosen id; before, ids count up and the gaps are made by hand.
    let chosen = call(SYS_PRCTL, [PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0, 0]) == 0;
    for t in timers {
        create(args, t, chosen);
    }
    if chosen {
        call(SYS_PRCTL, [PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0, 0]);
    }
    args.timers_made.store(1, Ordering::SeqCst);
    wake(&args.timers_made);
    overrun_own(args, me);
    // No other signal is to come while one is waited for.
    let others = timers.iter().filter(|t| t.overrun != 0 && t.notify_tid != 0 && t.notify_tid != me.tid).count();
    loop {
        let done = args.timers_overrun.load(Ordering::SeqCst);
        if done >= others as u32 {
            return;
        }
        wait(&args.timers_overrun, done);
    }
}

/// Starts all others. What is pending is there by then: signals of timers come behind.
pub(crate) fn start(args: &Args) {
    for t in slice::<PosixTimer>(args, args.timers).iter().filter(|t| t.overrun == 0 && t.rings == 0) {
        set(args, t, 0, (t.value_s, t.value_ns));
    }
    for t in slice::<IntervalTimer>(args, args.itimers) {
        let ret = call(SYS_SETITIMER, [t.which, &raw const t.interval_s as u64, 0, 0, 0, 0]);
        check(args, Step::IntervalTimer, ret, t.which);
    }
}

/// Lets those timers run over whose signals come to this thread; to the leader, those of the process too.
pub(crate) fn overrun_own(args: &Args, me: &Thread) {
    let is_own = |t: &&PosixTimer| {
        t.overrun != 0 && (t.notify_tid == me.tid || t.notify_tid == 0 && me.tid == args.pid)
    };
    for t in slice::<PosixTimer>(args, args.timers).iter().filter(is_own) {
        await_timers(args);
        overrun(args, t);
        if me.tid != args.pid {
            args.timers_overrun.fetch_add(1, Ordering::SeqCst);
            wake(&args.timers_overrun);
        }
    }
}

fn await_timers(args: &Args) {
    while args.timers_made.load(Ordering::SeqCst) == 0 {
        wait(&args.timers_made, 0);
    }
}

/// If the signal is from a timer that is to ring again: lets it do so, as long ago as it had, and tells that this was done.
pub(crate) fn ring(args: &Args, info: &SigInfo) -> bool {
    /// The interrupt by which a timer rings at once may come a little later.
    const TRIES: u32 = 1_000_000;
    if word(info, 8) != SI_TIMER {
        return false;
    }
    let timers = slice::<PosixTimer>(args, args.timers);
    let Ok(at) = timers.binary_search_by_key(&(word(info, 16) as u32), |t| t.id) else { return false };
    let Some(t) = timers.get(at).filter(|t| t.rings != 0) else { return false };
    await_timers(args);
    let Some(first) = first(args, t, word(info, 20), nanos(t.value_s, t.value_ns)) else {
        set(args, t, 0, (t.value_s, t.value_ns));
        return false;
    };
    set(args, t, TIMER_ABSTIME, first);
    for _ in 0..TRIES {
        let mut now = [0_u64; 4];
        let ret = call(SYS_TIMER_GETTIME, [t.id.into(), now.as_mut_ptr() as u64, 0, 0, 0, 0]);
        check(args, Step::PosixTimer, ret, t.id.into());
        // The kernel's word for one that is about to.
        if (now[2], now[3]) != (0, 1) {
            break;
        }
    }
    true
}

/// When a timer must have rung first that has run over so often, and rings again in `left`; `None`: its clock was not running yet on
/// this machine.
fn first(args: &Args, t: &PosixTimer, overrun: i32, left: i64) -> Option<(u64, u64)> {
    let mut now = [0_u64; 2];
    let ret = call(SYS_CLOCK_GETTIME, [t.clock as u64, now.as_mut_ptr() as u64, 0, 0, 0, 0]);
    check(args, Step::PosixTimer, ret, t.id.into());
    let ago = nanos(t.interval_s, t.interval_ns).checked_mul(i64::from(overrun) + 1)?;
    let first = nanos(now[0], now[1]).checked_add(left)?.checked_sub(ago).filter(|at| *at > 0)?;
    Some(((first / NANOS) as u64, (first % NANOS) as u64))
}

/// The kernel counts when it delivers a signal how many intervals have gone by since. So the timer is started so long ago that
/// it has rung, and run over, as often as it had, and its signal is taken.
fn overrun(args: &Args, t: &PosixTimer) {
    /// Another interval may go by meanwhile.
    const TRIES: u32 = 8;
    let interval = nanos(t.interval_s, t.interval_ns);
    let mut left = nanos(t.value_s, t.value_ns);
    for _ in 0..TRIES {
        let Some(first) = first(args, t, t.overrun, left) else {
            set(args, t, 0, (t.value_s, t.value_ns));
            return;
        };
        set(args, t, TIMER_ABSTIME, first);
        take(args, t);
        if call(SYS_TIMER_GETOVERRUN, [t.id.into(), 0, 0, 0, 0, 0]) == i64::from(t.overrun) {
            return;
        }
        left = interval;
    }
}

/// Takes the timer's signal.
fn take(args: &Args, t: &PosixTimer) {
    let (mask, second) = (1_u64 << (t.signo - 1), [1_u64, 0]);
    loop {
        let mut info = SigInfo([0; 128]);
        let a = [&raw const mask as u64, info.0.as_mut_ptr() as u64, second.as_ptr() as u64, 8, 0, 0];
        let ret = call(SYS_RT_SIGTIMEDWAIT, a);
        check(args, Step::PosixTimer, ret, t.id.into());
        if word(&info, 8) == SI_TIMER && word(&info, 16) == t.id as i32 {
            return;
        }
        // One that somebody else has sent.
        let a = [args.pid as u64, t.signo as u64, info.0.as_ptr() as u64, 0, 0, 0];
        check(args, Step::Pending, call(SYS_RT_SIGQUEUEINFO, a), t.signo as u64);
    }
}

fn word(info: &SigInfo, at: usize) -> i32 {
    i32::from_ne_bytes([info.0[at], info.0[at + 1], info.0[at + 2], info.0[at + 3]])
}

fn nanos(s: u64, ns: u64) -> i64 {
    // The engine has looked whether they fit.
    (s as i64).wrapping_mul(NANOS).wrapping_add(ns as i64)
}

fn set(args: &Args, t: &PosixTimer, flags: u64, value: (u64, u64)) {
    // struct itimerspec.
    let times = [t.interval_s, t.interval_ns, value.0, value.1];
    let ret = call(SYS_TIMER_SETTIME, [t.id.into(), flags, times.as_ptr() as u64, 0, 0, 0]);
    check(args, Step::PosixTimer, ret, t.id.into());
}

fn create(args: &Args, t: &PosixTimer, chosen: bool) {
    // struct sigevent: value, signal and kind, thread.
    let mut event = [0_u64; 8];
    event[0] = t.value;
    event[1] = u64::from(t.signo as u32) | u64::from(t.notify as u32) << 32;
    event[2] = u64::from(t.notify_tid as u32);
    loop {
        let mut id: u32 = t.id;
        let ret = call(SYS_TIMER_CREATE, [t.clock as u64, event.as_ptr() as u64, &raw mut id as u64, 0, 0, 0]);
        check(args, Step::PosixTimer, ret, t.id.into());
        // SAFETY: a live local; the kernel may have written to it behind the compiler's back.
        let id = unsafe { (&raw const id).read_volatile() };
        if id == t.id {
            return;
        }
        call(SYS_TIMER_DELETE, [id.into(), 0, 0, 0, 0, 0]);
        if chosen || id > t.id {
            fail(args, Step::PosixTimer, -17, t.id.into());
        }
    }
}
