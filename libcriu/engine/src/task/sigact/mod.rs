//! Signal actions of a process: one for each signal but SIGKILL and SIGSTOP, in order.

mod dump;

pub use dump::entries;

/// Can the signal (1 to 64) have an action?
pub fn has_action(signo: i32) -> bool {
    signo != libc::SIGKILL && signo != libc::SIGSTOP
}
