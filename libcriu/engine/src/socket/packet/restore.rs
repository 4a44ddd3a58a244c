//! Packet sockets: made, given their options and memberships, bound, joined to their fanout groups.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use criu_images::ImageDir;
use criu_images::messages::{FdTypes, FileEntry, PacketMclist, PacketSockEntry};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, Protocol, RawProtocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use super::{
    ADD_MEMBERSHIP, ADDRESS_BYTES, AUXDATA, COPY_THRESH, FANOUT, LOSS, MORE, OLDEST, ORIGDEV, RESERVE, SOL_PACKET,
    TIMESTAMP, VERSION, VNET_HDR, ring,
};
use crate::error::{Error, Phase, Result};
use crate::file::{FileId, Object, Plan, RestoreKind, Wanted, body};
use crate::socket::options;
use crate::sys::socket::{bind_packet, int_option, set_int_option, set_option_bytes};

#[derive(Debug, Default)]
pub(crate) struct PacketSockets {
    /// Those with rings, by the id of the entry: tasks map them before they open anything.
    made: HashMap<FileId, OwnedFd>,
}

impl RestoreKind for PacketSockets {
    fn load(&mut self, plan: &Plan, _images: &ImageDir) -> Result<()> {
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Packetsk) {
            let psk = body(entry, entry.psk.as_deref())?;
            check(psk).map_err(|why| Error::new(Phase::Check, named(psk), why))?;
        }
        Ok(())
    }

    fn prepare(&mut self, plan: &mut Plan) -> Result<()> {
        let entries = Rc::clone(&plan.entries);
        let with_rings = entries.values().filter_map(|e| e.psk.as_deref());
        for psk in with_rings.filter(|psk| psk.rx_ring.is_some() || psk.tx_ring.is_some()) {
            let fd = inherited_or_made(plan, psk)?;
            self.made.insert(psk.id, fd);
        }
        Ok(())
    }

    fn open(&mut self, plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let mut open = |m: &FileEntry| {
            let psk = body(m, m.psk.as_deref())?;
            match self.again(psk)? {
                Some(fd) => Ok(fd),
                None => inherited_or_made(plan, psk),
            }
        };
        members.iter().map(|m| open(m)).collect()
    }

    fn open_again(&mut self, _plan: &mut Plan, entry: &FileEntry, _flags: u32) -> Result<OwnedFd> {
        let psk = body(entry, entry.psk.as_deref())?;
        let again = self.again(psk)?;
        again.ok_or_else(|| Error::new(Phase::Files, named(psk), "has no ring that could be mapped"))
    }

    fn close(&mut self) {
        self.made.clear();
    }
}

impl PacketSockets {
    /// Another descriptor of a socket that was made before.
    fn again(&self, psk: &PacketSockEntry) -> Result<Option<OwnedFd>> {
        let again = self.made.get(&psk.id).map(OwnedFd::try_clone).transpose();
        again.map_err(|e| Error::os(Phase::Files, named(psk), "dup", e))
    }
}

fn inherited_or_made(plan: &mut Plan, psk: &PacketSockEntry) -> Result<OwnedFd> {
    let wanted = Wanted::Socket { family: libc::AF_PACKET as u32, kind: psk.r#type, protocol: psk.protocol };
    match plan.inherited(&format!("socket:[{}]", psk.ino()), wanted)? {
        Some(fd) => Ok(fd),
        None => make(psk),
    }
}

fn named(psk: &PacketSockEntry) -> String {
    let device = psk.device.as_deref().unwrap_or("any device");
    format!("file {} (packet socket ino {}, protocol {:#06x}, {device})", psk.id, psk.ino(), psk.protocol)
}

fn check(psk: &PacketSockEntry) -> std::result::Result<(), String> {
    if !matches!(psk.r#type as i32, libc::SOCK_RAW | libc::SOCK_DGRAM) && psk.r#type != OLDEST {
        return Err(format!("there is no type {}", psk.r#type));
    }
    ring::restore::check(psk)?;
    if u16::try_from(psk.protocol).is_err() || psk.mclist.iter().any(|m| m.addr.len() > ADDRESS_BYTES) {
        return Err("there is no such protocol or address".into());
    }
    let known = |o: &criu_images::messages::SkMoreOptEntry| {
        o.level == SOL_PACKET as u32 && MORE.contains(&(o.name as i32)) && o.value.len() == 4
    };
    if psk.more_opts.iter().all(known) { Ok(()) } else { Err("there are no such options".into()) }
}

fn make(psk: &PacketSockEntry) -> Result<OwnedFd> {
    let failed = |call: &str, e: io::Error| Error::os(Phase::Files, named(psk), call, e);
    // The oldest kind cannot be given a protocol later.
    let protocol = Some(psk.protocol as u16).filter(|_| psk.r#type == OLDEST).map(|p| u32::from(p.to_be()));
    let protocol = protocol.and_then(RawProtocol::new).map(Protocol::from_raw);
    let fd = socket_with(AddressFamily::PACKET, SocketType::from_raw(psk.r#type), SocketFlags::CLOEXEC, protocol)
        .map_err(|e| failed("socket", e.into()).hint("it takes CAP_NET_RAW"))?;
    let numbers = [
        (VERSION, psk.version),
        (RESERVE, psk.reserve),
        (AUXDATA, psk.aux_data.into()),
        (ORIGDEV, psk.orig_dev.into()),
        (VNET_HDR, psk.vnet_hdr.into()),
        (LOSS, psk.loss.into()),
        (TIMESTAMP, psk.timestamp),
    ];
    for (name, value) in numbers.into_iter().filter(|_| psk.r#type != OLDEST) {
        let now = int_option(fd.as_fd(), SOL_PACKET, name).map_err(|e| failed("getsockopt", e))?;
        if now as u32 != value {
            set(psk, fd.as_fd(), name, value)?;
        }
    }
    for option in &psk.more_opts {
        set_option_bytes(fd.as_fd(), SOL_PACKET, option.name as i32, &option.value)
            .map_err(|e| failed(&format!("setsockopt SOL_PACKET {}", option.name), e))?;
    }
    ring::restore::make(psk, fd.as_fd()).map_err(|(call, e)| failed(call, e))?;
    // Its filter, too, before it hears anything.
    options::write(fd.as_fd(), &psk.opts, None).map_err(|e| failed("setsockopt", e))?;
    if psk.copy_thresh != 0 {
        set(psk, fd.as_fd(), COPY_THRESH, psk.copy_thresh)?;
    }
    for member in &psk.mclist {
        join(psk, fd.as_fd(), member)?;
    }
    let index = index(psk, fd.as_fd(), psk.device.as_deref(), psk.ifindex)?;
    // The oldest kind has its protocol from the start, and is bound to a device by name or not at all.
    let device = psk.device.as_deref().filter(|_| psk.r#type == OLDEST);
    if device.is_some() || psk.r#type != OLDEST && (psk.protocol != 0 || index != 0) {
        bind_packet(fd.as_fd(), psk.protocol as u16, index, device).map_err(|e| failed("bind", e))?;
    }
    if device.is_some() {
        // What it has heard on other devices before it was bound.
        while recv(&fd, &mut [0u8; 1], RecvFlags::DONTWAIT).is_ok() {}
    }
    if let Some(fanout) = psk.fanout.filter(|&f| f != u32::MAX) {
        set(psk, fd.as_fd(), FANOUT, fanout)?;
    }
    let flags = OFlags::from_bits_retain(psk.flags) & (OFlags::NONBLOCK | OFlags::APPEND | OFlags::NOATIME);
    fcntl_setfl(&fd, flags).map_err(|e| failed("fcntl F_SETFL", e.into()))?;
    Ok(fd)
}

fn set(psk: &PacketSockEntry, fd: BorrowedFd<'_>, name: i32, value: u32) -> Result<()> {
    set_int_option(fd, SOL_PACKET, name, value as i32)
        .map_err(|e| Error::os(Phase::Files, named(psk), &format!("setsockopt SOL_PACKET {name}"), e))
}

/// The device's number here; images of CRIU have the number alone.
fn index(psk: &PacketSockEntry, fd: BorrowedFd<'_>, name: Option<&str>, told: u32) -> Result<u32> {
    let Some(name) = name else { return Ok(told) };
    name_to_index(fd, name).map_err(|e| {
        let e = Error::os(Phase::Files, named(psk), &format!("ioctl SIOCGIFINDEX {name}"), e);
        e.hint("make the network device first, or restore where it is")
    })
}

fn join(psk: &PacketSockEntry, fd: BorrowedFd<'_>, member: &PacketMclist) -> Result<()> {
    // struct packet_mreq, with room for the longest address.
    let mut request = index(psk, fd, member.device.as_deref(), member.index)?.to_ne_bytes().to_vec();
    request.extend((member.r#type as u16).to_ne_bytes());
    request.extend((member.addr.len() as u16).to_ne_bytes());
    request.extend(&member.addr);
    request.resize(8 + ADDRESS_BYTES, 0);
    set_option_bytes(fd, SOL_PACKET, ADD_MEMBERSHIP, &request)
        .map_err(|e| Error::os(Phase::Files, named(psk), "setsockopt PACKET_ADD_MEMBERSHIP", e))
}
