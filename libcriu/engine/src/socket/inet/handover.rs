//! Connections around the commit of a restore. Before it they leave repair mode behind the network lock, where no peer hears of
//! them; behind it the network is unlocked and their peers are called. Should the engine die in between, a small process puts them
//! back into repair mode and closes them, before the commit, or does the rest, behind it. A `Paused` allocates nothing.

use std::os::fd::RawFd;

use criu_soccr::Paused;

use crate::netlock::Key;
use crate::sys::commit_guard::Unfinished;
use crate::sys::descriptor::borrow;
use crate::sys::repair_guard::Reused;

#[derive(Debug)]
pub(super) struct Handover {
    pub sockets: Vec<Reused>,
    /// Of the network lock, if there is one. It holds at least as long as this exists.
    pub key: Option<Key>,
}

impl Unfinished for Handover {
    fn descriptors(&self) -> Vec<RawFd> {
        self.sockets.iter().map(|s| s.0).chain(self.key.as_ref().map(Key::descriptor)).collect()
    }

    fn undo(&self) {
        for &(fd, reuse) in &self.sockets {
            // Closed in repair mode, it says nothing to its peer.
            if let Ok(paused) = Paused::pause_knowing(borrow(fd), reuse) {
                paused.release();
            }
        }
    }

    fn complete(&self) {
        if let Some(key) = &self.key {
            key.turn();
        }
        for &(fd, reuse) in &self.sockets {
            // The kernel asks the peer for its window also where repair mode is off by now.
            let _ = Paused::take_over(borrow(fd), reuse).resume();
        }
    }
}
