//! Packet sockets: entries from netlink and the options.

use std::collections::HashMap;
use std::os::fd::AsFd;

use criu_images::messages::{FdTypes, FileEntry, PacketMclist, PacketSockEntry, SkMoreOptEntry};
use rustix::net::netdevice::index_to_name;

use super::{AUXDATA, FANOUT, LOSS, MORE, OLDEST, ORIGDEV, RESERVE, SOL_PACKET, TIMESTAMP, VERSION, VNET_HDR, ring};
use crate::error::Result;
use crate::file::{Collected, DumpKind, FileId, Seen, Unsaved};
use crate::namespace::Namespace;
use crate::socket::diag::{PacketSocket, packet_sockets};
use crate::socket::options;
use crate::sys::socket::int_option;

/// PACKET_FANOUT_CBPF and PACKET_FANOUT_EBPF: by a program that nobody can ask for.
const BY_PROGRAM: std::ops::RangeInclusive<u32> = 6..=7;
/// PACKET_FANOUT_FLAG_UNIQUEID: when the group was made, the kernel was to choose its number.
const UNIQUE_ID: u32 = 0x2000 << 16;

#[derive(Debug, Default)]
pub(crate) struct PacketSockets {
    /// Of the engine's network namespace, asked for when the first one is met.
    diag: Option<HashMap<u32, PacketSocket>>,
}

impl DumpKind for PacketSockets {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.socket_family() == Some(libc::AF_PACKET as u32)
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let diag = match &mut self.diag {
            Some(diag) => diag,
            none => none.insert(packet_sockets().map_err(|e| {
                match e.raw_os_error() {
                    Some(libc::ENOENT) => Unsaved::because("a packet socket, of which this kernel does not tell")
                        .hint("close it before the dump, or take a kernel with CONFIG_PACKET_DIAG"),
                    _ => Unsaved::os(seen, "sock_diag", e),
                }
            })?),
        };
        let Some(told) = diag.get(&(seen.stat.st_ino as u32)) else {
            return Err(Unsaved::because("a packet socket of another network namespace"));
        };
        if let Some(why) = refusal(seen, told)? {
            return Err(Unsaved::because(why.0).hint(why.1));
        }
        let mut psk = entry(seen, id, told)?;
        if told.rx_ring.is_some() || told.tx_ring.is_some() {
            (psk.rx_ring, psk.tx_ring) = (told.rx_ring.clone(), told.tx_ring.clone());
            let filled = ring::dump::fill(seen.dup.as_fd(), psk.version, &mut psk.rx_ring, &mut psk.tx_ring);
            let filled = filled.map_err(|e| Unsaved::os(seen, "a look at its rings", e))?;
            filled.map_err(|(why, hint)| Unsaved::because(why).hint(hint))?;
            let bytes = ring::mapping_bytes(psk.rx_ring.as_ref(), psk.tx_ring.as_ref());
            common.mappable_sockets.insert(seen.stat.st_ino, (id, bytes));
        }
        Ok(FileEntry { r#type: FdTypes::Packetsk as i32, id, psk: Some(Box::new(psk)), ..FileEntry::default() })
    }
}

/// What cannot be saved, and what would help.
fn refusal(seen: &Seen<'_>, told: &PacketSocket) -> Result<Option<(String, &'static str)>, Unsaved> {
    const CLOSE_IT: &str = "close it before the dump";
    if told.fanout.is_some_and(|f| BY_PROGRAM.contains(&(f >> 16 & 0xff))) {
        return Ok(Some(("a packet socket in a fanout group that a BPF program shares out".into(), CLOSE_IT)));
    }
    let waits = rustix::io::ioctl_fionread(&seen.dup).map_err(|e| Unsaved::os(seen, "ioctl FIONREAD", e))?;
    if waits > 0 {
        let cause = "a packet socket: packets wait in its queue and cannot be saved".into();
        return Ok(Some((cause, "dump again when it has read them")));
    }
    Ok(None)
}

fn entry(seen: &Seen<'_>, id: FileId, told: &PacketSocket) -> Result<PacketSockEntry, Unsaved> {
    let fd = seen.dup.as_fd();
    let asked = |e: std::io::Error| Unsaved::os(seen, "getsockopt", e);
    let opts = match options::read_all(fd).map_err(asked)? {
        Ok(opts) => opts,
        Err(what) => return Err(Unsaved::because(format!("a packet socket with {what} cannot be saved"))),
    };
    let has_options = u32::from(told.kind) != OLDEST;
    let get = |name| if has_options { int_option(fd, SOL_PACKET, name).map_err(asked) } else { Ok(0) };
    let is_on = |name| get(name).map(|v| v != 0);
    let device = |index: u32| match index {
        0 => Ok(None),
        _ => index_to_name(fd, index).map(Some).map_err(|_| {
            Unsaved::because(format!("a packet socket of device {index}, which is gone"))
                .hint("close it before the dump")
        }),
    };
    let mut mclist = Vec::new();
    for member in &told.members {
        let entry = PacketMclist {
            index: member.index,
            r#type: member.kind,
            addr: member.address.clone(),
            device: device(member.index)?,
        };
        mclist.extend(std::iter::repeat_n(entry, member.count as usize));
    }
    let mut more_opts = Vec::new();
    for name in MORE.into_iter().filter(|_| has_options) {
        match int_option(fd, SOL_PACKET, name) {
            Ok(0) => {}
            Ok(value) => more_opts.push(SkMoreOptEntry {
                level: SOL_PACKET as u32,
                name: name as u32,
                value: value.to_ne_bytes().to_vec(),
            }),
            Err(e) if e.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
            Err(e) => return Err(asked(e)),
        }
    }
    let fanout = match told.fanout {
        Some(_) => Some(get(FANOUT)? as u32 & !UNIQUE_ID),
        None => None,
    };
    Ok(PacketSockEntry {
        id,
        r#type: told.kind.into(),
        protocol: told.protocol.into(),
        flags: seen.info.flags,
        ifindex: told.index,
        fown: seen.fown,
        opts,
        version: get(VERSION)? as u32,
        reserve: get(RESERVE)? as u32,
        aux_data: is_on(AUXDATA)?,
        orig_dev: is_on(ORIGDEV)?,
        vnet_hdr: is_on(VNET_HDR)?,
        loss: is_on(LOSS)?,
        timestamp: get(TIMESTAMP)? as u32,
        copy_thresh: told.copy_thresh,
        mclist,
        fanout,
        ns_id: Some(Namespace::Net as u32 + 1),
        device: device(told.index)?,
        more_opts,
        ino: Some(seen.stat.st_ino as u32),
        ..PacketSockEntry::default()
    })
}
