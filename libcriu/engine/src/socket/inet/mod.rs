//! Internet sockets: TCP and UDP over IPv4 and IPv6 (also IPv4 through an IPv6 socket), with all their options.
//!
//! - TCP: not bound, bound, listening with its backlog. Connections waiting to be accepted are refused by name when their
//!   server has not accepted them in a while (`dump/newcomers`), unless `skip-in-flight` leaves them out.
//! - MPTCP: not bound, bound, listening. Those that listeners accept of peers without MPTCP are TCP connections like others.
//! - Connections, in every state that libsoccr knows, with `tcp-established`; `tcp-close` leaves them out, and the restored
//!   sockets are closed. See `hold` for the order at the dump; at the restore, all is made while the network is locked, and
//!   goes on when every task is ready.
//! - UDP and UDP-Lite: not bound, bound, connected, shut down; UDP with the datagrams that were not read yet.
//! - Raw sockets of every protocol, and datagram sockets of ICMP (ping): bound, connected, shut down; not with packets that were
//!   not read. What arrives between this look and the task's end is lost, as it is where a reader is too slow.
//! - Options: those of `SkOptsEntry`, `IpOptsEntry` and `TcpOptsEntry`, and all of `more_options`.
//!
//! The coordinator makes all sockets before it forks: while the others of a port are bound, each has SO_REUSEADDR, and gets
//! its own setting when all are there. `remains` binds to ports that the kernel still has for connections that have ended.
//!
//! Limits, refused by name: sockets of another network namespace, connections of MPTCP, other protocols (SCTP ...), filters of eBPF,
//! connections with MD5 or AO keys, with urgent data or an upper layer protocol, corked datagrams, programs of eBPF for
//! SO_REUSEPORT (`hidden`).

mod address;
mod dump;
mod facts;
mod handover;
mod hidden;
mod hold;
mod listed;
mod making;
mod memberships;
mod more_options;
mod queue;
mod raw_options;
mod remains;
mod resend;
mod restore;
mod stream;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use crate::file::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Inetsk],
    dump: || Box::<dump::InetSockets>::default(),
    restore: || Box::<restore::InetSockets>::default(),
};

/// The hint of what stands in the way only until a server has accepted.
pub(crate) const HAVE_THEM_ACCEPTED: &str =
    "have them accepted before the dump, or leave them out with --skip-in-flight";

const INET: u32 = libc::AF_INET as u32;
const INET6: u32 = libc::AF_INET6 as u32;
const STREAM: u32 = libc::SOCK_STREAM as u32;
const DGRAM: u32 = libc::SOCK_DGRAM as u32;
const RAW: u32 = libc::SOCK_RAW as u32;
const TCP: u32 = libc::IPPROTO_TCP as u32;
const MPTCP: u32 = libc::IPPROTO_MPTCP as u32;
const UDP: u32 = libc::IPPROTO_UDP as u32;
const ICMP: u32 = libc::IPPROTO_ICMP as u32;
const ICMPV6: u32 = libc::IPPROTO_ICMPV6 as u32;
const UDP_LITE: u32 = libc::IPPROTO_UDPLITE as u32;

/// `inet_sk_entry.state`: those of TCP, also for other protocols.
mod state {
    pub(super) const ESTABLISHED: u32 = 1;
    pub(super) const CLOSE: u32 = 7;
    pub(super) const LISTEN: u32 = 10;
}
