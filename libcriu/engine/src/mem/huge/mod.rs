//! Memory in pages of hugetlbfs: private and shared anonymous areas (MAP_HUGETLB), memfds (MFD_HUGETLB), System V segments (SHM_HUGETLB).
//! All of them are files of mounts that the kernel keeps for itself, one for each size of pages; the images have the size in the
//! flags of what they describe, where the calls have it, too.
//!
//! Pages are given out of a pool, and what is mapped has its pages put aside at once, so a restore can find that there are too
//! few: it looks before it makes anything (`Demand`).
//!
//! Limits: a segment is made with all of its pages put aside, also when it was made by SHM_NORESERVE, which no one can see. Where
//! userfaultfd(2) is not allowed, touched pages of shared objects that are all zero are taken for untouched ones. Files on a
//! mount of hugetlbfs that others can see are refused when they are mapped, and unlinked ones that are no memfds when they are open.

mod demand;
mod dump;
mod fill;

use std::io;
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, fstat, major, memfd_create, minor};

pub(crate) use demand::Demand;
pub(crate) use dump::dump;
pub(crate) use fill::fill;

/// Where MAP_*, MFD_* and SHM_* flags have the size: its binary logarithm.
const SHIFT: u32 = libc::MAP_HUGE_SHIFT as u32;
const MASK: u32 = 0x3f;
/// Flags without a size.
const DEFAULT_BITS: u32 = 21;
/// No address space is larger.
const LARGEST_BITS: u32 = 40;

/// Added to the inode's number, it names a shared anonymous object: such numbers are counted apart from those of the kernel's tmpfs.
pub(crate) const OBJECT: u64 = 1 << 32;

/// `size` as it stands in flags.
pub(crate) fn size_flags(page_bytes: u64) -> u32 {
    page_bytes.trailing_zeros() << SHIFT
}

/// The size in flags that ask for huge pages; `None` when none has it.
pub(crate) fn size_in(flags: u32) -> Option<u64> {
    let bits = match flags >> SHIFT & MASK {
        0 => DEFAULT_BITS,
        bits => bits,
    };
    (13..=LARGEST_BITS).contains(&bits).then(|| 1 << bits)
}

/// For messages: `2 MiB`.
pub(crate) fn shown(page_bytes: u64) -> String {
    match page_bytes {
        b if b.is_multiple_of(1 << 30) => format!("{} GiB", b >> 30),
        b if b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b => format!("{} KiB", b >> 10),
    }
}

/// The size of the pages of the kernel's own mount with this device; `None` for any other device.
pub(crate) fn page_bytes_on(dev: (u32, u32)) -> Option<u64> {
    static MOUNTS: OnceLock<Vec<((u32, u32), u64)>> = OnceLock::new();
    let mounts =
        MOUNTS.get_or_init(|| sizes().into_iter().filter_map(|size| Some((device(size).ok()?, size))).collect());
    mounts.iter().find(|(d, _)| *d == dev).map(|(_, size)| *size)
}

/// As `page_bytes_on`, for a `st_dev`.
pub(crate) fn page_bytes_of(dev: u64) -> Option<u64> {
    page_bytes_on((major(dev), minor(dev)))
}

fn device(page_bytes: u64) -> io::Result<(u32, u32)> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::from_bits_retain(size_flags(page_bytes));
    let dev = fstat(memfd_create(c"criu", flags)?)?.st_dev;
    Ok((major(dev), minor(dev)))
}

const POOLS: &str = "/sys/kernel/mm/hugepages";

/// The sizes that this kernel has.
fn sizes() -> Vec<u64> {
    let Ok(names) = std::fs::read_dir(POOLS) else { return Vec::new() };
    let size = |name: &str| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()?.checked_mul(1024);
    names.filter_map(|n| size(n.ok()?.file_name().to_str()?)).filter(|s| s.is_power_of_two()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_flags() {
        for size in [64 << 10, 2 << 20, 1 << 30] {
            assert_eq!(size_in(size_flags(size) | 0x40000), Some(size));
        }
        assert_eq!(size_in(0x40000), Some(2 << 20));
        assert_eq!(size_flags(2 << 20), libc::MAP_HUGE_2MB as u32);
        assert_eq!(size_in(12 << SHIFT), None);
        assert_eq!(size_in(63 << SHIFT), None);
        assert_eq!(
            (shown(2 << 20), shown(1 << 30), shown(64 << 10)),
            ("2 MiB".into(), "1 GiB".into(), "64 KiB".into())
        );
    }

    #[test]
    fn mounts_have_the_size_of_their_pages() {
        for size in sizes() {
            let Ok(dev) = device(size) else { continue };
            assert_eq!(page_bytes_on(dev), Some(size));
        }
        assert_eq!(page_bytes_on((0, 0)), None);
    }
}
