//! System calls that `criu check` makes to find out what the kernel can do. None of them leaves anything behind.

pub mod memory;
pub mod socket;
pub mod task;

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

fn result(r: i64) -> io::Result<i64> {
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r) }
}

/// An ioctl whose argument is a buffer of bytes; `request` must be one that reads or writes no more than `data` holds.
/// Returns the call's value.
fn ioctl(fd: impl AsFd, request: u32, data: &mut [u8; 64]) -> io::Result<i64> {
    // SAFETY: `data` is writable for 64 bytes, and every caller in this folder passes a request whose argument is smaller.
    result(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as libc::Ioctl, data.as_mut_ptr()) }.into())
}

/// Takes a descriptor that a system call has just returned.
fn new_fd(raw: i64) -> OwnedFd {
    // SAFETY: every caller passes the value of a successful call that made a new descriptor; nothing else knows it.
    unsafe { OwnedFd::from_raw_fd(raw as i32) }
}

/// TUNGETDEVNETNS on a tun descriptor without a device: EBADFD where the kernel knows the call.
///
/// # Errors
/// What the kernel answered.
pub fn tun_device_namespace(tun: impl AsFd) -> io::Result<()> {
    const TUNGETDEVNETNS: u32 = 0x54e3;
    ioctl(tun, TUNGETDEVNETNS, &mut [0; 64]).map(|fd| drop(new_fd(fd)))
}

/// TUNGETFEATURES on a tun descriptor.
///
/// # Errors
/// What the kernel answered.
pub fn tun_features(tun: impl AsFd) -> io::Result<()> {
    const TUNGETFEATURES: u32 = 0x8004_54cf;
    ioctl(tun, TUNGETFEATURES, &mut [0; 64]).map(|_| ())
}

/// TFD_IOC_SET_TICKS on a timerfd.
///
/// # Errors
/// What the kernel answered.
pub fn timerfd_set_ticks(timer: impl AsFd) -> io::Result<()> {
    const TFD_IOC_SET_TICKS: u32 = 0x4008_5400;
    let mut data = [0; 64];
    data[0] = 1;
    ioctl(timer, TFD_IOC_SET_TICKS, &mut data).map(|_| ())
}

/// `move_mount("", "", MOVE_MOUNT_SET_GROUP)`: ENOENT where the kernel knows the flag, EINVAL where not.
pub fn move_mount_set_group() -> io::Error {
    const MOVE_MOUNT_SET_GROUP: usize = 0x100;
    // SAFETY: both paths are NUL-terminated and live for the program; without AT_EMPTY_PATH the call cannot succeed.
    let r = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            libc::AT_FDCWD,
            c"".as_ptr(),
            libc::AT_FDCWD,
            c"".as_ptr(),
            MOVE_MOUNT_SET_GROUP,
        )
    };
    if r == 0 { io::Error::other("it moved nothing to nowhere") } else { io::Error::last_os_error() }
}

/// prctl(PR_TIMER_CREATE_RESTORE_IDS, GET). Linux 6.15.
///
/// # Errors
/// EINVAL where the kernel does not know it.
pub fn timer_create_restore_ids() -> io::Result<()> {
    const PR_TIMER_CREATE_RESTORE_IDS: i32 = 77;
    const GET: usize = 2;
    // SAFETY: this prctl takes numbers only and changes nothing.
    result(unsafe { libc::prctl(PR_TIMER_CREATE_RESTORE_IDS, GET, 0, 0, 0) }.into()).map(|_| ())
}
