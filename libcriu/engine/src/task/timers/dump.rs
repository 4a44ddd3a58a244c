//! What timers there are is read from /proc; how long they still have to run, and how often they ran over, the task alone can ask.

use criu_compel::TimerValue;
use criu_images::messages::{ItimerEntry, PosixTimerEntry};

use crate::proc::PosixTimer;

/// The image of an interval timer, in seconds and microseconds.
pub fn itimer(value: TimerValue) -> ItimerEntry {
    ItimerEntry {
        isec: value.interval.0 as u64,
        iusec: value.interval.1 as u64,
        vsec: value.left.0 as u64,
        vusec: value.left.1 as u64,
    }
}

/// The image of a POSIX timer that stands as `now` says, in seconds and nanoseconds.
pub fn posix(timer: &PosixTimer, now: &criu_compel::PosixTimer) -> PosixTimerEntry {
    PosixTimerEntry {
        it_id: timer.id,
        clock_id: timer.clock as u32,
        si_signo: timer.signo,
        it_sigev_notify: timer.notify,
        sival_ptr: timer.value,
        overrun: now.overrun as u32,
        isec: now.value.interval.0 as u64,
        insec: now.value.interval.1 as u64,
        vsec: now.value.left.0 as u64,
        vnsec: now.value.left.1 as u64,
        notify_thread_id: timer.tid,
    }
}

/// How the kernel names the CPU clocks of the process and of the thread that made the timer.
const OWN_PROCESS_CLOCK: i32 = -6;
const OWN_THREAD_CLOCK: i32 = -2;

/// Why a timer on its clock cannot be brought back, if so, in a process of so many threads.
pub fn unsupported_clock(timer: &PosixTimer, threads: usize) -> Option<&'static str> {
    match timer.clock {
        libc::CLOCK_REALTIME
        | libc::CLOCK_MONOTONIC
        | libc::CLOCK_BOOTTIME
        | libc::CLOCK_TAI
        | libc::CLOCK_REALTIME_ALARM
        | libc::CLOCK_BOOTTIME_ALARM
        | libc::CLOCK_PROCESS_CPUTIME_ID
        | OWN_PROCESS_CLOCK => None,
        libc::CLOCK_THREAD_CPUTIME_ID | OWN_THREAD_CLOCK if threads == 1 => None,
        libc::CLOCK_THREAD_CPUTIME_ID | OWN_THREAD_CLOCK => {
            Some("a timer on the CPU clock of one of several threads cannot be saved: nothing tells of which")
        }
        _ => Some("a timer on the CPU clock of another task, or on a device's clock, cannot be saved"),
    }
}
