//! Credentials of a thread: ids, groups, capability sets, securebits, no_new_privs.

pub mod dump;
pub mod landlock;
pub mod restore;

pub use dump::entry;
