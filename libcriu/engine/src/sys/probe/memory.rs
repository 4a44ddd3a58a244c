//! Memory: AIO rings, the vDSO, userfaultfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::{ioctl, new_fd, result};

/// Makes an AIO context, moves its ring by mremap and destroys it at the new place.
///
/// # Errors
/// The call that failed; EINVAL from the last one: the kernel lost the ring on its way.
pub fn aio_remap() -> io::Result<()> {
    let mut context: libc::c_ulong = 0;
    // SAFETY: `context` is a writable aio_context_t with the value 0 that io_setup asks for.
    result(unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) })?;
    let page = rustix::param::page_size();
    // SAFETY: a fresh anonymous area, then the ring that io_setup has just mapped moved over it: both belong to nobody
    // else, and the ring is at least one page long.
    let moved = unsafe {
        let area = libc::mmap(ptr::null_mut(), page, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        if area == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let from = ptr::with_exposed_provenance_mut(context as usize);
        libc::mremap(from, page, page, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, area)
    };
    let at = if moved == libc::MAP_FAILED { context as usize } else { moved.addr() };
    let moved = if moved == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: io_destroy takes a number; of the context made above.
    let destroyed = result(unsafe { libc::syscall(libc::SYS_io_destroy, at) }).map(|_| ());
    moved.and(destroyed)
}

/// Which vDSO to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vdso {
    Bits32,
    Bits64,
}

/// arch_prctl(ARCH_MAP_VDSO_*): EEXIST, as there is a vDSO already, where the kernel knows the call.
pub fn map_vdso(which: Vdso) -> io::Error {
    let code = match which {
        Vdso::Bits32 => 0x2002,
        Vdso::Bits64 => 0x2003,
    };
    // SAFETY: with a vDSO already mapped the call fails with EEXIST before it does anything.
    let r = unsafe { libc::syscall(libc::SYS_arch_prctl, code, 0) };
    if r >= 0 { io::Error::from_raw_os_error(libc::EEXIST) } else { io::Error::last_os_error() }
}

/// What userfaultfd offers, as UFFD_FEATURE_* bits.
///
/// # Errors
/// No userfaultfd, or no right to it.
pub fn userfaultfd_features() -> io::Result<u64> {
    const UFFDIO_API: u32 = 0xc018_aa3f;
    const UFFD_API: u64 = 0xaa;
    // SAFETY: userfaultfd takes flags only.
    let fd = new_fd(result(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) })?);
    let mut api = [0u8; 64];
    api[..8].copy_from_slice(&UFFD_API.to_ne_bytes());
    ioctl(fd, UFFDIO_API, &mut api)?;
    let mut features = [0; 8];
    features.copy_from_slice(&api[8..16]);
    Ok(u64::from_ne_bytes(features))
}

/// What /proc/thread-self/maps shows while the first page of `file` is mapped.
///
/// # Errors
/// The file cannot be mapped.
pub fn maps_while_mapped(file: impl AsFd) -> io::Result<String> {
    let page = rustix::param::page_size();
    // SAFETY: a fresh read-only mapping at an address of the kernel's choice, never read through.
    let at =
        unsafe { libc::mmap(ptr::null_mut(), page, libc::PROT_READ, libc::MAP_PRIVATE, file.as_fd().as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let maps = crate::proc::read_text("/proc/thread-self/maps");
    // SAFETY: the mapping made above; nothing refers to it.
    unsafe { libc::munmap(at, page) };
    maps
}
