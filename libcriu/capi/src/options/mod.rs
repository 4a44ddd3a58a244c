//! The functions of `criu.h` that set options.

pub mod basics;
pub mod cgroups;
pub mod files;
pub mod lifetime;
pub mod memory;
pub mod mounts;
pub mod network;
