//! Mappings that a task being restored builds in its own address space, at addresses the image or the engine chose.
//!
//! The only ranges ever written are those that `map` and `duplicate_shared` have just created: a [`Mapped`] stands for
//! one, and every access is bounded by it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

fn check(ret: i64) -> io::Result<u64> {
    if ret == -1 { Err(io::Error::last_os_error()) } else { Ok(ret as u64) }
}

/// A range this process has mapped for the task it becomes. It stays mapped when dropped: the restorer takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    start: u64,
    len: u64,
}

/// What a new mapping shows.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    Anonymous,
    /// Anonymous memory of huge pages is a part of a file of its own, too, which reaches to the end of a writable mapping.
    Huge {
        offset: u64,
    },
    File {
        fd: BorrowedFd<'a>,
        offset: u64,
    },
}

impl Mapped {
    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Maps `len` bytes at exactly `start`, where nothing may be mapped yet. `flags` are MAP_* without placement.
    ///
    /// # Errors
    /// EEXIST when part of the range is taken.
    ///
    /// # References
    /// mmap(2), MAP_FIXED_NOREPLACE (Linux 4.17).
    pub fn map(start: u64, len: u64, prot: i32, flags: i32, source: Source<'_>) -> io::Result<Mapped> {
        let (fd, offset, anonymous) = match source {
            Source::Anonymous => (-1, 0, libc::MAP_ANONYMOUS),
            Source::Huge { offset } => (-1, offset as libc::off_t, libc::MAP_ANONYMOUS | libc::MAP_HUGETLB),
            Source::File { fd, offset } => (fd.as_raw_fd(), offset as libc::off_t, 0),
        };
        let flags = flags | anonymous | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: MAP_FIXED_NOREPLACE never replaces a mapping that something else uses.
        let at = unsafe { libc::mmap(start as *mut libc::c_void, len as usize, prot, flags, fd, offset) };
        if check(at as i64)? != start {
            // A kernel without the flag took the address as a hint.
            // SAFETY: the mapping was made just now and nobody knows it.
            unsafe { libc::munmap(at, len as usize) };
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        Ok(Mapped { start, len })
    }

    /// Maps fresh memory that this process shares with those it forks, where the kernel likes.
    pub fn shared(len: u64) -> io::Result<Mapped> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len as usize, prot, flags, -1, 0) };
        Ok(Mapped { start: check(at as i64)?, len })
    }

    /// `len` bytes of it from `offset` on; it ends where this does.
    pub fn part(&self, offset: u64, len: u64) -> Mapped {
        let offset = offset.min(self.len);
        Mapped { start: self.start + offset, len: len.min(self.len - offset) }
    }

    /// Both of two that follow each other; `self` when they do not.
    pub fn joined(&self, next: &Mapped) -> Mapped {
        if self.start + self.len == next.start { Mapped { start: self.start, len: self.len + next.len } } else { *self }
    }

    /// Takes a range over that was inherited from the parent, which had mapped it by `map`.
    pub fn inherited(start: u64, len: u64) -> Mapped {
        Mapped { start, len }
    }

    /// Duplicates `len` bytes of the shared mapping `from`, starting at `offset`, to where `self` is: the place must have
    /// been mapped (reserved) by the caller and is replaced.
    pub fn show_shared(&self, from: &Mapped, offset: u64) -> io::Result<()> {
        // An old size of 0 leaves the shared source as it is.
        self.remap(from, offset, 0)
    }

    /// As `show_shared`, but what is shown here is in `from` no longer.
    pub fn take(&self, from: &Mapped, offset: u64) -> io::Result<()> {
        self.remap(from, offset, self.len)
    }

    fn remap(&self, from: &Mapped, offset: u64, old_len: u64) -> io::Result<()> {
        if offset.checked_add(self.len).is_none_or(|end| end > from.len) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let (old, new) = ((from.start + offset) as *mut libc::c_void, self.start as *mut libc::c_void);
        // SAFETY: the source is inside of `from`, which nobody refers to; the destination is this process's own reservation.
        check(unsafe { libc::mremap(old, old_len as usize, self.len as usize, flags, new) } as i64).map(drop)
    }

    /// Copies into it from a file: each part is (address, bytes), parts stand back to back in the file from `offset` on.
    ///
    /// # Errors
    /// UnexpectedEof when the file is shorter; EINVAL when a part leaves every one of `targets` (sorted by address).
    pub fn read_parts(targets: &[Mapped], file: &File, mut offset: u64, parts: &[(u64, u64)]) -> io::Result<()> {
        if !parts.iter().all(|&(a, n)| Mapped::one_covers(targets, a, n)) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut vec: Vec<libc::iovec> =
            parts.iter().map(|&(a, n)| libc::iovec { iov_base: a as *mut libc::c_void, iov_len: n as usize }).collect();
        let mut first = 0;
        while first < vec.len() {
            let count = (vec.len() - first).min(1024);
            // SAFETY: every part lies in a mapping made for this, writable for now, that nothing else refers to.
            let n = check(unsafe {
                libc::preadv(file.as_raw_fd(), vec[first..].as_ptr(), count as i32, offset as libc::off_t)
            } as i64)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += n;
            let mut left = n as usize;
            while first < vec.len() && left >= vec[first].iov_len {
                left -= vec[first].iov_len;
                first += 1;
            }
            if left > 0 {
                vec[first].iov_base = vec[first].iov_base.wrapping_byte_add(left);
                vec[first].iov_len -= left;
            }
        }
        Ok(())
    }

    /// Writes those pages of `bytes` that differ from what stands at `address`, inside one of `targets` (sorted by address);
    /// returns how many did. `provide` is called with the address of each before it is written.
    pub fn write_differing(
        targets: &[Mapped],
        address: u64,
        bytes: &[u8],
        page: usize,
        provide: impl Fn(u64) -> io::Result<()>,
    ) -> io::Result<u64> {
        if !Mapped::one_covers(targets, address, bytes.len() as u64) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut differing = 0;
        for (i, new) in bytes.chunks(page).enumerate() {
            let at = (address as usize + i * page) as *mut u8;
            // SAFETY: inside one of these mappings, readable and writable for now, and no reference to it exists elsewhere.
            let old = unsafe { std::slice::from_raw_parts_mut(at, new.len()) };
            if old != new {
                provide(at as u64)?;
                old.copy_from_slice(new);
                differing += 1;
            }
        }
        Ok(differing)
    }

    /// Drops the contents of a part: anonymous memory reads as zero again, a private file mapping as the file.
    pub fn discard(&self, address: u64, len: u64) -> io::Result<()> {
        if !self.covers(address, len) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        advise(address, len, libc::MADV_DONTNEED)
    }

    pub fn protect(&self, prot: i32) -> io::Result<()> {
        // SAFETY: the mapping is this process's own and no Rust reference points into it.
        check(unsafe { libc::mprotect(self.start as *mut libc::c_void, self.len as usize, prot) }.into()).map(drop)
    }

    /// As `protect`, with a memory protection key that is allocated.
    ///
    /// # References
    /// pkey_mprotect(2) (Linux 4.9).
    pub fn protect_by_key(&self, prot: i32, key: u32) -> io::Result<()> {
        // SAFETY: the mapping is this process's own and no Rust reference points into it.
        check(unsafe { libc::syscall(libc::SYS_pkey_mprotect, self.start, self.len, prot, key) }).map(drop)
    }

    /// # References
    /// madvise(2). `advice` must not be one that discards what others hold.
    pub fn advise(&self, advice: i32) -> io::Result<()> {
        advise(self.start, self.len, advice)
    }

    /// As `advise`, for a part.
    pub fn advise_part(&self, address: u64, len: u64, advice: i32) -> io::Result<()> {
        if !self.covers(address, len) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        advise(address, len, advice)
    }

    /// Says from which nodes pages are to come: bit n of word n / 64 is the node n.
    ///
    /// # References
    /// mbind(2)
    pub fn bind(&self, mode: u32, nodes: &[u64]) -> io::Result<()> {
        // The kernel takes the number of bits for one more than they are.
        let most = 64 * nodes.len() as u64 + 1;
        // SAFETY: the kernel reads the words of `nodes`; a policy changes no contents.
        let ret = unsafe { libc::syscall(libc::SYS_mbind, self.start, self.len, mode, nodes.as_ptr(), most, 0) };
        check(ret).map(drop)
    }

    /// Says near to which node pages are to come, of those that its policy allows.
    ///
    /// # References
    /// set_mempolicy_home_node(2) (Linux 5.17)
    pub fn settle(&self, node: u32) -> io::Result<()> {
        // SAFETY: a policy changes no contents.
        let ret = unsafe { libc::syscall(libc::SYS_set_mempolicy_home_node, self.start, self.len, u64::from(node), 0) };
        check(ret).map(drop)
    }

    /// Where pages cannot be had (without any access, behind the end of a file) it is locked all the same, as by mlockall.
    ///
    /// # References
    /// mlock2(2) (Linux 4.4).
    pub fn lock(&self, on_fault: bool) -> io::Result<()> {
        let flags = if on_fault { libc::MLOCK_ONFAULT } else { 0 };
        // SAFETY: locking changes no contents.
        let locked = check(unsafe { libc::mlock2(self.start as *const libc::c_void, self.len as usize, flags) }.into());
        match locked {
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) && self.is_locked() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Of locked memory the kernel does not let pages be taken for old ones (Linux 5.4).
    fn is_locked(&self) -> bool {
        const PAGE_BYTES: u64 = 4096;
        let refused = |e: io::Error| e.raw_os_error() == Some(libc::EINVAL);
        advise(self.start, PAGE_BYTES, libc::MADV_COLD).is_err_and(refused)
    }

    /// Writes `bytes` at the beginning.
    pub fn fill(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.len {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: inside this mapping, writable for now; source and destination cannot overlap, `bytes` is Rust's own.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start as *mut u8, bytes.len()) };
        Ok(())
    }

    /// Reads its first `len` bytes. It must be readable and not be cut short behind the end of a file.
    pub fn bytes(&self, len: usize) -> Vec<u8> {
        let len = len.min(self.len as usize);
        // SAFETY: inside this mapping, which the caller knows to be readable.
        unsafe { std::slice::from_raw_parts(self.start as *const u8, len) }.to_vec()
    }

    /// Is the range inside one of `mappings`, which are sorted by address?
    fn one_covers(mappings: &[Mapped], address: u64, len: u64) -> bool {
        let i = mappings.partition_point(|t| t.start <= address);
        i > 0 && mappings[i - 1].covers(address, len)
    }

    fn covers(&self, address: u64, len: u64) -> bool {
        address >= self.start && address.checked_add(len).is_some_and(|end| end <= self.start + self.len)
    }
}

fn advise(address: u64, len: u64, advice: i32) -> io::Result<()> {
    // SAFETY: callers pass ranges of a `Mapped`, to which no Rust reference points.
    check(unsafe { libc::madvise(address as *mut libc::c_void, len as usize, advice) }.into()).map(drop)
}

/// Allocates the next protection key, with every access allowed to this thread.
///
/// # Errors
/// ENOSPC: there are no more, or the CPU has none.
///
/// # References
/// pkey_alloc(2) (Linux 4.9).
pub fn allocate_key() -> io::Result<u32> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) }).map(|key| key as u32)
}

/// Gives a protection key back.
///
/// # References
/// pkey_free(2).
pub fn free_key(key: u32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_pkey_free, key) }).map(drop)
}

/// Unmaps a range that belongs to the restored layout of the parent and is not wanted in this task.
pub fn unmap_inherited(m: Mapped) -> io::Result<()> {
    // SAFETY: a `Mapped` is never part of the engine's own memory.
    check(unsafe { libc::munmap(m.start as *mut libc::c_void, m.len as usize) }.into()).map(drop)
}

/// Replaces a file mapping of this program's own by an anonymous copy at the same place. The process must be
/// single-threaded.
///
/// # References
/// mremap(2), MREMAP_FIXED.
pub fn replace_by_copy(start: u64, len: u64, prot: i32) -> io::Result<()> {
    let (old, len) = (start as *mut libc::c_void, len as usize);
    // SAFETY: the copy is new memory. `old` is a readable mapping of the program's; between copying and moving only libc's
    // thin call wrappers run, which write nothing there, so the program finds the bytes it left at the same addresses.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let copy = libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        check(copy as i64)?;
        if prot & libc::PROT_READ != 0 {
            std::ptr::copy_nonoverlapping(old.cast::<u8>(), copy.cast::<u8>(), len);
        }
        let moved = libc::mprotect(copy, len, prot) == 0
            && libc::mremap(copy, len, len, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, old) == old;
        if moved {
            return Ok(());
        }
        let e = io::Error::last_os_error();
        libc::munmap(copy, len);
        Err(e)
    }
}
