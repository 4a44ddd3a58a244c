//! Credentials of a thread from its image.

use criu_images::messages::CredsEntry;
use criu_pie::abi::restorer::{Creds, Table};
use rustix::thread::{CapabilitySet, capabilities};

use crate::rpc::lent_capabilities;

const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Bits of the permitted capabilities of this process that it may hand on.
pub fn own_permitted() -> u64 {
    capabilities(None).map_or(0, |c| c.permitted.bits() & !lent_capabilities())
}

/// May this process raise hard limits?
pub fn may_raise_limits() -> bool {
    own_permitted() & CapabilitySet::SYS_RESOURCE.bits() != 0
}

fn pair(words: &[u32]) -> Result<[u32; 2], String> {
    match *words {
        [low] => Ok([low, 0]),
        [low, high] => Ok([low, high]),
        _ => Err(format!("a capability set of {} words", words.len())),
    }
}

fn bits(set: [u32; 2]) -> u64 {
    u64::from(set[0]) | u64::from(set[1]) << 32
}

/// The capability words of one thread; `groups` is put in by whoever has a place for the table.
///
/// # Errors
/// In words: a malformed set, or a capability that this process cannot give because it has not got it.
pub fn creds(e: &CredsEntry, last_cap: u32, own: u64) -> Result<Creds, String> {
    let c = Creds {
        uids: [e.uid, e.euid, e.suid],
        fsuid: e.fsuid,
        gids: [e.gid, e.egid, e.sgid],
        fsgid: e.fsgid,
        inheritable: pair(&e.cap_inh)?,
        permitted: pair(&e.cap_prm)?,
        effective: pair(&e.cap_eff)?,
        bounding: pair(&e.cap_bnd)?,
        ambient: if e.cap_amb.is_empty() { [0; 2] } else { pair(&e.cap_amb)? },
        securebits: e.secbits,
        last_cap,
        groups: Table::default(),
    };
    if bits(c.effective) & !bits(c.permitted) != 0 {
        return Err("effective capabilities that are not permitted".into());
    }
    if bits(c.ambient) & !(bits(c.permitted) & bits(c.inheritable)) != 0 {
        return Err("ambient capabilities that are not permitted and inheritable".into());
    }
    let missing = bits(c.permitted) & !own | bits(c.inheritable) & lent_capabilities();
    if missing != 0 {
        let name = NAMES.get(missing.trailing_zeros() as usize).copied().unwrap_or("of a newer kernel");
        return Err(format!("it has CAP_{name}, which cannot be given by a process that lacks it"));
    }
    Ok(c)
}

/// The highest capability this kernel knows.
pub fn last_cap() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap");
    text.ok().and_then(|t| t.trim().parse().ok()).filter(|&n| n < 64).unwrap_or(NAMES.len() as u32 - 1)
}
