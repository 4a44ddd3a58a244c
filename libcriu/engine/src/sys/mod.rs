//! System calls that neither rustix nor the standard library wraps: the engine's only unsafe code.

pub mod apart;
pub mod arena;
pub(crate) mod bpf;
pub mod control;
pub mod cpu;
pub(crate) mod descriptor;
pub mod enter;
pub(crate) mod fs;
pub(crate) mod inheritance;
pub mod ipc;
pub mod kcmp;
pub(crate) mod kernel;
pub(crate) mod lock;
pub mod mapping;
pub mod memory;
pub(crate) mod notify;
pub mod pagemap;
pub mod peer;
pub mod probe;
pub mod process;
pub(crate) mod procmap;
pub mod ptrace;
pub(crate) mod repair_guard;
pub mod signal;
pub(crate) mod socket;
pub mod spawn;
pub(crate) mod stand_in;
pub mod task;
pub(crate) mod task_heap;
pub(crate) mod timerfd;
pub mod tracee;
#[cfg(test)]
pub(crate) mod trial;
pub(crate) mod tty;
pub(crate) mod tun;
pub(crate) mod unix;
