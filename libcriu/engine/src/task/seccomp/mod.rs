//! Seccomp, per thread: a mode and a chain of filters.
//!
//! `seccomp.img` lists filters; `thread_core_entry.seccomp_filter` is the index of the one that a thread installed first, and `prev` leads from there to the
//! one installed next. Equal chains, and equal ends of chains, are stored once. When all threads of a task carry the same chain it
//! stands on the leader alone, its filters with TSYNC.

mod dump;
pub mod restore;

pub use dump::{Chain, Filters, ThreadSeccomp, read};

/// `thread_core_entry.seccomp_mode`
pub mod mode {
    pub const NONE: u32 = 0;
    pub const STRICT: u32 = 1;
    pub const FILTER: u32 = 2;
}

/// SECCOMP_FILTER_FLAG_*
pub mod flags {
    pub const TSYNC: u32 = 1;
    pub const LOG: u32 = 1 << 1;
    pub const SPEC_ALLOW: u32 = 1 << 2;
}
