//! Timer descriptors with every clock the kernel takes, and their unread expirations.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `_IOW('T', 0, u64)`
const TFD_IOC_SET_TICKS: libc::Ioctl = 0x4008_5400;

fn check(ret: i32) -> io::Result<i32> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// # References
/// timerfd_create(2); the alarm clocks need CAP_WAKE_ALARM.
pub(crate) fn create(clock: i32, nonblock: bool) -> io::Result<OwnedFd> {
    let flags = libc::TFD_CLOEXEC | if nonblock { libc::TFD_NONBLOCK } else { 0 };
    // SAFETY: integers only.
    let fd = check(unsafe { libc::timerfd_create(clock, flags) })?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn timespec(t: (u64, u64)) -> libc::timespec {
    libc::timespec { tv_sec: t.0 as libc::time_t, tv_nsec: t.1 as libc::c_long }
}

/// Sets the timer; times are (seconds, nanoseconds).
pub(crate) fn settime(fd: BorrowedFd<'_>, flags: i32, value: (u64, u64), interval: (u64, u64)) -> io::Result<()> {
    let spec = libc::itimerspec { it_interval: timespec(interval), it_value: timespec(value) };
    // SAFETY: `spec` is read; no old value is asked for.
    check(unsafe { libc::timerfd_settime(fd.as_raw_fd(), flags, &spec, std::ptr::null_mut()) })?;
    Ok(())
}

/// Sets how many expirations a read will tell of.
///
/// # References
/// timerfd_create(2), Linux 3.17 with CONFIG_CHECKPOINT_RESTORE
pub(crate) fn set_ticks(fd: BorrowedFd<'_>, ticks: u64) -> io::Result<()> {
    // SAFETY: the request reads one u64.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), TFD_IOC_SET_TICKS, &ticks) })?;
    Ok(())
}

/// What a clock shows, as (seconds, nanoseconds).
pub(crate) fn now(clock: i32) -> io::Result<(u64, u64)> {
    let mut t = timespec((0, 0));
    // SAFETY: writes one timespec.
    check(unsafe { libc::clock_gettime(clock, &mut t) })?;
    Ok((t.tv_sec as u64, t.tv_nsec as u64))
}
