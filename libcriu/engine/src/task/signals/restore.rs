//! Signal actions, masks and pending signals from an image.

use criu_images::messages::{SaEntry, SignalQueueEntry, TaskCoreEntry, ThreadCoreEntry};
use criu_pie::abi::restorer::{SigInfo, SignalAction};

use super::is;
use crate::task::abi::IA32_END;

/// Signals run from 1 to this.
const LAST: i32 = 64;
const SA_RESTORER: u64 = 0x0400_0000;
const SIG_IGN: u64 = 1;
/// Those whose actions the C library changes by itself, when this process starts a thread.
const OF_THE_LIBRARY: std::ops::RangeInclusive<u64> = 32..=33;

/// The actions of signals 1 to 64 without SIGKILL and SIGSTOP, in the order of the image; but those that `own`, of the
/// process that becomes the task, has already.
///
/// # Errors
/// In words.
pub fn actions(tc: &TaskCoreEntry, own: &[SignalAction]) -> Result<Vec<SignalAction>, String> {
    let signals = (1..=LAST).filter(|s| ![libc::SIGKILL, libc::SIGSTOP].contains(s));
    if tc.sigactions.len() > LAST as usize - 2 {
        return Err(format!("{} signal actions", tc.sigactions.len()));
    }
    let mut actions: Vec<_> =
        signals.zip(&tc.sigactions).map(|(signo, e)| action(signo, e)).collect::<Result<_, _>>()?;
    actions.retain(|a| OF_THE_LIBRARY.contains(&a.signo) || own.get(a.signo as usize - 1) != Some(a));
    Ok(actions)
}

fn action(signo: i32, e: &SaEntry) -> Result<SignalAction, String> {
    // Without the flag the restorer is not looked at.
    let restorer = if e.flags & SA_RESTORER != 0 { e.restorer } else { 0 };
    // Whether it was set by an i386 call counts only where something is called.
    let is_ia32 = e.compat_sigaction() && e.sigaction > SIG_IGN;
    if is_ia32 && [e.sigaction, restorer].iter().any(|at| *at >= IA32_END) {
        return Err(format!("the handler of signal {signo} is where no 32-bit code can be"));
    }
    let handler = e.sigaction;
    Ok(SignalAction { signo: signo as u64, is_ia32: is_ia32.into(), handler, flags: e.flags, restorer, mask: e.mask })
}

/// Pending signals with all that is known about each, in their order. But SIGSTOP: nothing holds it off, and it is given to the task
/// when all else is there.
///
/// # Errors
/// In words.
pub fn pending(queue: Option<&SignalQueueEntry>) -> Result<Vec<SigInfo>, String> {
    let signals = queue.map_or(&[][..], |q| &q.signals);
    signals.iter().filter(|s| !is(s, libc::SIGSTOP)).map(|s| info(&s.siginfo)).collect()
}

fn info(bytes: &[u8]) -> Result<SigInfo, String> {
    let whole: [u8; 128] = bytes.try_into().map_err(|_| format!("a pending signal of {} bytes", bytes.len()))?;
    let signo = i32::from_le_bytes([whole[0], whole[1], whole[2], whole[3]]);
    if (1..=LAST).contains(&signo) { Ok(SigInfo(whole)) } else { Err(format!("a pending signal {signo}")) }
}

/// The mask a thread is to have. The leader's is the task's, where its own is not there.
pub fn mask(tc: &TaskCoreEntry, thread: &ThreadCoreEntry, leader: bool) -> u64 {
    let own = if leader { Some(tc.blk_sigset) } else { None };
    own.or(thread.blk_sigset).unwrap_or(tc.blk_sigset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_actions_that_differ_are_set() {
        let entry = |handler, flags| SaEntry { sigaction: handler, flags, ..SaEntry::default() };
        let own: Vec<SignalAction> = (1..=64).map(|signo| SignalAction { signo, ..SignalAction::default() }).collect();
        let mut sigactions = vec![entry(0, 0); 62];
        sigactions[1] = entry(1, 0);
        // Behind SIGKILL (9) the places move on.
        sigactions[8] = entry(0, libc::SA_RESTART as u64);
        let tc = TaskCoreEntry { sigactions, ..TaskCoreEntry::default() };
        let set: Vec<u64> = actions(&tc, &own).unwrap().iter().map(|a| a.signo).collect();
        assert_eq!(set, [2, 10, 32, 33]);
        assert_eq!(actions(&tc, &[]).unwrap().len(), 62);
    }
}
