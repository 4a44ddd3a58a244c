//! The address space as a whole: `mm-PID.img`.

mod dump;

pub use dump::{Collected, Collector, Facts, Seen, Segment, SharedObject};
