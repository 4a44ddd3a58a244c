//! Pending signals, of a thread or of a process, with their siginfo, in order.

mod dump;
pub mod restore;

pub use dump::{queue, sent_since};
