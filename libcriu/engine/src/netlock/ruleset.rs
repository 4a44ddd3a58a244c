//! The table of a lock: two chains, one set of connections for each version of IP, one rule for each set and chain.
//!
//! ```text
//! table inet criu-lock-ID {
//!     set ip4 { key: source and destination address, source and destination port }
//!     set ip6 { ... }
//!     chain in  { hook input priority 200;  TCP, mark is not 0xC114, connection is in ip4: drop;  the same for ip6 }
//!     chain out { hook output priority -2^31; ... }
//! }
//! ```
//!
//! A packet costs one lookup, however many connections are locked. The priorities make both chains see the addresses that
//! the socket has: on the way in behind address translation, on the way out in front of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::Flow;
use super::wire::{Attributes, Batch, NLM_F_CREATE, NLM_F_EXCL};

const NEW_TABLE: u16 = 0;
pub(super) const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;

pub(super) const TABLE_NAME: u16 = 1;
pub(super) const TABLE_FLAGS: u16 = 2;
/// The table disappears with the socket that made it. Linux 5.12.
pub(super) const TABLE_OWNED: u32 = 2;

/// Packets with this mark pass: those that a restore sends to its own socket.
const MARK: u32 = 0xC114;
/// Keeps the elements of one message under 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 800;

/// Behind source address translation (100) on the way in; before everything on the way out.
const CHAINS: [(&str, u32, i32); 2] = [("in", 1, 200), ("out", 3, i32::MIN)];

struct Version {
    set: &'static str,
    id: u32,
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    protocol: u8,
    /// Where source and destination address are in the IP header.
    addresses_at: u32,
    addresses_bytes: u32,
}

const VERSIONS: [Version; 2] = [
    Version { set: "ip4", id: 1, protocol: 2, addresses_at: 12, addresses_bytes: 8 },
    Version { set: "ip6", id: 2, protocol: 10, addresses_at: 8, addresses_bytes: 32 },
];
const PORTS_BYTES: u32 = 4;

pub(super) fn create(batch: &mut Batch, table: &str, owned: bool) {
    batch.message(NEW_TABLE, NLM_F_CREATE | NLM_F_EXCL, |a| {
        a.text(TABLE_NAME, table);
        a.number(TABLE_FLAGS, if owned { TABLE_OWNED } else { 0 });
    });
    for version in &VERSIONS {
        batch.message(NEW_SET, NLM_F_CREATE, |a| {
            a.text(1, table);
            a.text(2, version.set);
            a.number(3, 0);
            a.number(5, version.addresses_bytes + PORTS_BYTES);
            a.number(10, version.id);
        });
    }
    for (chain, hook, priority) in CHAINS {
        add_chain(batch, table, chain, hook, priority);
        for version in &VERSIONS {
            rule(batch, table, chain, version);
        }
    }
}

/// ```text
/// table inet criu-lock-ID {
///     chain in { hook input priority 200;  TCP, port is one of these, flags are SYN alone (with those of ECN or without): drop }
/// }
/// ```
pub(super) fn create_door(batch: &mut Batch, table: &str, ports: &BTreeSet<u16>) {
    const SYN: u8 = 0x02;
    const SYN_ECN: u8 = 0xc2;
    batch.message(NEW_TABLE, NLM_F_CREATE | NLM_F_EXCL, |a| {
        a.text(TABLE_NAME, table);
        a.number(TABLE_FLAGS, TABLE_OWNED);
    });
    let (chain, hook, priority) = CHAINS[0];
    add_chain(batch, table, chain, hook, priority);
    for (port, flags) in ports.iter().flat_map(|port| [(port, SYN), (port, SYN_ECN)]) {
        batch.message(NEW_RULE, NLM_F_CREATE, |a| {
            a.text(1, table);
            a.text(2, chain);
            a.nested(4, |a| {
                meta(a, META_L4_PROTOCOL);
                compare(a, EQUAL, &[libc::IPPROTO_TCP as u8]);
                payload(a, REGISTER, TRANSPORT_HEADER, DESTINATION_PORT_AT, 2);
                compare(a, EQUAL, &port.to_be_bytes());
                payload(a, REGISTER, TRANSPORT_HEADER, FLAGS_AT, 1);
                compare(a, EQUAL, &[flags]);
                drop_packet(a);
            });
        });
    }
}

fn add_chain(batch: &mut Batch, table: &str, chain: &str, hook: u32, priority: i32) {
    batch.message(NEW_CHAIN, NLM_F_CREATE, |a| {
        a.text(1, table);
        a.text(3, chain);
        a.nested(4, |a| {
            a.number(1, hook);
            a.number(2, priority as u32);
        });
        a.text(7, "filter");
    });
}

pub(super) fn delete(batch: &mut Batch, table: &str) {
    batch.message(DELETE_TABLE, 0, |a| a.text(TABLE_NAME, table));
}

/// Adds connections; those that are there already stay.
pub(super) fn add(batch: &mut Batch, table: &str, flows: &[Flow]) {
    for version in &VERSIONS {
        let keys: Vec<Vec<u8>> =
            flows.iter().flat_map(keys).filter(|k| k.len() as u32 == version.key_bytes()).collect();
        for keys in keys.chunks(ELEMENTS_PER_MESSAGE) {
            batch.message(NEW_ELEMENT, NLM_F_CREATE, |a| {
                a.text(1, table);
                a.text(2, version.set);
                a.nested(3, |a| {
                    for key in keys {
                        a.nested(1, |a| a.nested(1, |a| a.data(1, key)));
                    }
                });
            });
        }
    }
}

impl Version {
    fn key_bytes(&self) -> u32 {
        self.addresses_bytes + PORTS_BYTES
    }
}

/// What packets of a connection look like, in both directions: addresses as in the IP header, then ports.
fn keys(flow: &Flow) -> [Vec<u8>; 2] {
    let key = |from: &SocketAddr, to: &SocketAddr| {
        let mut key = octets(from);
        key.extend(octets(to));
        key.extend(from.port().to_be_bytes());
        key.extend(to.port().to_be_bytes());
        key
    };
    [key(&flow.local, &flow.peer), key(&flow.peer, &flow.local)]
}

/// A V6 address that maps an IPv4 one stands in IPv4 packets.
fn octets(address: &SocketAddr) -> Vec<u8> {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Registers of four bytes; the verdict has its own.
const REGISTER: u32 = 8;
const VERDICT_REGISTER: u32 = 0;

const META_MARK: u32 = 3;
const META_PROTOCOL: u32 = 15;
const META_L4_PROTOCOL: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const DESTINATION_PORT_AT: u32 = 2;
const FLAGS_AT: u32 = 13;

fn rule(batch: &mut Batch, table: &str, chain: &str, version: &Version) {
    let ports_register = REGISTER + version.addresses_bytes / 4;
    batch.message(NEW_RULE, NLM_F_CREATE, |a| {
        a.text(1, table);
        a.text(2, chain);
        a.nested(4, |a| {
            meta(a, META_PROTOCOL);
            compare(a, EQUAL, &[version.protocol]);
            meta(a, META_L4_PROTOCOL);
            compare(a, EQUAL, &[libc::IPPROTO_TCP as u8]);
            meta(a, META_MARK);
            compare(a, NOT_EQUAL, &MARK.to_ne_bytes());
            payload(a, REGISTER, NETWORK_HEADER, version.addresses_at, version.addresses_bytes);
            payload(a, ports_register, TRANSPORT_HEADER, 0, PORTS_BYTES);
            expression(a, "lookup", |a| {
                a.text(1, version.set);
                a.number(2, REGISTER);
                a.number(4, version.id);
            });
            drop_packet(a);
        });
    });
}

fn expression(list: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    list.nested(1, |a| {
        a.text(1, name);
        a.nested(2, fill);
    });
}

fn meta(list: &mut Attributes<'_>, key: u32) {
    expression(list, "meta", |a| {
        a.number(1, REGISTER);
        a.number(2, key);
    });
}

fn compare(list: &mut Attributes<'_>, how: u32, with: &[u8]) {
    expression(list, "cmp", |a| {
        a.number(1, REGISTER);
        a.number(2, how);
        a.nested(3, |a| a.data(1, with));
    });
}

fn payload(list: &mut Attributes<'_>, register: u32, base: u32, offset: u32, bytes: u32) {
    expression(list, "payload", |a| {
        a.number(1, register);
        a.number(2, base);
        a.number(3, offset);
        a.number(4, bytes);
    });
}

fn drop_packet(list: &mut Attributes<'_>) {
    const NF_DROP: u32 = 0;
    expression(list, "immediate", |a| {
        a.number(1, VERDICT_REGISTER);
        a.nested(2, |a| a.nested(2, |a| a.number(1, NF_DROP)));
    });
}
