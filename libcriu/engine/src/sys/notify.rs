//! File handles and fanotify.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::descriptor::adopt;

/// The most a file handle holds (MAX_HANDLE_SZ).
pub(crate) const MAX_HANDLE_BYTES: usize = 128;

#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: i32,
    handle: [u8; MAX_HANDLE_BYTES],
}

fn check(ret: i32) -> io::Result<i32> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// Opens the inode behind a handle on the filesystem of `mount`, O_PATH.
///
/// # Errors
/// EPERM without CAP_DAC_READ_SEARCH; ESTALE: there is no such inode; EOPNOTSUPP: the filesystem finds none by handles.
///
/// # References
/// open_by_handle_at(2)
pub(crate) fn open_by_handle(mount: BorrowedFd<'_>, kind: i32, handle: &[u8]) -> io::Result<OwnedFd> {
    let mut h = FileHandle { bytes: handle.len() as u32, kind, handle: [0; MAX_HANDLE_BYTES] };
    h.handle.get_mut(..handle.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(handle);
    // SAFETY: the kernel reads the header and as many bytes as it says, for which there is room.
    let fd = unsafe {
        libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &raw const h, libc::O_PATH | libc::O_CLOEXEC)
    };
    Ok(adopt(check(fd as i32)?))
}

/// Says which number an inotify instance gives to its next watch, from 1 on.
///
/// # Errors
/// ENOTTY without CONFIG_CHECKPOINT_RESTORE (or before Linux 4.16); EINVAL for a number that is none.
pub(crate) fn set_next_watch(inotify: BorrowedFd<'_>, number: u32) -> io::Result<()> {
    // _IOW('I', 0, __s32): the number itself, not a pointer to it.
    const INOTIFY_IOC_SETNEXTWD: libc::Ioctl = 0x4004_4900;
    // SAFETY: the request reads and writes no memory.
    check(unsafe { libc::ioctl(inotify.as_raw_fd(), INOTIFY_IOC_SETNEXTWD, libc::c_ulong::from(number)) }).map(drop)
}

/// A new fanotify group, close-on-exec. (With FAN_CLOEXEC among the flags the kernel would tell of it.)
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, for most flags.
///
/// # References
/// fanotify_init(2)
pub(crate) fn fanotify(flags: u32, event_flags: u32) -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = unsafe { libc::fanotify_init(flags, event_flags) };
    let fd = adopt(check(fd)?);
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Adds a mark for what `path` leads to.
///
/// # References
/// fanotify_mark(2)
pub(crate) fn add_mark(group: BorrowedFd<'_>, flags: u32, mask: u64, path: &CStr) -> io::Result<()> {
    const FAN_MARK_ADD: u32 = 1;
    // SAFETY: the path is a C string that lives through the call.
    check(unsafe {
        libc::fanotify_mark(group.as_raw_fd(), FAN_MARK_ADD | flags, mask, libc::AT_FDCWD, path.as_ptr())
    })?;
    Ok(())
}
