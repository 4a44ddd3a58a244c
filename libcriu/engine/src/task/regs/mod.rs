//! Registers of a thread: general ones, x87, SSE and every further component of the xsave area.

mod dump;
mod restart;
pub mod restore;
mod xsave;

pub use dump::{fpregs, gpregs};
pub use restart::call_behind;
pub use xsave::{Component, components};

/// The length of `syscall` and of `int 0x80`.
const SYSCALL_BYTES: u64 = 2;
