//! System calls on descriptors that rustix does not have, or has only for descriptors it owns.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Which signal owner a description has: `F_GETOWN_EX`, `F_GETSIG` and `F_GETOWNER_UIDS` in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignalOwner {
    /// `F_OWNER_TID`, `F_OWNER_PID` or `F_OWNER_PGRP`.
    pub kind: i32,
    /// 0: no owner. Otherwise an id in the pid namespace of the caller.
    pub pid: i32,
    /// 0: SIGIO without siginfo.
    pub signal: i32,
    pub uid: u32,
    pub euid: u32,
}

const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
const F_GETOWNER_UIDS: i32 = 17;
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const KCMP_FILE: i32 = 0;
const KCMP_EPOLL_TFD: i32 = 7;

#[repr(C)]
#[derive(Clone, Copy)]
struct FOwnerEx {
    kind: i32,
    pid: i32,
}

/// How two kernel objects compare in the kernel's own (arbitrary, stable) order.
pub(crate) type KernelOrder = std::cmp::Ordering;

fn check(ret: i64) -> io::Result<i64> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// A read or write that fails is tried so often.
const TRIES: usize = 64;

/// The next byte that the other end of `fd` writes; `None` when it has ended. Neither allocates nor fails: what guards others must
/// not take an error for the end of whom it waits for.
pub(super) fn read_word(fd: RawFd) -> Option<u8> {
    let mut word = 0u8;
    for _ in 0..TRIES {
        // SAFETY: one byte is read into a local.
        match unsafe { libc::read(fd, (&raw mut word).cast(), 1) } {
            0 => return None,
            1 => return Some(word),
            _ => {}
        }
    }
    None
}

/// Writes a byte; false when it cannot be done. As `read_word`.
pub(super) fn write_word(fd: RawFd, word: u8) -> bool {
    // SAFETY: one byte is written from a local.
    (0..TRIES).any(|_| unsafe { libc::write(fd, (&raw const word).cast(), 1) } == 1)
}

/// Reads who is signalled about `fd`. Not for O_PATH descriptors.
///
/// # References
/// fcntl(2); `F_GETOWNER_UIDS` needs CONFIG_CHECKPOINT_RESTORE.
pub(crate) fn signal_owner(fd: BorrowedFd<'_>) -> io::Result<SignalOwner> {
    let mut ex = FOwnerEx { kind: 0, pid: 0 };
    // SAFETY: F_GETOWN_EX writes one struct f_owner_ex, which `ex` is.
    check(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_GETOWN_EX, &mut ex) }))?;
    // SAFETY: F_GETSIG takes no pointer.
    let signal = check(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_GETSIG) }))? as i32;
    let mut owner = SignalOwner { kind: ex.kind, pid: ex.pid, signal, uid: 0, euid: 0 };
    if ex.pid != 0 {
        let mut uids = [0u32; 2];
        // SAFETY: F_GETOWNER_UIDS writes two uid_t, for which `uids` has room.
        check(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_GETOWNER_UIDS, &mut uids) }))?;
        [owner.uid, owner.euid] = uids;
    }
    Ok(owner)
}

/// Sets who is signalled about `fd`, by whose right: the owner's uids are those of the calling thread at that moment, so
/// they are taken on and put back around the call.
pub(crate) fn set_signal_owner(fd: BorrowedFd<'_>, owner: SignalOwner) -> io::Result<()> {
    if owner.signal != 0 {
        // SAFETY: F_SETSIG takes an integer.
        check(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_SETSIG, owner.signal) }))?;
    }
    if owner.pid == 0 {
        return Ok(());
    }
    let ex = FOwnerEx { kind: owner.kind, pid: owner.pid };
    // SAFETY: F_SETOWN_EX reads one struct f_owner_ex, which `ex` is.
    as_user(owner.uid, owner.euid, || check(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), F_SETOWN_EX, &ex) })))?;
    Ok(())
}

/// From here on nobody is signalled about `fd`.
pub(crate) fn forget_signal_owner(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_SETOWN takes an integer.
    check(i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETOWN, 0) })).map(drop)
}

/// Runs `f` with these real and effective uids (of this thread alone); the saved uid keeps the way back open.
fn as_user<T>(uid: u32, euid: u32, f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (mut r, mut e, mut s) = (0u32, 0u32, 0u32);
    // SAFETY: getresuid writes the three integers it is given.
    check(unsafe { libc::syscall(libc::SYS_getresuid, &mut r, &mut e, &mut s) })?;
    if (r, e) == (uid, euid) {
        return f();
    }
    // SAFETY: integer arguments only; the raw call concerns this thread alone.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, euid, e) })?;
    let result = f();
    // SAFETY: as above; `e` was kept as the saved uid, so the kernel allows it.
    check(unsafe { libc::syscall(libc::SYS_setresuid, r, e, s) })?;
    result
}

/// Compares the open file descriptions behind two descriptors of two processes.
///
/// # Errors
/// EPERM without the right to ptrace both; ENOSYS without CONFIG_KCMP.
///
/// # References
/// kcmp(2), Linux 3.5
pub(crate) fn kcmp_file(a: (i32, RawFd), b: (i32, RawFd)) -> io::Result<KernelOrder> {
    if a == b {
        return Ok(KernelOrder::Equal);
    }
    // SAFETY: KCMP_FILE takes integers only.
    let ret = check(unsafe { libc::syscall(libc::SYS_kcmp, a.0, b.0, KCMP_FILE, a.1 as u64, b.1 as u64) })?;
    Ok(order(ret))
}

fn order(ret: i64) -> KernelOrder {
    match ret {
        0 => KernelOrder::Equal,
        1 => KernelOrder::Less,
        _ => KernelOrder::Greater,
    }
}

/// Compares the description behind `file` with what an epoll descriptor watches under the number `target`; `nth` tells
/// several registrations of that number apart.
///
/// # References
/// kcmp(2), Linux 4.13
pub(crate) fn kcmp_epoll_target(
    file: (i32, RawFd),
    epoll: (i32, RawFd),
    target: u32,
    nth: u32,
) -> io::Result<KernelOrder> {
    let slot = [epoll.1 as u32, target, nth];
    // SAFETY: KCMP_EPOLL_TFD reads a struct kcmp_epoll_slot of three u32, which `slot` is.
    let ret =
        check(unsafe { libc::syscall(libc::SYS_kcmp, file.0, epoll.0, KCMP_EPOLL_TFD, file.1 as u64, slot.as_ptr()) })?;
    Ok(order(ret))
}

/// What EPIOCGPARAMS tells of an epoll: a `struct epoll_params`. `None`: the kernel knows none.
///
/// # References
/// ioctl_eventpoll(2), Linux 6.9
pub(crate) fn epoll_params(epoll: BorrowedFd<'_>) -> Option<[u8; 8]> {
    const EPIOCGPARAMS: libc::Ioctl = 0x8008_8a02;
    let mut params = [0; 8];
    // SAFETY: the request writes the eight bytes of a structure.
    let ret = unsafe { libc::ioctl(epoll.as_raw_fd(), EPIOCGPARAMS, params.as_mut_ptr()) };
    (ret == 0).then_some(params)
}

/// # References
/// ioctl_eventpoll(2), Linux 6.9
pub(crate) fn set_epoll_params(epoll: BorrowedFd<'_>, params: [u8; 8]) -> io::Result<()> {
    const EPIOCSPARAMS: libc::Ioctl = 0x4008_8a01;
    // SAFETY: the request reads the eight bytes of a structure.
    check(i64::from(unsafe { libc::ioctl(epoll.as_raw_fd(), EPIOCSPARAMS, params.as_ptr()) }))?;
    Ok(())
}

/// Makes `to` refer to what `from` refers to, closing what was there.
pub(crate) fn dup_to(from: RawFd, to: RawFd, cloexec: bool) -> io::Result<()> {
    if from == to {
        let flags = if cloexec { libc::FD_CLOEXEC } else { 0 };
        // SAFETY: F_SETFD takes an integer.
        check(i64::from(unsafe { libc::fcntl(to, libc::F_SETFD, flags) }))?;
        return Ok(());
    }
    // SAFETY: dup3 takes integers; what it closes is for the caller to know (file::install plans the numbers).
    check(i64::from(unsafe { libc::dup3(from, to, if cloexec { libc::O_CLOEXEC } else { 0 }) }))?;
    Ok(())
}

/// Closes every descriptor from `first` to `last`, both included.
pub(crate) fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: integers only; the caller has planned that nobody owns a descriptor in there.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    Ok(())
}

/// Closes every descriptor but these, by system calls alone.
pub(crate) fn close_all_but(kept: &mut [RawFd]) {
    kept.sort_unstable();
    let mut first = 0;
    for fd in kept.iter().map(|&fd| fd as u32) {
        if first < fd {
            let _ = close_range(first, fd - 1);
        }
        first = fd + 1;
    }
    let _ = close_range(first, u32::MAX);
}

/// A signal descriptor for the signals of `mask` (bit n: signal n + 1).
///
/// # References
/// signalfd(2), Linux 2.6.27
pub(crate) fn signalfd(mask: u64, nonblock: bool) -> io::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | if nonblock { libc::SFD_NONBLOCK } else { 0 };
    // SAFETY: the kernel reads the 8 bytes of `mask`, as the size says.
    let fd = check(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &mask, 8usize, flags) })?;
    Ok(adopt(fd as RawFd))
}

/// Takes over a descriptor number.
///
/// Preconditions: `fd` is open and no owner of it is left in this process.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: by the precondition nobody else will close it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Looks at a descriptor by its number.
///
/// Preconditions: `fd` is open and stays open while the result is used.
pub(crate) fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    debug_assert!(fd >= 0);
    // SAFETY: by the precondition it stays open; a negative number would be a bug of the caller, not of the outside.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
