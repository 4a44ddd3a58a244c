//! Netlink sockets: entries from their names and options.

use std::os::fd::{AsFd, BorrowedFd};

use criu_images::messages::{FdTypes, FileEntry, NetlinkSkEntry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::socket_type;
use rustix::net::{AddressFamily, SocketFlags, SocketType, getpeername, getsockname, socket_with};

use super::{LIST_MEMBERSHIPS, PROTOCOLS, SOL_NETLINK, SWITCHES, audit, state};
use crate::error::Result;
use crate::file::{Collected, DumpKind, FileId, Seen, Unsaved};
use crate::namespace::Namespace;
use crate::socket::options;
use crate::sys::socket::{int_option, option, option_bytes};

const SO_NETNS_COOKIE: i32 = 71;

#[derive(Debug, Default)]
pub(crate) struct NetlinkSockets {
    /// Names the engine's own network namespace.
    namespace: Option<Vec<u8>>,
}

impl DumpKind for NetlinkSockets {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.socket_family() == Some(libc::AF_NETLINK as u32)
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let fd = seen.dup.as_fd();
        let asked = |e: std::io::Error| Unsaved::os(seen, "getsockopt", e);
        self.check_namespace(seen)?;
        let protocol = option(fd, libc::SO_PROTOCOL).map_err(asked)?;
        if !PROTOCOLS.iter().any(|p| p.0 == protocol) {
            let cause =
                format!("a netlink socket of protocol {protocol}, for which the kernel may keep more than it tells");
            return Err(Unsaved::because(cause).hint("close it before the dump"));
        }
        if protocol == libc::NETLINK_AUDIT {
            let daemon = audit::daemon().map_err(|e| Unsaved::os(seen, "asking for the audit daemon", e))?;
            if daemon == Some(seen.task.vpid) {
                return Err(Unsaved::because("the audit daemon's socket: the kernel would not know a restored one"));
            }
        }
        nothing_waits(seen)?;
        let opts = match options::read_all(fd).map_err(asked)? {
            Ok(opts) => opts,
            Err(what) => return Err(Unsaved::because(format!("a netlink socket with {what} cannot be saved"))),
        };
        let own = name(Some(getsockname(fd).map_err(|e| Unsaved::os(seen, "getsockname", e))?));
        let peer = name(getpeername(fd).map_err(|e| Unsaved::os(seen, "getpeername", e))?);
        let connected = peer.pid() != 0 || peer.groups() != 0;
        let nlsk = NetlinkSkEntry {
            id,
            ino: seen.stat.st_ino as u32,
            protocol: protocol as u32,
            state: if connected { state::CONNECTED } else { state::UNCONNECTED },
            flags: seen.info.flags,
            portid: own.pid(),
            groups: groups(fd).map_err(asked)?,
            dst_portid: peer.pid(),
            // A mask of one bit, or none.
            dst_group: peer.groups().checked_ilog2().map_or(0, |bit| bit + 1),
            fown: seen.fown,
            opts,
            ns_id: Some(Namespace::Net as u32 + 1),
            r#type: Some(socket_type(fd).map_err(|e| Unsaved::os(seen, "getsockopt", e))?.as_raw()),
            options: Some(switches(fd).map_err(asked)?).filter(|&on| on != 0),
        };
        Ok(FileEntry { r#type: FdTypes::Netlinksk as i32, id, nlsk: Some(Box::new(nlsk)), ..FileEntry::default() })
    }
}

impl NetlinkSockets {
    fn check_namespace(&mut self, seen: &Seen<'_>) -> Result<(), Unsaved> {
        let cookie = |fd: BorrowedFd<'_>| option_bytes(fd, libc::SOL_SOCKET, SO_NETNS_COOKIE, 8);
        let failed = |e| Unsaved::os(seen, "getsockopt SO_NETNS_COOKIE", e);
        let own = match &self.namespace {
            Some(own) => own,
            None => {
                let fresh = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
                    .map_err(|e| Unsaved::os(seen, "socket", e))?;
                self.namespace.insert(cookie(fresh.as_fd()).map_err(failed)?)
            }
        };
        if cookie(seen.dup.as_fd()).map_err(failed)? == *own {
            Ok(())
        } else {
            Err(Unsaved::because("a netlink socket of another network namespace"))
        }
    }
}

/// An address that is none of netlink's says nothing: port 0, no groups.
fn name(address: Option<rustix::net::SocketAddrAny>) -> SocketAddrNetlink {
    address.and_then(|a| a.try_into().ok()).unwrap_or_else(|| SocketAddrNetlink::new(0, 0))
}

/// Polls: receiving an error would take it away.
fn nothing_waits(seen: &Seen<'_>) -> Result<(), Unsaved> {
    let mut fds = [PollFd::new(&seen.dup, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).map_err(|e| Unsaved::os(seen, "poll", e))?;
    let what = match fds[0].revents() {
        events if events.contains(PollFlags::IN) => "messages wait in its queue",
        events if events.contains(PollFlags::ERR) => "an error (of lost messages) waits to be read",
        _ => return Ok(()),
    };
    Err(Unsaved::because(format!("a netlink socket: {what}")).hint("have it read before the dump"))
}

/// The bitmap of groups, in words.
fn groups(fd: BorrowedFd<'_>) -> std::io::Result<Vec<u32>> {
    let bytes = option_bytes(fd, SOL_NETLINK, LIST_MEMBERSHIPS, super::MAX_GROUP_WORDS * 4)?;
    let words = bytes.chunks_exact(4).filter_map(|w| w.try_into().ok()).map(u32::from_ne_bytes);
    let mut words: Vec<u32> = words.collect();
    while words.last() == Some(&0) {
        words.pop();
    }
    Ok(words)
}

/// The options that are on, by bit.
fn switches(fd: BorrowedFd<'_>) -> std::io::Result<u32> {
    let mut on = 0;
    for switch in SWITCHES {
        match int_option(fd, SOL_NETLINK, switch) {
            Ok(0) => {}
            Ok(_) => on |= 1 << switch,
            Err(e) if e.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(on)
}
