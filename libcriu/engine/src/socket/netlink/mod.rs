//! Netlink sockets: bound or not, with their groups, connected to a port, with the options of SOL_NETLINK.
//!
//! Limits, refused by name: messages or errors that wait to be read; protocols for which the kernel keeps something under a
//! socket's port that nobody can ask for (netfilter queues and tables, connector and others); the
//! audit daemon's own.

mod audit;
mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use crate::file::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Netlinksk],
    dump: || Box::<dump::NetlinkSockets>::default(),
    restore: || Box::new(restore::NetlinkSockets),
};

const SOL_NETLINK: i32 = 270;
const ADD_MEMBERSHIP: i32 = 1;
const LIST_MEMBERSHIPS: i32 = 9;

/// Options of SOL_NETLINK that are on or off: PKTINFO, BROADCAST_ERROR, NO_ENOBUFS, LISTEN_ALL_NSID, CAP_ACK, EXT_ACK,
/// GET_STRICT_CHK.
const SWITCHES: [i32; 7] = [3, 4, 5, 8, 10, 11, 12];

/// `netlink_sk_entry.state`
mod state {
    pub(super) const UNCONNECTED: u32 = 0;
    pub(super) const CONNECTED: u32 = 1;
}

/// No protocol has more groups: what bounds the bitmap of an image.
const MAX_GROUP_WORDS: usize = 64;

/// Protocols that keep nothing for a socket but its port and groups, by their names.
const PROTOCOLS: [(i32, &str); 9] = [
    (libc::NETLINK_ROUTE, "route"),
    (libc::NETLINK_USERSOCK, "usersock"),
    (libc::NETLINK_SOCK_DIAG, "sock_diag"),
    (libc::NETLINK_XFRM, "xfrm"),
    (libc::NETLINK_SELINUX, "selinux"),
    (libc::NETLINK_AUDIT, "audit"),
    (libc::NETLINK_FIB_LOOKUP, "fib_lookup"),
    (libc::NETLINK_KOBJECT_UEVENT, "kobject_uevent"),
    (libc::NETLINK_GENERIC, "generic"),
];
