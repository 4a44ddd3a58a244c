//! Arguments shared between the engine and the programs: `repr(C)`, plain old data, no pointers of Rust types. The
//! programs include these files by path, so they use `core` only.

pub mod parasite;
pub mod restorer;
