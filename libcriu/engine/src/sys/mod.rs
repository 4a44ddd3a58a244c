//! System calls that neither rustix nor the standard library wraps: the engine's only unsafe code.

pub(crate) mod descriptor;
pub mod kcmp;
pub mod memory;
pub mod pagemap;
pub mod arena;
pub mod control;
pub mod cpu;
pub mod enter;
pub mod mapping;
pub mod peer;
pub mod probe;
pub mod process;
pub mod signal;
pub mod ptrace;
pub mod task;
pub(crate) mod socket;
pub(crate) mod timerfd;
#[cfg(test)]
pub(crate) mod trial;
pub(crate) mod tty;
pub mod spawn;
pub mod tracee;
