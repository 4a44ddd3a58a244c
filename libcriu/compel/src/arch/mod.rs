//! What depends on the processor: registers, extended state, the way home.

mod x86_64;

pub use x86_64::*;
