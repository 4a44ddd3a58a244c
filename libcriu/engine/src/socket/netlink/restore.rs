//! Netlink sockets: made, bound to their ports, joined to their groups.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use criu_images::ImageDir;
use criu_images::messages::{FdTypes, FileEntry, NetlinkSkEntry};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, connect, socket_with};

use super::{ADD_MEMBERSHIP, MAX_GROUP_WORDS, PROTOCOLS, SOL_NETLINK, SWITCHES, state};
use crate::error::{Error, Phase, Result};
use crate::file::{Object, Plan, RestoreKind, Wanted, body};
use crate::socket::options;
use crate::sys::socket::set_int_option;

#[derive(Debug)]
pub(crate) struct NetlinkSockets;

impl RestoreKind for NetlinkSockets {
    fn load(&mut self, plan: &Plan, _images: &ImageDir) -> Result<()> {
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Netlinksk) {
            let nlsk = body(entry, entry.nlsk.as_deref())?;
            check(nlsk).map_err(|why| Error::new(Phase::Check, named(nlsk), why))?;
        }
        Ok(())
    }

    fn open(&mut self, plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let open = |m: &FileEntry| {
            let nlsk = body(m, m.nlsk.as_deref())?;
            let wanted =
                Wanted::Socket { family: libc::AF_NETLINK as u32, kind: nlsk.r#type(), protocol: nlsk.protocol };
            match plan.inherited(&format!("socket:[{}]", nlsk.ino), wanted)? {
                Some(fd) => Ok(fd),
                None => make(nlsk),
            }
        };
        members.iter().map(|m| open(m)).collect()
    }
}

fn named(nlsk: &NetlinkSkEntry) -> String {
    let protocol = PROTOCOLS.iter().find(|p| p.0 as u32 == nlsk.protocol).map_or("?", |p| p.1);
    format!("file {} (netlink socket ino {}, {protocol}, port {})", nlsk.id, nlsk.ino, nlsk.portid)
}

fn check(nlsk: &NetlinkSkEntry) -> std::result::Result<(), String> {
    if !PROTOCOLS.iter().any(|p| p.0 as u32 == nlsk.protocol) {
        return Err(format!("netlink sockets of protocol {} cannot be restored", nlsk.protocol));
    }
    if !matches!(nlsk.r#type() as i32, libc::SOCK_RAW | libc::SOCK_DGRAM) {
        return Err(format!("there is no type {}", nlsk.r#type()));
    }
    if nlsk.groups.len() > MAX_GROUP_WORDS || nlsk.dst_group > 32 {
        return Err("there are no such groups".into());
    }
    let known = SWITCHES.iter().fold(0, |all, &s| all | 1 << s);
    if nlsk.options() & !known != 0 {
        return Err(format!("there are no such options: {:#x}", nlsk.options()));
    }
    if nlsk.state > state::CONNECTED || (nlsk.portid == 0 && nlsk.groups.iter().any(|&w| w != 0)) {
        return Err("such a state there is not".into());
    }
    Ok(())
}

fn make(nlsk: &NetlinkSkEntry) -> Result<OwnedFd> {
    let failed = |call: &str, e: io::Error| Error::os(Phase::Files, named(nlsk), call, e);
    let (kind, flags) = (SocketType::from_raw(nlsk.r#type()), SocketFlags::CLOEXEC);
    let protocol = std::num::NonZeroU32::new(nlsk.protocol).map(Protocol::from_raw);
    let fd = socket_with(AddressFamily::NETLINK, kind, flags, protocol).map_err(|e| failed("socket", e.into()))?;
    for switch in SWITCHES.iter().filter(|&&s| nlsk.options() & (1 << s) != 0) {
        set_int_option(fd.as_fd(), SOL_NETLINK, *switch, 1).map_err(|e| failed("setsockopt SOL_NETLINK", e))?;
    }
    if nlsk.portid != 0 {
        bind(&fd, &SocketAddrNetlink::new(nlsk.portid, 0))
            .map_err(|e| failed("bind", e.into()).hint("its port has to be free"))?;
    }
    for group in joined(&nlsk.groups) {
        set_int_option(fd.as_fd(), SOL_NETLINK, ADD_MEMBERSHIP, group)
            .map_err(|e| failed(&format!("setsockopt NETLINK_ADD_MEMBERSHIP {group}"), e))?;
    }
    if nlsk.state == state::CONNECTED || nlsk.dst_portid != 0 || nlsk.dst_group != 0 {
        let groups = nlsk.dst_group.checked_sub(1).map_or(0, |bit| 1 << bit);
        connect(&fd, &SocketAddrNetlink::new(nlsk.dst_portid, groups)).map_err(|e| failed("connect", e.into()))?;
    }
    options::write(fd.as_fd(), &nlsk.opts, None).map_err(|e| failed("setsockopt", e))?;
    let flags = OFlags::from_bits_retain(nlsk.flags) & (OFlags::NONBLOCK | OFlags::APPEND | OFlags::NOATIME);
    fcntl_setfl(&fd, flags).map_err(|e| failed("fcntl F_SETFL", e.into()))?;
    Ok(fd)
}

/// The groups of a bitmap, counted from 1.
fn joined(words: &[u32]) -> impl Iterator<Item = i32> {
    words
        .iter()
        .zip(0..)
        .flat_map(|(&word, at)| (0..32).filter(move |bit| word >> bit & 1 != 0).map(move |b| at * 32 + b + 1))
}
