//! Resource limits of a process, soft and hard, RLIMIT_CPU (0) to RLIMIT_RTTIME (15).

mod dump;
pub mod restore;

pub use dump::entry;
