//! io_uring instances of this process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::descriptor::adopt;
use super::view::Owned;

/// Where in the rings the kernel has what of the submission queue: `struct io_sqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SubmissionOffsets {
    pub head: u32,
    pub tail: u32,
    _more: [u32; 4],
    pub array: u32,
    _user: [u32; 3],
}

/// The same of the completion queue: `struct io_cqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CompletionOffsets {
    pub head: u32,
    pub tail: u32,
    _more: [u32; 3],
    pub completions: u32,
    _user: [u32; 4],
}

/// `struct io_uring_params`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Params {
    pub sq_entries: u32,
    pub cq_entries: u32,
    /// IORING_SETUP_*
    pub flags: u32,
    _more: [u32; 7],
    pub sq: SubmissionOffsets,
    pub cq: CompletionOffsets,
}

impl Params {
    /// Of an instance to be made; `cq_entries` counts with IORING_SETUP_CQSIZE only.
    pub(crate) fn new(sq_entries: u32, cq_entries: u32, flags: u32) -> Self {
        Params { sq_entries, cq_entries, flags, ..Params::default() }
    }
}

/// # Errors
/// EPERM: sysctl kernel.io_uring_disabled.
///
/// # References
/// io_uring_setup(2)
pub(crate) fn set_up(params: &mut Params) -> io::Result<OwnedFd> {
    // SAFETY: the structure is the kernel's, and lives.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, params.sq_entries, std::ptr::from_mut(params)) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(adopt(fd as i32)) }
}

/// # References
/// io_uring_register(2)
fn register<T>(fd: BorrowedFd<'_>, what: u32, argument: &mut T, count: u32) -> io::Result<()> {
    let at = std::ptr::from_mut(argument);
    // SAFETY: the argument is what `what` takes, with `count` as that takes it, and lives, as does what its addresses lead to.
    let done = unsafe { libc::syscall(libc::SYS_io_uring_register, fd.as_raw_fd(), what, at, count) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Registers the instance with the calling thread, at a place of the thread's (Linux 5.18).
pub(crate) fn register_with_thread(fd: BorrowedFd<'_>, place: u32) -> io::Result<()> {
    const RING_FDS: u32 = 20;
    // struct io_uring_rsrc_update: offset, reserved, data.
    register(fd, RING_FDS, &mut [u64::from(place), fd.as_raw_fd() as u64], 1)
}

/// The eventfd that is signalled by completions, or by those of requests only that did not complete at once.
pub(crate) fn register_eventfd(fd: BorrowedFd<'_>, eventfd: RawFd, only_async: bool) -> io::Result<()> {
    const EVENTFD: u32 = 4;
    const EVENTFD_ASYNC: u32 = 7;
    register(fd, if only_async { EVENTFD_ASYNC } else { EVENTFD }, &mut { eventfd }, 1)
}

/// Descriptors, of which -1 stands for a free place, and a tag of each (Linux 5.13).
pub(crate) fn register_files(fd: BorrowedFd<'_>, files: &[RawFd], tags: &[u64]) -> io::Result<()> {
    const FILES2: u32 = 13;
    assert_eq!(files.len(), tags.len());
    // struct io_uring_rsrc_register: number and flags, reserved, data, tags.
    let mut all = [files.len() as u64, 0, files.as_ptr() as u64, tags.as_ptr() as u64];
    let bytes = size_of_val(&all) as u32;
    register(fd, FILES2, &mut all, bytes)
}

/// Puts a descriptor at a place; -1 frees it.
pub(crate) fn update_file(fd: BorrowedFd<'_>, place: u32, file: RawFd) -> io::Result<()> {
    const FILES_UPDATE: u32 = 6;
    // struct io_uring_files_update: offset, reserved, data.
    register(fd, FILES_UPDATE, &mut [u64::from(place), &raw const file as u64], 1)
}

/// The places that the kernel chooses from for new files (Linux 6.0).
pub(crate) fn register_file_range(fd: BorrowedFd<'_>, first: u32, count: u32) -> io::Result<()> {
    const FILE_ALLOC_RANGE: u32 = 25;
    // struct io_uring_file_index_range: offset, length, reserved.
    register(fd, FILE_ALLOC_RANGE, &mut [u64::from(first) | u64::from(count) << 32, 0], 0)
}

/// A page as the only buffer.
pub(crate) fn register_buffers(fd: BorrowedFd<'_>, page: &Owned) -> io::Result<()> {
    const BUFFERS: u32 = 0;
    register(fd, BUFFERS, &mut [page.address(), Owned::BYTES as u64], 1)
}

/// Gives the kernel `submit` requests, and lets it do what has to be done in the submitter's name. How many it took.
///
/// # References
/// io_uring_enter(2)
pub(crate) fn enter(fd: BorrowedFd<'_>, submit: u32) -> io::Result<u32> {
    const GETEVENTS: u32 = 1;
    // SAFETY: no address is given; the requests are the callers', which point to nothing.
    let taken = unsafe { libc::syscall(libc::SYS_io_uring_enter, fd.as_raw_fd(), submit, 0, GETEVENTS, 0, 0) };
    if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(taken as u32) }
}
