//! A door that is shut to newcomers: SYNs to ports are dropped, and are sent again by whoever wants in. What is connected
//! already goes on.

use std::collections::BTreeSet;

use super::channel::Channel;
use super::wire::Batch;
use super::{LockId, Result, ruleset};

/// Ports that take no new connections as long as this lives, however its process ends.
#[derive(Debug)]
pub(crate) struct Door {
    _channel: Channel,
}

impl Door {
    /// Shuts `ports` in the caller's network namespace.
    ///
    /// # Errors
    /// As of `NetworkLock::lock`.
    pub(crate) fn shut(id: &LockId, ports: &BTreeSet<u16>) -> Result<Self> {
        let channel = Channel::open(None)?;
        let mut batch = Batch::new();
        ruleset::create_door(&mut batch, &id.table(), ports);
        channel.commit(batch, "keeping new connections away")?;
        Ok(Door { _channel: channel })
    }
}
