//! x86-64.

#[allow(dead_code)] // the exits of the other threads
mod home;
#[allow(dead_code)]
mod regs;
mod xstate;

pub(crate) use home::Home;
pub use regs::{Restart, restart_of};
pub(crate) use regs::{call_regs, home_regs, is_native, jump_regs};
pub use xstate::{Component, LEGACY_BYTES, XSTATE_HEADER_BYTES, Xstate, component, enabled_components, xstate_bytes};
