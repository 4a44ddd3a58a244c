//! x86-64.

mod home;
mod regs;
mod xstate;

pub(crate) use home::{EXACT_EXIT_BYTES, Home, exact_exit, shared_exit};
pub use regs::{Restart, restart_of};
pub(crate) use regs::{call_regs, home_regs, is_native, jump_regs, restart_instead_of_eintr, slot_of};
pub use xstate::{Component, LEGACY_BYTES, XSTATE_HEADER_BYTES, Xstate, component, enabled_components, xstate_bytes};
