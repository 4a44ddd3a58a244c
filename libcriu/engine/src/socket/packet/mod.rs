//! Packet sockets: bound to a device and a protocol or not, with their memberships, options, fanout group, classic filter and `ring`s.
//!
//! Devices are found again by their names. A socket is made without a protocol and bound last, so that it receives nothing
//! before all of it is there.
//!
//! Limits, refused by name: fanout by a program, packets that wait to be read. Packets that arrive between this look and
//! the task's end are lost, as they are where a reader is too slow.

mod dump;
mod restore;
mod ring;

use criu_images::messages::FdTypes;

use crate::file::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Packetsk],
    dump: || Box::<dump::PacketSockets>::default(),
    restore: || Box::<restore::PacketSockets>::default(),
};

/// SOCK_PACKET, which has no options of its own, and is bound to a device by its name.
const OLDEST: u32 = 10;

const SOL_PACKET: i32 = 263;
const ADD_MEMBERSHIP: i32 = 1;
const COPY_THRESH: i32 = 7;
const AUXDATA: i32 = 8;
const ORIGDEV: i32 = 9;
const VERSION: i32 = 10;
const RESERVE: i32 = 12;
const LOSS: i32 = 14;
const VNET_HDR: i32 = 15;
const TIMESTAMP: i32 = 17;
const FANOUT: i32 = 18;
/// PACKET_TX_HAS_OFF, QDISC_BYPASS, IGNORE_OUTGOING, VNET_HDR_SZ: the entry has no fields of CRIU's for them.
const MORE: [i32; 4] = [19, 20, 23, 24];

/// MAX_ADDR_LEN of the kernel.
const ADDRESS_BYTES: usize = 32;
