//! A look at memory that a descriptor shares with the kernel, which may change it at any time.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// Mapped while it lives.
#[derive(Debug)]
pub(crate) struct View {
    at: *mut u8,
    len: usize,
}

impl View {
    /// All of what `fd` shows, `len` bytes.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(crate) fn of(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::from(fd, 0, len)
    }

    /// As `of`, beginning with `offset`.
    pub(crate) fn from(fd: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Self> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), len, prot, libc::MAP_SHARED, fd.as_raw_fd(), offset as i64) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(View { at: at.cast(), len }) }
    }

    /// The bytes there; fewer where it ends.
    pub(crate) fn bytes(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len.min(self.len.saturating_sub(offset))];
        self.copy_to(offset, &mut bytes);
        bytes
    }

    /// Copies as much as there is.
    pub(crate) fn copy_to(&self, offset: usize, bytes: &mut [u8]) {
        let offset = offset.min(self.len);
        let len = bytes.len().min(self.len - offset);
        // SAFETY: within the mapping. Whoever else writes there meanwhile makes these bytes new, old or mixed; callers look again.
        unsafe { std::ptr::copy_nonoverlapping(self.at.add(offset), bytes.as_mut_ptr(), len) };
    }

    /// Writes what there is room for.
    pub(crate) fn put(&self, offset: usize, bytes: &[u8]) {
        let offset = offset.min(self.len);
        let len = bytes.len().min(self.len - offset);
        // SAFETY: within the mapping, to which no reference points.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.add(offset), len) };
    }

    /// The number at a multiple of four; 0 where there is nothing.
    pub(crate) fn word(&self, offset: usize) -> u32 {
        self.atomic(offset).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Sets the number at a multiple of four, after all that was put before.
    pub(crate) fn set_word(&self, offset: usize, value: u32) {
        if let Some(word) = self.atomic(offset) {
            word.store(value, Ordering::Release);
        }
    }

    fn atomic(&self, offset: usize) -> Option<&AtomicU32> {
        let is_there = offset.is_multiple_of(4) && offset.checked_add(4).is_some_and(|end| end <= self.len);
        // SAFETY: aligned (mappings begin with a page) and within the mapping, which lives as long as `self`.
        is_there.then(|| unsafe { AtomicU32::from_ptr(self.at.add(offset).cast()) })
    }
}

/// A page of this process's own.
#[derive(Debug)]
pub(crate) struct Owned(*mut libc::c_void);

impl Owned {
    pub(crate) const BYTES: usize = 4096;

    pub(crate) fn page() -> io::Result<Self> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), Self::BYTES, prot, flags, -1, 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Owned(at)) }
    }

    pub(crate) fn address(&self) -> u64 {
        self.0 as u64
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: made by `page`, and used through `self` alone.
        unsafe { libc::munmap(self.0, Self::BYTES) };
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: made by `of`, and used through `self` alone.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}
