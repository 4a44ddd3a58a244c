//! x86-64.

mod home;
mod ia32;
mod regs;
mod xstate;

pub(crate) use home::{EXACT_EXIT_BYTES, Home, exact_exit, shared_exit};
pub(crate) use ia32::call_ia32;
pub use regs::{CS_COMPAT, CS_NATIVE, Restart, is_compat, restart_of};
pub(crate) use regs::{call_regs, home_regs, is_known, is_nowhere, jump_regs, restart_instead_of_eintr, slot_of};
pub use xstate::{Component, LEGACY_BYTES, XSTATE_HEADER_BYTES, Xstate, component, enabled_components, xstate_bytes};
