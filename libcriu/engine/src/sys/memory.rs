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

/// The page at `offset` of a file as a mapping shows it: with what stands behind the file's end.
///
/// # Errors
/// Those of mmap(2).
pub fn mapped_page(file: std::os::fd::BorrowedFd<'_>, offset: u64) -> std::io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    const PAGE: usize = 4096;
    // SAFETY: a new mapping of one page, of which no reference outlives this block; the page is inside the file by the callers'
    // size of it, and shared memory of frozen tasks does not shrink.
    unsafe {
        let (prot, at) = (libc::PROT_READ, std::ptr::null_mut());
        let page = libc::mmap(at, PAGE, prot, libc::MAP_SHARED, file.as_raw_fd(), offset as libc::off_t);
        if page == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let bytes = std::slice::from_raw_parts(page.cast::<u8>(), PAGE).to_vec();
        libc::munmap(page, PAGE);
        Ok(bytes)
    }
}
