//! The network lock: while connections are dumped or restored, none of their packets leave or arrive.
//!
//! nf_tables is spoken to directly over netlink; no program is executed. A lock is one table of the family `inet` named
//! `criu-lock-ID`, made and changed in one batch each (see `ruleset`). Packets with the mark 0xC114 pass.
//!
//! # Who outlives whom
//!
//! - A [`NetworkLock`] owns its table (`NFT_TABLE_F_OWNER`): the kernel removes the table when the lock's socket is closed,
//!   however its process ends. So an engine that is killed leaves nothing, and its connections go on. The socket is
//!   close-on-exec; a process forked while the lock exists has to close it too, or keeps the lock alive.
//! - Between a dump that kills and the restore nobody owns anything: [`NetworkLock::persist`] replaces the table by one that
//!   stays, in one batch, without a moment in which packets pass. [`release_persistent`] removes it after the restore, by its
//!   id; [`persistent`] lists those that wait. Persist after the tasks are dead: a table that stays must not cut off a process
//!   that lives on. Until then the owned table keeps packets away from sockets that are gone.
//!
//! Linux 5.12, `CAP_NET_ADMIN` in the user namespace of the network namespace.

mod channel;
mod door;
mod ruleset;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use channel::Channel;
pub(crate) use channel::Key;
use criu_images::messages::{CriuNetworkLockMethod, CriuOpts};
pub(crate) use door::Door;
use wire::Batch;

use crate::{Error, Phase};

pub type Result<T, E = LockError> = std::result::Result<T, E>;

/// Addresses of a TCP connection as its socket has them; V6 addresses that map IPv4 ones mean IPv4 packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// What a table is called by: the id of a dump or of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockId(String);

const PREFIX: &str = "criu-lock-";
const LONGEST_ID: usize = 64;

impl LockId {
    /// `None` unless `id` is 1 to 64 ASCII letters, digits, `-` and `_`: it may come from an image.
    pub fn new(id: &str) -> Option<Self> {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ((1..=LONGEST_ID).contains(&id.len()) && id.chars().all(fine)).then(|| LockId(id.to_string()))
    }

    fn table(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How connections are kept from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// By nf_tables, whichever program the option names: none is executed.
    Tables(CriuNetworkLockMethod),
    /// Somebody else does.
    Skip,
}

impl Method {
    /// # Errors
    /// EBADRQC for a number that is no method.
    pub(crate) fn of(opts: &CriuOpts) -> crate::error::Result<Self> {
        match opts.network_lock.map(CriuNetworkLockMethod::try_from) {
            None => Ok(Method::Tables(CriuNetworkLockMethod::Iptables)),
            Some(Ok(CriuNetworkLockMethod::Skip)) => Ok(Method::Skip),
            Some(Ok(method)) => Ok(Method::Tables(method)),
            Some(Err(_)) => Err(Error::new(Phase::Options, "--network-lock", "there is no such method")
                .hint("iptables, nftables or skip")
                .errno(libc::EBADRQC)),
        }
    }

    /// As the inventory has it.
    pub(crate) fn number(self) -> u32 {
        match self {
            Method::Tables(CriuNetworkLockMethod::Nftables) => 1,
            Method::Tables(_) => 0,
            Method::Skip => 2,
        }
    }
}

/// What nf_tables refused to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct LockError {
    pub what: &'static str,
    pub source: io::Error,
}

impl LockError {
    /// As an error of the engine.
    pub fn during(self, phase: Phase) -> Error {
        let hint = match self.source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => "it takes CAP_NET_ADMIN in the network namespace",
            Some(libc::EOPNOTSUPP | libc::EINVAL | libc::EPROTONOSUPPORT | libc::ENOENT) => {
                "the kernel needs nf_tables with the family inet, Linux 5.12; or lock the network yourself (skip)"
            }
            _ => "",
        };
        let errno = self.source.raw_os_error().unwrap_or(0);
        Error::new(phase, "network lock", self.to_string()).hint(hint).errno(errno)
    }
}

/// Connections that no packet reaches or leaves. Dropping it unlocks too; [`release`](NetworkLock::release) tells of errors.
#[derive(Debug)]
pub struct NetworkLock {
    channel: Channel,
    id: LockId,
    flows: Vec<Flow>,
}

impl NetworkLock {
    /// Locks `flows`, all at the same moment, in the network namespace `netns` (the caller's without one).
    ///
    /// # Errors
    /// EEXIST when there is a lock of this id; EPERM, or what a kernel without nf_tables says. Nothing is locked then.
    pub fn lock(id: LockId, flows: &[Flow], netns: Option<BorrowedFd<'_>>) -> Result<Self> {
        let channel = Channel::open(netns)?;
        let mut batch = Batch::new();
        ruleset::create(&mut batch, &id.table(), true);
        ruleset::add(&mut batch, &id.table(), flows);
        channel.commit(batch, "locking connections")?;
        Ok(NetworkLock { channel, id, flows: flows.to_vec() })
    }

    /// Locks more connections; those locked already stay so.
    ///
    /// # Errors
    /// Those of the kernel; none of `flows` is locked then that was not before.
    pub fn extend(&mut self, flows: &[Flow]) -> Result<()> {
        let mut batch = Batch::new();
        ruleset::add(&mut batch, &self.id.table(), flows);
        self.channel.commit(batch, "locking more connections")?;
        self.flows.extend_from_slice(flows);
        Ok(())
    }

    /// Unlocks all connections, at the same moment.
    ///
    /// # Errors
    /// Those of the kernel; the connections are unlocked all the same, because the table's owner is gone.
    pub fn release(self) -> Result<()> {
        self.channel.commit(deletion(&self.id), "unlocking connections")
    }

    /// What unlocks all connections without this; a process that has it keeps them locked.
    ///
    /// # Errors
    /// Those of dup.
    pub(crate) fn key(&self) -> Result<Key> {
        self.channel.key(deletion(&self.id))
    }

    /// Leaves the connections locked for whoever calls [`release_persistent`] with this id.
    ///
    /// # Errors
    /// Those of the kernel; the connections are unlocked then.
    pub fn persist(self) -> Result<()> {
        let mut batch = Batch::new();
        let table = self.id.table();
        ruleset::delete(&mut batch, &table);
        ruleset::create(&mut batch, &table, false);
        ruleset::add(&mut batch, &table, &self.flows);
        self.channel.commit(batch, "leaving connections locked")
    }
}

fn deletion(id: &LockId) -> Batch {
    let mut batch = Batch::new();
    ruleset::delete(&mut batch, &id.table());
    batch
}

/// As [`NetworkLock::key`], of what [`NetworkLock::persist`] left locked, if there is such a lock.
///
/// # Errors
/// Those of socket(2) and dup.
pub(crate) fn persistent_key(id: &LockId, netns: Option<BorrowedFd<'_>>) -> Result<Key> {
    Channel::open(netns)?.key(deletion(id))
}

/// Unlocks what [`NetworkLock::persist`] left locked; false if there is no such lock (any more).
///
/// # Errors
/// Those of the kernel; EPERM for a lock that another process holds.
pub fn release_persistent(id: &LockId, netns: Option<BorrowedFd<'_>>) -> Result<bool> {
    let channel = Channel::open(netns)?;
    match channel.commit(deletion(id), "unlocking connections") {
        Ok(()) => Ok(true),
        Err(e) if e.source.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Locks that nobody holds and that wait for a restore.
///
/// # Errors
/// Those of the kernel.
pub fn persistent(netns: Option<BorrowedFd<'_>>) -> Result<Vec<LockId>> {
    let channel = Channel::open(netns)?;
    let tables = channel.dump(&wire::request(ruleset::GET_TABLE, wire::NLM_F_DUMP), "listing locks")?;
    let found = tables.iter().filter_map(|table| {
        let flags = wire::attribute(table, ruleset::TABLE_FLAGS)?;
        let owned = u32::from_be_bytes(flags.try_into().ok()?) & ruleset::TABLE_OWNED != 0;
        let name = wire::attribute(table, ruleset::TABLE_NAME)?.strip_suffix(&[0])?;
        let id = LockId::new(std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?)?;
        (!owned).then_some(id)
    });
    Ok(found.collect())
}
