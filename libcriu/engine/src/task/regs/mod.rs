//! Registers of a thread: general ones, x87, SSE and every further component of the xsave area.

mod dump;
pub mod restore;
mod xsave;

pub use dump::{fpregs, gpregs, tls_slots};
pub use xsave::{Component, components};

/// The length of `syscall` and of `int 0x80`.
const SYSCALL_BYTES: u64 = 2;
