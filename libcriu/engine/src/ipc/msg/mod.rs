//! Message queues (msgget): `ipcns-msg-N.img` lists them with their messages.

use criu_images::messages::{IpcMsg, IpcMsgEntry};

pub(super) mod dump;
pub(super) mod restore;

/// A queue and its messages.
pub(crate) type Saved = (IpcMsgEntry, Vec<(IpcMsg, Vec<u8>)>);
