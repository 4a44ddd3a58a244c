//! By which signal to stop, and what a parent knows.

use criu_images::messages::{SignalQueueEntry, TaskCoreEntry};

use crate::task::signals;

/// The signal to stop a process by: its own, `signo`, if that is one that stops and is not handled.
pub fn signal(tc: &TaskCoreEntry, signo: i32) -> i32 {
    // Those of SIGKILL and SIGSTOP are left out.
    let action = usize::try_from(signo - 3).ok().and_then(|at| tc.sigactions.get(at));
    let stops = matches!(signo, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
    if stops && action.is_some_and(|a| a.sigaction == 0) { signo } else { libc::SIGSTOP }
}

/// Those of the signals in this queue that are `signo`.
pub fn waiting(signo: i32, queue: Option<&SignalQueueEntry>) -> impl Iterator<Item = [u8; 128]> + '_ {
    let signals = queue.into_iter().flat_map(|q| &q.signals).filter(move |s| signals::is(s, signo));
    signals.filter_map(|s| s.siginfo.as_slice().try_into().ok())
}

#[cfg(test)]
mod tests {
    use criu_images::messages::{SaEntry, SiginfoEntry};

    use super::*;

    #[test]
    fn own_signals_that_stop() {
        let mut tc = TaskCoreEntry { sigactions: vec![SaEntry::default(); 62], ..TaskCoreEntry::default() };
        let stops = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGSTOP];
        assert_eq!(stops.map(|signo| signal(&tc, signo)), stops);
        assert_eq!([0, -5, 64, libc::SIGTERM].map(|signo| signal(&tc, signo)), [libc::SIGSTOP; 4]);
        tc.sigactions[libc::SIGTTIN as usize - 3].sigaction = 0x1000;
        assert_eq!(stops.map(|signo| signal(&tc, signo)), [stops[0], libc::SIGSTOP, stops[2], libc::SIGSTOP]);
        tc.sigactions.clear();
        assert_eq!(signal(&tc, libc::SIGTSTP), libc::SIGSTOP);
    }

    #[test]
    fn signals_that_wait() {
        let queue = |signo: i32| SignalQueueEntry {
            signals: vec![SiginfoEntry { siginfo: [&signo.to_le_bytes()[..], &[0; 124]].concat() }],
        };
        let (child, other) = (queue(libc::SIGCHLD), queue(libc::SIGUSR1));
        let count = |queue: Option<&SignalQueueEntry>| waiting(libc::SIGCHLD, queue).count();
        assert_eq!([count(Some(&child)), count(Some(&other)), count(None)], [1, 0, 0]);
    }
}
