//! Unix sockets of every type: pairs, bound to paths and abstract names, listening with connections that wait to be
//! accepted, accepted, connected one way; their unread messages with the descriptors, credentials and sender names that go
//! along; and the caller's own connection to the engine in a self-dump (service).
//!
//! Queues are read by MSG_PEEK with SO_PEEK_OFF, which is set for the few microseconds the reading takes. Files that sockets
//! are bound to are made anew by the coordinator, in place of those the dumped tasks have left.
//!
//! Peers outside the tree are allowed by `ext_unix_sk`, by its list of inodes or by the callback: a datagram socket is
//! connected again to the name of its peer; others come back with their peer gone, unless `inherit_fd` gives one.
//!
//! Whom a socket names as its peer (SO_PEERCRED, SO_PEERGROUPS) is restored by making it in the name of that process
//! (`makers`).
//!
//! What was sent on connections that nobody has accepted yet is read in the kernel's memory (`unaccepted`).
//!
//! Limits, refused by name: other peers outside the tree; descriptors sent on a connection that waits to be accepted, and any
//! data where the engine may not run a BPF program. A datagram of no
//! bytes that somebody has peeked at before the dump cannot be seen. Where another process outside the tree has the pid of a
//! peer, the log says that the peer's name is lost. A pidfd of a peer (SO_PEERPIDFD) is one of a process that has ended, unless
//! the task that uses the socket is the peer itself.

mod bind;
mod dump;
mod entry;
mod fill;
mod make;
mod makers;
mod name;
mod queue;
mod restore;
mod saved;
#[cfg(test)]
mod tests;
mod unaccepted;

use criu_images::messages::{FdTypes, UnixSkEntry};

use crate::file::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Unixsk],
    dump: || Box::<dump::UnixSockets>::default(),
    restore: || Box::<restore::UnixSockets>::default(),
};

/// `unix_sk_entry.uflags`: a socket outside the tree that one of the tree is connected to, by its name.
pub(super) const EXTERNAL: u32 = 1;
/// `unix_sk_entry.uflags`: one of the tree whose peer is outside and stays there.
pub(super) const PEER_EXTERNAL: u32 = 4;
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

/// `scm_entry.type`: descriptors.
pub(super) const SCM_RIGHTS: u32 = libc::SCM_RIGHTS as u32;

/// For messages: which socket, by what images call it.
fn named(usk: &UnixSkEntry) -> String {
    match usk.name.as_slice() {
        [] => format!("file {} (unix socket ino {})", usk.id, usk.ino),
        name => format!("file {} (unix socket ino {}, {})", usk.id, usk.ino, name::shown(name)),
    }
}

/// Whether it was connected to a socket that is gone. CRIU has no word for that in a datagram socket with a name: it calls
/// established what somebody else is connected to.
fn is_widowed(usk: &UnixSkEntry) -> bool {
    let told = usk.r#type != DGRAM || usk.name.is_empty() || usk.peer_gone();
    usk.peer == 0 && usk.state == state::ESTABLISHED && told
}
