//! /dev/net/tun: descriptors behind a TUN or TAP device that stays without them (persistent), or behind none.
//!
//! The network device itself, with its addresses, owner, filter and sizes of headers, belongs to the network namespace: it is there
//! when the tasks are restored, and they are put behind it again.
//!
//! Limits, refused by name: a device that goes with its last descriptor, one of another network namespace, packets that wait to
//! be read, a detached queue.

mod dump;
mod restore;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) const KIND: FileKind =
    FileKind { types: &[FdTypes::Tunf], dump: || Box::new(dump::Tun), restore: || Box::new(restore::Tun) };

/// Of the node.
const NUMBER: (u32, u32) = (10, 200);
