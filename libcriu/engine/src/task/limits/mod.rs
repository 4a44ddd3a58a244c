//! Resource limits of a process, soft and hard, RLIMIT_CPU (0) to RLIMIT_RTTIME (15).

mod dump;
pub mod restore;
mod room;

pub use dump::entry;
pub use room::{Room, Used, are_tight};
