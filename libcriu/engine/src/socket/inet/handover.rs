//! Connections around the commit of a restore. Before it they leave repair mode behind the network lock, where no peer hears of
//! them; behind it the network is unlocked and their peers are called. Should the engine die in between, a small process puts them
//! back into repair mode and closes them, before the commit, or does the rest, behind it.

use std::os::fd::RawFd;

use crate::netlock::Key;
use crate::sys::commit_guard::Unfinished;
use crate::sys::repair_guard::{Reused, call_peer, pause};

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
        self.sockets.iter().for_each(|s| pause(s.0));
    }

    fn complete(&self) {
        if let Some(key) = &self.key {
            key.turn();
        }
        self.sockets.iter().for_each(call_peer);
    }
}
