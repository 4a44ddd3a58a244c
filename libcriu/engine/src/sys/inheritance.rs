//! Memory that many processes are to inherit. A fork copies the page tables of anonymous memory, all of which are taken down
//! again one by one, and nothing of a private mapping that only shows a file: what of it is looked at is mapped anew, sixteen
//! pages at a fault. A heap of which each task looks at little is better off with a file behind it.

use std::io;
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{Resource, getrlimit};

use crate::mem::vma::placement::own_mappings;

/// Of smaller ones there is little to gain; among them are the main thread's own.
const LEAST_BYTES: u64 = 256 << 10;
/// Behind every address: what is at the address A stands at the offset A of the file, so that a mapping that the allocator
/// makes longer still has a file behind it.
const FILE_BYTES: u64 = 1 << 47;

/// Gives large pieces of this process's anonymous memory a file behind them; contents, addresses and privacy stay. The process
/// must be single-threaded. A piece that could not be replaced stays as it is.
///
/// # References
/// memfd_create(2), mmap(2).
pub fn put_file_behind_heap() -> io::Result<()> {
    if getrlimit(Resource::Fsize).current.is_some() {
        // Such a file would be too large.
        return Ok(());
    }
    let file = memfd_create("criu", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, FILE_BYTES)?;
    let mappings = own_mappings()?;
    // It changes while it is copied.
    let stack = &raw const file as u64;
    for range in mappings.iter().filter(|m| m.is_plain && !m.range.contains(&stack)).map(|m| &m.range) {
        let len = range.end - range.start;
        if len >= LEAST_BYTES {
            replace(file.as_raw_fd(), range.start, len)?;
        }
    }
    Ok(())
}

/// Allocates nothing: it may be the allocator's memory that is replaced.
fn replace(file: i32, start: u64, len: u64) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        // SAFETY: the kernel reads memory that is mapped and readable.
        let n = unsafe {
            let from = (start + done) as *const libc::c_void;
            libc::pwrite(file, from, (len - done) as usize, (start + done) as libc::off_t)
        };
        if n <= 0 {
            return Err(io::Error::last_os_error());
        }
        done += n as u64;
    }
    let (at, flags) = (start as *mut libc::c_void, libc::MAP_PRIVATE | libc::MAP_FIXED);
    // SAFETY: the file has the very bytes, for nothing has run here since they were written to it, so whoever has a reference
    // finds what was there; and as the mapping is private, only this process's own writes change it.
    let got =
        unsafe { libc::mmap(at, len as usize, libc::PROT_READ | libc::PROT_WRITE, flags, file, start as libc::off_t) };
    if got == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::vma::placement::OwnMapping;

    #[test]
    fn memory_stays_what_it_is() {
        // In a process of its own, which has one thread.
        let child = crate::sys::trial::fork(|| {
            let mut large: Vec<u64> = (0..1 << 17).collect();
            let small: Vec<Vec<u64>> = (0..4000).map(|n| vec![n; 32]).collect();
            put_file_behind_heap().unwrap();
            let is_file = |m: &OwnMapping| m.name.starts_with("/memfd:criu");
            assert!(own_mappings().unwrap().iter().any(is_file));
            large[5] = 7;
            // Grows beyond what was copied, which moves or extends the mapping.
            large.resize(1 << 19, 9);
            assert!((0..1 << 17).all(|i| large[i] == if i == 5 { 7 } else { i as u64 }));
            assert!(large[1 << 17..].iter().all(|n| *n == 9));
            assert!((0..).zip(&small).all(|(n, v)| *v == [n; 32]));
            let other = crate::sys::trial::fork(move || {
                large[6] = 1;
                drop(small);
            });
            other.finish().unwrap();
        });
        child.finish().unwrap();
    }
}
