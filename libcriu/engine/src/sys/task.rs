//! What the kernel tells about another task to whoever may ask.

use std::io;

/// `struct sched_attr` as of Linux 3.14.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// The scheduling of a thread.
///
/// # Errors
/// ESRCH when it is gone.
///
/// # References
/// sched_getattr(2).
pub fn sched_getattr(tid: i32) -> io::Result<SchedAttr> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>();
    // SAFETY: the kernel writes at most `size` bytes to `attr`.
    let r = unsafe { libc::syscall(libc::SYS_sched_getattr, tid, &mut attr, size, 0) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(attr) }
}
