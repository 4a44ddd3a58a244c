//! System calls that neither rustix nor the standard library wraps: the engine's only unsafe code.

pub(crate) mod descriptor;
pub mod memory;
pub mod pagemap;
pub mod peer;
#[cfg(test)]
pub(crate) mod trial;
