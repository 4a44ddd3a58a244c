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

/// Gives a thread its scheduling.
///
/// # Errors
/// EBUSY: under SCHED_DEADLINE, the CPUs have not so much time left; EPERM: it may not use all of them, or a right is missing.
///
/// # References
/// sched_setattr(2).
pub fn sched_setattr(tid: i32, attr: &SchedAttr) -> io::Result<()> {
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    // SAFETY: the kernel reads as many bytes as the structure says that it has.
    let r = unsafe { libc::syscall(libc::SYS_sched_setattr, tid, &raw const attr, 0) };
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The nice value of a thread, also where its policy makes no use of it.
///
/// # References
/// getpriority(2).
pub fn nice(tid: i32) -> io::Result<i32> {
    // SAFETY: integers only. The call itself gives what no error looks like: 1 for 19, 40 for -20.
    let n = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, tid) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(20 - n as i32) }
}

/// Words of the CPU mask of a thread: bit n of word n / 64.
///
/// # References
/// sched_getaffinity(2).
pub fn cpu_affinity(tid: i32) -> io::Result<Vec<u64>> {
    let mut words = vec![0_u64; 128];
    // SAFETY: the kernel writes at most as many bytes as the vector has.
    let n = unsafe { libc::syscall(libc::SYS_sched_getaffinity, tid, words.len() * 8, words.as_mut_ptr()) };
    if n < 0 {
        return Err(io::Error::last_os_error());
    }
    words.truncate(n as usize / 8);
    Ok(words)
}

/// The I/O priority that was set for a thread; 0 when none was.
///
/// # References
/// ioprio_get(2).
pub fn ioprio(tid: i32) -> io::Result<u32> {
    const WHO_PROCESS: i32 = 1;
    const CLASS_SHIFT: u32 = 13;
    // SAFETY: integers only.
    let n = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, tid) };
    if n < 0 {
        return Err(io::Error::last_os_error());
    }
    // Without a class the level is what the nice value comes to.
    Ok(if n as u32 >> CLASS_SHIFT == 0 { 0 } else { n as u32 })
}
