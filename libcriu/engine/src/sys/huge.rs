//! Pages of hugetlbfs: which of a file's were touched, and touching them without the risk of SIGBUS.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFD_API: u64 = 0xaa;
const MISSING_HUGETLBFS: u64 = 1 << 4;
/// Who touches a missing page is refused, instead of waiting for somebody to bring it.
const SIGBUS: u64 = 1 << 7;
const REGISTER_MISSING: u64 = 1;

/// A mapping of one's own that nothing else refers to; it ends with the value.
struct View {
    at: *mut libc::c_void,
    len: usize,
}

impl View {
    fn new(file: BorrowedFd<'_>, offset: u64, len: u64, prot: i32, flags: i32) -> io::Result<View> {
        let len = len as usize;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), len, prot, flags | libc::MAP_NORESERVE, file.as_raw_fd(), offset as i64)
        };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(View { at, len }) }
    }

    fn advise(&self, offset: u64, len: u64, advice: i32) -> io::Result<()> {
        let at = self.at.wrapping_byte_add(offset as usize);
        // SAFETY: a part of this mapping, to which no reference exists; callers only populate.
        check(unsafe { libc::madvise(at, len as usize, advice) }.into()).map(drop)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own.
        unsafe { libc::munmap(self.at, self.len) };
    }
}

fn check(ret: i64) -> io::Result<i64> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// For each page of the first `size` bytes of a file of hugetlbfs, whether the file has it. None is touched by the question.
///
/// # Errors
/// Those of userfaultfd(2), mmap(2) and madvise(2) MADV_POPULATE_READ (Linux 5.14).
pub fn touched(file: BorrowedFd<'_>, size: u64, page_bytes: u64) -> io::Result<Vec<bool>> {
    if size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: userfaultfd takes flags only; the descriptor is new and nobody else's.
    let faults = unsafe { OwnedFd::from_raw_fd(check(libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC))? as i32) };
    let control = |request, argument: &mut [u64; 4]| {
        // SAFETY: the arguments of both requests have at most 32 bytes, which the kernel reads and writes during the call.
        check(unsafe { libc::ioctl(faults.as_raw_fd(), request, argument.as_mut_ptr()) }.into())
    };
    control(UFFDIO_API, &mut [UFFD_API, MISSING_HUGETLBFS | SIGBUS, 0, 0])?;
    // A private view may be taken of a file that is open for reading, or sealed.
    let view = View::new(file, 0, size, libc::PROT_READ, libc::MAP_PRIVATE)?;
    control(UFFDIO_REGISTER, &mut [view.at as u64, size, REGISTER_MISSING, 0])?;
    let is_there = |offset| match view.advise(offset, page_bytes, libc::MADV_POPULATE_READ) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::EFAULT) => Ok(false),
        Err(e) => Err(e),
    };
    (0..size).step_by(page_bytes as usize).map(is_there).collect()
}

/// Maps the first `size` bytes of a file of hugetlbfs for writing while `fill` runs. Nothing is put aside for it: pages come as
/// they are written, and only system calls may write, for they are refused when no page is free.
///
/// # Errors
/// Those of mmap(2).
pub fn with_view<T>(file: BorrowedFd<'_>, size: u64, fill: impl FnOnce(&super::mapping::Mapped) -> T) -> io::Result<T> {
    let view = View::new(file, 0, size, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)?;
    Ok(fill(&super::mapping::Mapped::inherited(view.at as u64, size)))
}

/// Makes the page around `address` be this process's own, where otherwise a write would end in SIGBUS.
///
/// # Errors
/// ENOMEM: no page is free.
///
/// # References
/// madvise(2), MADV_POPULATE_WRITE (Linux 5.14).
pub fn provide(address: u64) -> io::Result<()> {
    const PART: usize = 4096;
    // SAFETY: the page keeps its contents.
    match check(unsafe { libc::madvise(address as *mut libc::c_void, PART, libc::MADV_POPULATE_WRITE) }.into()) {
        // A kernel that does not know it (EINVAL) lets the write tell.
        Err(e) if e.raw_os_error() == Some(libc::EFAULT) => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
        _ => Ok(()),
    }
}

/// For tests: writes a byte to the page at `offset`.
#[cfg(test)]
pub fn touch(file: BorrowedFd<'_>, offset: u64, page_bytes: u64, byte: u8) -> io::Result<()> {
    let view = View::new(file, offset, page_bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)?;
    view.advise(0, page_bytes, libc::MADV_POPULATE_WRITE)?;
    // SAFETY: inside the mapping, and the page is there.
    unsafe { view.at.cast::<u8>().write(byte) };
    Ok(())
}
