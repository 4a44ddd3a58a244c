//! Unix sockets without a name: pairs of streams, datagrams and packets with their unread data, pairs of which one end is
//! closed, sockets that are not connected yet; and the caller's own connection to the engine in a self-dump (service).
//!
//! Queues are read by MSG_PEEK. Of datagrams and packets that shows the first message only, unless SO_PEEK_OFF is set: it
//! is, for the few microseconds the reading takes, on sockets that have something to read.
//!
//! Limits, refused by name: names (bound, listening, connected by name), messages that carry descriptors or credentials,
//! out-of-band bytes, peers outside the tree. A datagram of no bytes that somebody has peeked at before the dump cannot be
//! seen. The peer's credentials (SO_PEERCRED) are those of the process that restores the pair.

mod dump;
mod queue;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use crate::file::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Unixsk],
    dump: || Box::<dump::UnixSockets>::default(),
    restore: || Box::<restore::UnixSockets>::default(),
};

/// `unix_sk_entry.uflags`: the caller's own connection to the engine.
pub(super) const SERVICE: u32 = 2;

/// `unix_sk_entry.state`
pub(super) mod state {
    pub(in crate::socket) const ESTABLISHED: u32 = 1;
    pub(in crate::socket) const CLOSE: u32 = 7;
    pub(in crate::socket) const LISTEN: u32 = 10;
}

pub(super) const STREAM: u32 = libc::SOCK_STREAM as u32;
pub(super) const DGRAM: u32 = libc::SOCK_DGRAM as u32;
pub(super) const SEQPACKET: u32 = libc::SOCK_SEQPACKET as u32;

/// A limit for one socket's queue, far above what any socket buffer holds.
pub(super) const MAX_QUEUE_BYTES: u64 = 256 << 20;
