//! A service works with the rights of its client, no more: the process that serves a connection becomes the client.
//!
//! Groups, gid and uid are those the kernel noted when the client connected. A client that is not root keeps one
//! capability of the service, CAP_CHECKPOINT_RESTORE: it chooses pids, but reaches nobody else's processes, files or
//! memory; the kernel checks every access. A root client keeps the capabilities that it has itself, in the same user
//! namespace; elsewhere its uid 0 is that of nobody special.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{DumpableBehavior, Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::Session;
use crate::error::{Error, Phase, Result};
use crate::proc::read_text;
use crate::sys::peer;

/// Capabilities that this process has from its service only, and may use for its client but not hand on.
static LENT: AtomicU64 = AtomicU64::new(0);

/// Bits of the capabilities that no restored task may get from this process, whatever its image says.
pub fn lent_capabilities() -> u64 {
    LENT.load(Ordering::Relaxed)
}

/// How a capability set is shown by /proc: hexadecimal.
fn parse_set(status: &str, key: &str) -> Option<CapabilitySet> {
    let text = status.lines().find_map(|l| l.strip_prefix(key))?.trim();
    u64::from_str_radix(text, 16).ok().map(CapabilitySet::from_bits_retain)
}

impl Session {
    /// Becomes the client of this connection. To be called in a process of its own, once.
    ///
    /// # Errors
    /// The client cannot be identified, or this process lacks the right to become it: it must then not be served.
    pub fn become_client(&self) -> Result<()> {
        let client = self.peer.credentials;
        let failed = |call: &str, e: io::Error| {
            Error::os(Phase::Service, format!("the client (pid {} uid {})", client.pid, client.uid), call, e)
                .errno(libc::EPERM)
        };
        let own = rustix::thread::capabilities(None).map_err(|e| failed("capget", e.into()))?.permitted;
        let keep = if client.uid == 0 { self.root_client(own) } else { CapabilitySet::CHECKPOINT_RESTORE };
        if client.uid == 0 && keep.contains(own) {
            return Ok(());
        }
        let keep = keep & own;
        if client.uid != 0 {
            LENT.store(keep.bits(), Ordering::Relaxed);
        }
        let groups = peer::groups(self.connection.fd()).map_err(|e| failed("getsockopt(SO_PEERGROUPS)", e))?;
        if own.contains(CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETPCAP) {
            limit_bounding_set(self.clients_bounding_set().unwrap_or(keep)).map_err(|(call, e)| failed(call, e))?;
            become_user(client.uid, client.gid, &groups).map_err(|(call, e)| failed(call, e))?;
        } else if !is_already(client.uid, client.gid, &groups) {
            return Err(Error::new(
                Phase::Service,
                format!("the client (pid {} uid {})", client.pid, client.uid),
                "this service may not act for another user",
            )
            .errno(libc::EPERM));
        }
        limit_capabilities(keep).map_err(|(call, e)| failed(call, e))
    }

    /// What programs that the client executes may get at most.
    fn clients_bounding_set(&self) -> Option<CapabilitySet> {
        parse_set(&read_text(format!("/proc/{}/status", self.peer.pid())).ok()?, "CapBnd:")
    }

    /// What a client with uid 0 may: no more than it can itself.
    fn root_client(&self, own: CapabilitySet) -> CapabilitySet {
        let pid = self.peer.pid();
        let user_namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/user")).ok();
        let same = user_namespace(&pid.to_string()).is_some_and(|n| Some(n) == user_namespace("self"));
        let status = read_text(format!("/proc/{pid}/status")).unwrap_or_default();
        match parse_set(&status, "CapPrm:") {
            Some(theirs) if same => theirs & own,
            _ => CapabilitySet::empty(),
        }
    }
}

type Failed = (&'static str, io::Error);
type Outcome = std::result::Result<(), Failed>;

/// Whether this process has these ids, and no group that the client lacks.
fn is_already(uid: u32, gid: u32, groups: &[u32]) -> bool {
    let own_groups = rustix::process::getgroups().unwrap_or_default();
    rustix::process::geteuid().as_raw() == uid
        && rustix::process::getegid().as_raw() == gid
        && own_groups.iter().all(|g| g.as_raw() == gid || groups.contains(&g.as_raw()))
}

fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Outcome {
    let groups: Vec<Gid> = groups.iter().map(|&g| Gid::from_raw(g)).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_keep_capabilities(true).map_err(|e| ("prctl(PR_SET_KEEPCAPS)", e.into()))?;
    rustix::thread::set_thread_groups(&groups).map_err(|e| ("setgroups", e.into()))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(|e| ("setresgid", e.into()))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|e| ("setresuid", e.into()))
}

/// Nothing executed from here may get more than `keep`: what the client could execute itself.
fn limit_bounding_set(keep: CapabilitySet) -> Outcome {
    for bit in (0..64).map(|n| CapabilitySet::from_bits_retain(1 << n)).filter(|&bit| !keep.contains(bit)) {
        match rustix::thread::remove_capability_from_bounding_set(bit) {
            // A capability that this kernel does not have.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(e) => return Err(("prctl(PR_CAPBSET_DROP)", e.into())),
        }
    }
    Ok(())
}

fn limit_capabilities(keep: CapabilitySet) -> Outcome {
    rustix::thread::clear_ambient_capability_set().map_err(|e| ("prctl(PR_CAP_AMBIENT)", e.into()))?;
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(|e| ("capset", e.into()))?;
    rustix::thread::set_keep_capabilities(false).map_err(|e| ("prctl(PR_SET_KEEPCAPS)", e.into()))?;
    // Changing the uid took away access to this process's own /proc files. The client cannot trace a process that has a
    // capability it lacks itself.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(|e| ("prctl(PR_SET_DUMPABLE)", e.into()))
}
