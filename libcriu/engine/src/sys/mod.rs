//! System calls that neither rustix nor the standard library wraps: the engine's only unsafe code.

pub(crate) mod descriptor;
pub mod memory;
pub mod pagemap;
pub mod peer;
pub mod process;
pub mod signal;
#[cfg(test)]
pub(crate) mod trial;
