//! PROCMAP_QUERY: what is mapped at one address, without reading the list of all.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// An area of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    pub start: u64,
    pub end: u64,
    pub offset: u64,
    pub inode: u64,
    /// Major and minor number.
    pub dev: (u32, u32),
    /// As the line of /proc/PID/maps has it, but newlines stand for themselves.
    pub name: Vec<u8>,
}

#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_bytes: u64,
    offset: u64,
    inode: u64,
    dev: [u32; 2],
    name_bytes: u32,
    build_id_bytes: u32,
    name: u64,
    build_id: u64,
}

/// _IOWR('f', 17, struct procmap_query)
const PROCMAP_QUERY: libc::c_ulong = 0xc068_6611;

/// The area at `address`, through an open /proc/PID/maps.
///
/// # Errors
/// ENOENT: there is none; ENOTTY in a kernel without the call; ENAMETOOLONG.
///
/// # References
/// Documentation/filesystems/proc.rst, Linux 6.11.
pub fn query(maps: BorrowedFd<'_>, address: u64) -> io::Result<Mapped> {
    let mut name = [0_u8; libc::PATH_MAX as usize];
    let mut q = Query {
        size: size_of::<Query>() as u64,
        address,
        name: name.as_mut_ptr() as u64,
        name_bytes: name.len() as u32,
        ..Query::default()
    };
    // SAFETY: `q` lives through the call and names `name` with its length; the kernel writes only there.
    if unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &mut q) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // The final zero is counted.
    let len = (q.name_bytes as usize).saturating_sub(1).min(name.len());
    let name = name[..len].to_vec();
    Ok(Mapped { start: q.start, end: q.end, offset: q.offset, inode: q.inode, dev: (q.dev[0], q.dev[1]), name })
}
