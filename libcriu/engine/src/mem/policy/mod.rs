//! Memory policies of single areas (mbind(2)): from which nodes each gets its pages.

mod dump;
pub mod restore;

pub use dump::ask;

/// As many nodes as the kernel is asked for.
const MOST_NODES: u64 = 512;

/// MPOL_DEFAULT: none.
const DEFAULT: u32 = 0;
