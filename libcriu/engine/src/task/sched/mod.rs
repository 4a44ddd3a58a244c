//! Scheduling of a thread: policy, nice value, real-time priority, timer slack.

mod dump;

pub use dump::{Sched, read};
