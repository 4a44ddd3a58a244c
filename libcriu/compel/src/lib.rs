//! Stopping processes, infecting them with a parasite, making system calls in them, and curing them.
//!
//! ```no_run
//! # fn main() -> Result<(), criu_compel::Error> {
//! use criu_compel::{Resume, SeizedTask};
//! let mut infected = SeizedTask::seize(4213)?.infect()?;
//! let pid = infected.syscall(libc::SYS_getpid, [0; 6])?;
//! infected.cure()?.release(Resume::AsBefore)?;
//! # Ok(()) }
//! ```
//!
//! The tracer is a thread: everything about one task has to be done by the thread that seized it. The tracer may die at any
//! time without harm to the task; how that is achieved stands in `infect` and in the project's ARCHITECTURE.md.

mod affinity;
pub mod arch;
mod copy;
pub mod drive;
mod each_thread;
mod error;
mod infect;
mod memory;
mod patience;
pub mod ptrace;
pub mod query;
mod rseq;
mod seize;
pub mod status;
mod vdso;

pub use affinity::Pin;
pub use copy::Copy;
pub use criu_pie::abi::parasite::Call;
pub use each_thread::{MakeCalls, ThreadAnswer};
pub use error::{Error, Kind, Result};
pub use infect::{Infected, Known};
pub use memory::Memory;
pub use ptrace::Regs;
pub use query::{AltStack, MemPolicy, PosixTimer, ProcessFacts, SigAction, ThreadFacts, TimerValue};
pub use seize::{Resume, SeizedTask, SeizedThread, Seizing, TracerRights};
pub use vdso::{is_compat as is_compat_vdso, syscall_instruction};
