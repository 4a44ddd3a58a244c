//! PTRACE_PEEKSIGINFO leaves them where they are.

use criu_compel::ptrace::pending_signals;
use criu_images::messages::{SiginfoEntry, SignalQueueEntry};

use crate::task::timers::of_timer;

/// The queue of a stopped thread, or (`shared`) of its process.
///
/// # Errors
/// Those of ptrace(2).
pub fn queue(tid: i32, shared: bool) -> criu_compel::Result<SignalQueueEntry> {
    let signals = pending_signals(tid, shared)?;
    Ok(SignalQueueEntry { signals: signals.iter().map(|s| SiginfoEntry { siginfo: s.to_vec() }).collect() })
}

/// What waits `now` and did not wait `before`, but for signals of timers, whose times were noted down then.
pub fn sent_since(before: &SignalQueueEntry, now: SignalQueueEntry) -> Vec<SiginfoEntry> {
    let mut before: Vec<&SiginfoEntry> = before.signals.iter().collect();
    let mut is_new = |signal: &SiginfoEntry| {
        let known = before.iter().position(|b| *b == signal).map(|at| before.swap_remove(at));
        known.is_none() && !is_of_timer(&signal.siginfo)
    };
    now.signals.into_iter().filter(|signal| is_new(signal)).collect()
}

fn is_of_timer(info: &[u8]) -> bool {
    const SI_KERNEL: i32 = 0x80;
    let word = |at: usize| info.get(at..at + 4).and_then(|w| w.try_into().ok()).map_or(0, i32::from_ne_bytes);
    let is_of_interval = || word(8) == SI_KERNEL && [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF].contains(&word(0));
    of_timer(info).is_some() || is_of_interval()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_came_meanwhile() {
        let signal = |signo: i32, code: i32| {
            let words = [signo, 0, code, 0].map(i32::to_ne_bytes).concat();
            SiginfoEntry { siginfo: [words, vec![0; 112]].concat() }
        };
        let queue =
            |signals: &[(i32, i32)]| SignalQueueEntry { signals: signals.iter().map(|s| signal(s.0, s.1)).collect() };
        let before = queue(&[(10, 0), (34, -1)]);
        assert!(sent_since(&before, before.clone()).is_empty());
        let now = queue(&[(10, 0), (34, -1), (34, -1), (14, 0x80), (14, 0), (35, -2), (28, 0x80)]);
        assert_eq!(sent_since(&before, now), queue(&[(34, -1), (14, 0), (28, 0x80)]).signals);
    }
}
