//! Memory policies of single areas (mbind(2)): from which nodes each gets its pages, and near to which of them
//! (set_mempolicy_home_node(2)). The kernel's records alone tell the latter: where they cannot be read it is lost, and the log
//! says so of areas that may have one.

mod dump;
pub mod restore;

pub use dump::{ask, find_home_nodes};

/// As many nodes as the kernel is asked for.
const MOST_NODES: u64 = 512;

/// MPOL_DEFAULT: none.
const DEFAULT: u32 = 0;

/// MPOL_BIND
const BIND: u32 = 2;
/// MPOL_PREFERRED_MANY
const PREFERRED_MANY: u32 = 5;
