//! What restart_syscall(2) goes on with. A thread that sleeps with a timeout and was interrupted before, by a stop signal, a tracer or a
//! dump that let it run on, is in that call; the one it had made, whose arguments its registers still have, is known to the kernel alone.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use criu_compel::Regs;
use criu_compel::arch::{Restart, restart_of};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sys::kernel::{Address, Kernel};

/// PIDFD_THREAD (Linux 6.9).
const OF_THREAD: u32 = libc::O_EXCL as u32;

/// The functions by which the kernel goes on, and the calls that they belong to.
const CALLS: [(&str, Sleep); 5] = [
    ("hrtimer_nanosleep_restart", Sleep::Timer),
    ("posix_cpu_nsleep_restart", Sleep::OtherClock),
    ("alarm_timer_nsleep_restart", Sleep::OtherClock),
    ("do_restart_poll", Sleep::Poll),
    ("futex_wait_restart", Sleep::Futex),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sleep {
    /// nanosleep, or clock_nanosleep by one of the clocks that timers have.
    Timer,
    OtherClock,
    Poll,
    Futex,
}

impl Sleep {
    fn number(self, first_argument: u64) -> i64 {
        // nanosleep has an address there, clock_nanosleep the number of a clock.
        const FIRST_ADDRESS: u64 = 4096;
        match self {
            Sleep::Timer if first_argument >= FIRST_ADDRESS => libc::SYS_nanosleep,
            Sleep::Timer | Sleep::OtherClock => libc::SYS_clock_nanosleep,
            Sleep::Poll => libc::SYS_poll,
            Sleep::Futex => libc::SYS_futex,
        }
    }
}

/// The number of the call that a stopped thread has to make once more, when its registers do not say so. `None` also when it cannot be
/// found out: the call then ends with EINTR.
pub fn call_behind(tid: i32, regs: &Regs) -> Option<u64> {
    if restart_of(regs) != Restart::Block || regs.orig_rax != libc::SYS_restart_syscall as u64 {
        return None;
    }
    let sleep = sleep_of(tid).inspect_err(|e| {
        log::warn!(
            "thread {tid}: what it waits for with a timeout cannot be found out ({e}); the wait will end with EINTR"
        );
    });
    sleep.ok().map(|sleep| sleep.number(regs.rdi) as u64)
}

fn sleep_of(tid: i32) -> io::Result<Sleep> {
    static FUNCTIONS: OnceLock<Vec<(Address, Sleep)>> = OnceLock::new();
    let kernel = Kernel::open()?;
    let pid = Pid::from_raw(tid).ok_or(io::ErrorKind::InvalidInput)?;
    let thread =
        pidfd_open(pid, PidfdFlags::from_bits_retain(OF_THREAD)).or_else(|_| pidfd_open(pid, PidfdFlags::empty()))?;
    let function = kernel.number(kernel.task_of(thread.as_fd())?, "task_struct", "restart_block.fn")?;
    let functions = FUNCTIONS
        .get_or_init(|| CALLS.iter().filter_map(|(name, sleep)| Some((kernel.symbol(name).ok()?, *sleep))).collect());
    let found = functions.iter().find(|(address, _)| *address == function);
    found.map(|(_, sleep)| *sleep).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_no_address() {
        assert_eq!(Sleep::Timer.number(0x7ffc_0000_1000), libc::SYS_nanosleep);
        assert_eq!(Sleep::Timer.number(0x40_0000), libc::SYS_nanosleep);
        assert_eq!(Sleep::Timer.number(libc::CLOCK_BOOTTIME as u64), libc::SYS_clock_nanosleep);
        assert_eq!(Sleep::OtherClock.number(-6_i64 as u64), libc::SYS_clock_nanosleep);
    }

    #[test]
    fn other_registers_need_no_look() {
        // SAFETY: the structure is plain integers, for which zeros are values.
        let mut regs: Regs = unsafe { std::mem::zeroed() };
        regs.orig_rax = libc::SYS_poll as u64;
        regs.rax = (-516_i64) as u64;
        assert_eq!(call_behind(-1, &regs), None);
        regs.orig_rax = libc::SYS_restart_syscall as u64;
        regs.rax = (-512_i64) as u64;
        assert_eq!(call_behind(-1, &regs), None);
    }
}
