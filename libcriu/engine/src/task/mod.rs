//! What belongs to a task or a thread: each part is a file or a folder with both directions.

pub mod abi;
pub mod core;
pub mod creds;
pub mod identity;
pub mod limits;
pub mod regs;
pub mod rseq;
pub mod sched;
pub mod seccomp;
pub mod segments;
pub mod sigact;
pub mod signals;
pub mod stop;
pub mod timers;
