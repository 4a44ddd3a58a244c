//! PAGEMAP_SCAN: which pages of a task's memory are of which kind.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Categories of a page.
pub mod category {
    pub const FILE: u64 = 1 << 2;
    pub const PRESENT: u64 = 1 << 3;
    pub const SWAPPED: u64 = 1 << 4;
    pub const PFNZERO: u64 = 1 << 5;
    /// A guard region's marker (Linux 6.15).
    pub const GUARD: u64 = 1 << 8;
}

/// A run of pages with the same categories, as the kernel writes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageRegion {
    pub start: u64,
    pub end: u64,
    pub categories: u64,
}

#[repr(C)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// _IOWR('f', 16, struct pm_scan_arg)
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;

/// What a scan looks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Pages must have all of these categories ...
    pub all_of: u64,
    /// ... none of these ...
    pub none_of: u64,
    /// ... and at least one of these, unless it is 0.
    pub any_of: u64,
}

/// Scans `start..end` through an open /proc/PID/pagemap, fills `regions` from its beginning; gives the number filled and the
/// address where the walk stopped (`end` when it is complete).
///
/// # Errors
/// ENOTTY or EINVAL in a kernel without the call or without one of the categories.
///
/// # References
/// Documentation/admin-guide/mm/pagemap.rst, Linux 6.7.
pub fn pagemap_scan(
    pagemap: BorrowedFd<'_>,
    start: u64,
    end: u64,
    wanted: Wanted,
    regions: &mut [PageRegion],
) -> io::Result<(usize, u64)> {
    let mut arg = ScanArg {
        size: size_of::<ScanArg>() as u64,
        flags: 0,
        start,
        end,
        walk_end: 0,
        vec: regions.as_mut_ptr() as u64,
        vec_len: regions.len() as u64,
        max_pages: 0,
        category_inverted: wanted.none_of,
        category_mask: wanted.all_of | wanted.none_of,
        category_anyof_mask: wanted.any_of,
        return_mask: wanted.all_of | wanted.any_of,
    };
    // SAFETY: `arg` lives through the call and names the borrowed slice with its length; the kernel writes only there.
    let n = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &mut arg) };
    match usize::try_from(n) {
        Ok(n) => Ok((n, arg.walk_end)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
