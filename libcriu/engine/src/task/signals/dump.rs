//! PTRACE_PEEKSIGINFO leaves them where they are.

use criu_compel::ptrace::pending_signals;
use criu_images::messages::{SiginfoEntry, SignalQueueEntry};

/// The queue of a stopped thread, or (`shared`) of its process.
///
/// # Errors
/// Those of ptrace(2).
pub fn queue(tid: i32, shared: bool) -> criu_compel::Result<SignalQueueEntry> {
    let signals = pending_signals(tid, shared)?;
    Ok(SignalQueueEntry { signals: signals.iter().map(|s| SiginfoEntry { siginfo: s.to_vec() }).collect() })
}
