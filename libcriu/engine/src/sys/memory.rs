//! Reading another task's memory, and shared memory of one's own.

use std::io;

/// A range of a task's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteRange {
    pub start: u64,
    pub len: usize,
}

/// The kernel's limit on ranges in one call.
pub const MAX_RANGES: usize = libc::UIO_MAXIOV as usize;

/// Reads `ranges` (at most [`MAX_RANGES`]) of a task's memory, one behind the other, into `buffer`; gives the number of bytes
/// read, which is short when a page cannot be read.
///
/// # Errors
/// EFAULT when the very first byte cannot be read, EPERM without ptrace access, ESRCH when the task is gone.
///
/// # References
/// process_vm_readv(2), Linux 3.2.
pub fn process_vm_readv(pid: i32, ranges: &[RemoteRange], buffer: &mut [u8]) -> io::Result<usize> {
    let remote: Vec<libc::iovec> =
        ranges.iter().map(|r| libc::iovec { iov_base: r.start as *mut libc::c_void, iov_len: r.len }).collect();
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `local` describes the borrowed buffer, which the kernel alone writes during the call; `remote` holds addresses of
    // the other task, which the kernel checks.
    let n = unsafe { libc::process_vm_readv(pid, &local, 1, remote.as_ptr(), remote.len() as libc::c_ulong, 0) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}
