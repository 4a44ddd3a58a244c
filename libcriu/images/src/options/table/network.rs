//! Sockets and the network.

use crate::messages::CriuNetworkLockMethod;
use crate::options::Command::{Dump, PreDump, Restore};
use crate::options::OptionKind::{OptionalValue, SwitchNo, Value};
use crate::options::set::{added, ext_unix_sk, flag, single, veth};
use crate::options::{OptionSpec, Section, value};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "ext-unix-sk",
        short: Some('x'),
        kind: OptionalValue,
        value: "INODE[,INODE...]",
        default: "",
        field: "ext_unix_sk",
        commands: &[Dump, PreDump, Restore],
        section: Section::Network,
        help: "Allow unix sockets whose peer is outside the tree; with inodes, those.",
        set: ext_unix_sk,
    },
    OptionSpec {
        name: "tcp-established",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "tcp_established",
        commands: &[Dump, PreDump, Restore],
        section: Section::Network,
        help: "Save and restore established TCP connections; their packets are held back in between.",
        set: flag!(tcp_established),
    },
    OptionSpec {
        name: "veth-pair",
        short: None,
        kind: Value,
        value: "INSIDE=OUTSIDE[@BRIDGE]",
        default: "",
        field: "veths",
        commands: &[Restore],
        section: Section::Network,
        help: "How the outer end of a restored veth device is called, and the bridge it joins.",
        set: added!(veths, veth),
    },
    OptionSpec {
        name: "skip-in-flight",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "tcp_skip_in_flight",
        commands: &[Dump, PreDump],
        section: Section::Network,
        help: "Leave out TCP connections that are not yet accepted.",
        set: flag!(tcp_skip_in_flight),
    },
    OptionSpec {
        name: "tcp-close",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "tcp_close",
        commands: &[Dump, PreDump, Restore],
        section: Section::Network,
        help: "Leave established TCP connections out; restored ones are closed.",
        set: flag!(tcp_close),
    },
    OptionSpec {
        name: "network-lock",
        short: None,
        kind: Value,
        value: "{iptables|nftables|skip}",
        default: "iptables",
        field: "network_lock",
        commands: &[Dump, Restore],
        section: Section::Network,
        help: "How packets are held back between dump and restore.",
        set: single!(network_lock, |t| value::word(
            t,
            &[
                ("iptables", CriuNetworkLockMethod::Iptables as i32),
                ("nftables", CriuNetworkLockMethod::Nftables as i32),
                ("skip", CriuNetworkLockMethod::Skip as i32)
            ]
        )),
    },
];
