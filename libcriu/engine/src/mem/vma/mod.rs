//! Areas of an address space (VMAs), as `mm-PID.img` lists them.
//!
//! An area is private or shared, anonymous or of a file (`shmid` is then the file's id in `files.img`). Shared anonymous areas have
//! in `shmid` the name of their contents: `pagemap-shmem-SHMID.img`.

pub(crate) mod breakpoint;
mod dump;
pub mod placement;
pub mod restore;

pub use dump::{AreaKind, Classified, classify, entry, huge_page};
pub(crate) use dump::{END_THEM, UPROBES, is_aio_ring};

/// Bits of `vma_entry.status`.
pub mod status {
    pub const REGULAR: u32 = 1;
    pub const STACK: u32 = 1 << 1;
    pub const VSYSCALL: u32 = 1 << 2;
    pub const VDSO: u32 = 1 << 3;
    pub const HEAP: u32 = 1 << 5;
    pub const FILE_PRIVATE: u32 = 1 << 6;
    pub const FILE_SHARED: u32 = 1 << 7;
    pub const ANON_SHARED: u32 = 1 << 8;
    pub const ANON_PRIVATE: u32 = 1 << 9;
    pub const SYSVIPC: u32 = 1 << 10;
    pub const SOCKET: u32 = 1 << 11;
    pub const VVAR: u32 = 1 << 12;
    pub const AIORING: u32 = 1 << 13;
    pub const MEMFD: u32 = 1 << 14;
    pub const SHADOW_STACK: u32 = 1 << 15;
    pub const GUARD: u32 = 1 << 16;
    pub const UPROBES: u32 = 1 << 17;
    /// Not in CRIU: of an io_uring instance.
    pub const URING: u32 = 1 << 24;
    pub const PLUGIN: u32 = 1 << 27;
}

/// Bits of `vma_entry.flags`: those of mmap(2), by their numbers in the kernel.
pub mod flags {
    pub const SHARED: u32 = 0x01;
    pub const PRIVATE: u32 = 0x02;
    /// Instead of `PRIVATE`: the kernel may drop the contents at any time.
    pub const DROPPABLE: u32 = 0x08;
    pub const ANONYMOUS: u32 = 0x20;
    pub const GROWSDOWN: u32 = 0x100;
    pub const LOCKED: u32 = 0x2000;
    pub const NORESERVE: u32 = 0x4000;
    pub const HUGETLB: u32 = 0x40000;
}

/// Flags in `VmFlags` and the advice (`1 << MADV_*` in `vma_entry.madv`) that sets each.
pub const ADVICE: &[([u8; 2], i32)] = &[
    (*b"rr", libc::MADV_RANDOM),
    (*b"sr", libc::MADV_SEQUENTIAL),
    (*b"dc", libc::MADV_DONTFORK),
    (*b"mg", libc::MADV_MERGEABLE),
    (*b"hg", libc::MADV_HUGEPAGE),
    (*b"nh", libc::MADV_NOHUGEPAGE),
    (*b"dd", libc::MADV_DONTDUMP),
    (*b"wf", libc::MADV_WIPEONFORK),
];

pub const PAGE_BYTES: u64 = 4096;

/// Where user space ends with four-level page tables: the last page is never used.
pub const USER_END: u64 = 0x7fff_ffff_f000;
