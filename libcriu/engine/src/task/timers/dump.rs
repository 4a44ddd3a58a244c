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

/// Why a timer on its clock cannot be brought back, if so, in a process of these threads.
pub fn unsupported_clock(timer: &PosixTimer, pid: i32, threads: &[i32]) -> Option<&'static str> {
    const NAMELESS: &str = "a timer on the CPU clock of one of several threads cannot be saved: nothing tells of which";
    match timer.clock {
        clock if counts_time(clock) => None,
        libc::CLOCK_PROCESS_CPUTIME_ID => None,
        libc::CLOCK_THREAD_CPUTIME_ID => (threads.len() > 1).then_some(NAMELESS),
        clock => match CpuClock::of(clock) {
            Some(CpuClock { of_thread: false, id: 0 }) => None,
            Some(CpuClock { of_thread: true, id: 0 }) => (threads.len() > 1).then_some(NAMELESS),
            Some(CpuClock { of_thread: false, id }) if id == pid => None,
            Some(CpuClock { of_thread: true, id }) if threads.contains(&id) => None,
            _ => Some("a timer on the CPU clock of another task, or on a device's clock, cannot be saved"),
        },
    }
}

/// Does the clock go on whether the task runs or not?
pub fn counts_time(clock: i32) -> bool {
    matches!(
        clock,
        libc::CLOCK_REALTIME
            | libc::CLOCK_MONOTONIC
            | libc::CLOCK_BOOTTIME
            | libc::CLOCK_TAI
            | libc::CLOCK_REALTIME_ALARM
            | libc::CLOCK_BOOTTIME_ALARM
    )
}

/// What a negative clock number names: the CPU clock of a process or thread, which stands in the upper bits, inverted; 0 is
/// whoever made the timer.
struct CpuClock {
    of_thread: bool,
    id: i32,
}

impl CpuClock {
    fn of(clock: i32) -> Option<CpuClock> {
        /// In the lowest two bits: a descriptor of a device's clock, no CPU clock.
        const DEVICE: i32 = 3;
        const OF_THREAD: i32 = 4;
        (clock < 0 && clock & 3 != DEVICE).then_some(CpuClock { of_thread: clock & OF_THREAD != 0, id: !(clock >> 3) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_clocks_by_number() {
        let refused = |clock: i32, threads: &[i32]| {
            let timer = PosixTimer { id: 0, signo: 0, value: 0, notify: 0, tid: None, clock };
            unsupported_clock(&timer, 7, threads).is_some()
        };
        let of_process = |pid: i32| (!pid << 3) | 2;
        let of_thread = |tid: i32| (!tid << 3) | 6;
        assert!(!refused(of_process(0), &[7, 8]) && !refused(of_process(7), &[7, 8]));
        assert!(refused(of_process(8), &[7, 8]) && refused(of_process(9), &[7]));
        assert!(!refused(of_thread(0), &[7]) && refused(of_thread(0), &[7, 8]));
        assert!(!refused(of_thread(7), &[7, 8]) && !refused(of_thread(8), &[7, 8]) && refused(of_thread(9), &[7, 8]));
        assert!(refused((!5 << 3) | 3, &[7]), "a device's");
    }
}
