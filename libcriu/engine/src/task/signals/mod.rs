//! Pending signals, of a thread or of a process, with their siginfo, in order.

mod dump;
pub mod restore;

use criu_images::messages::{SiginfoEntry, SignalQueueEntry};

pub use dump::{queue, sent_since};

/// Is it the signal of this number?
pub fn is(signal: &SiginfoEntry, signo: i32) -> bool {
    signal.siginfo.starts_with(&signo.to_ne_bytes())
}

/// Does a signal of this number wait in the queue?
pub fn waits(signo: i32, queue: Option<&SignalQueueEntry>) -> bool {
    queue.is_some_and(|queue| queue.signals.iter().any(|signal| is(signal, signo)))
}
