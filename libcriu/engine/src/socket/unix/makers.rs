//! Who is noted down as the other end of a connection (SO_PEERCRED, SO_PEERGROUPS): the calls that make one are made in
//! the name of whoever had made it.
//!
//! A task makes its own for itself. What several tables use, or somebody else had made, is made by the coordinator before
//! any task exists, through stand-ins that have the pids for the moment.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;

use criu_images::messages::{SkPeerEntry, UnixSkEntry};

use crate::sys::peer::{credentials, groups};
use crate::sys::stand_in::{Call, Identity, Made, StandIn, call, call_with_rights};

/// Whom a socket's options name; nobody, unless it is or was connected, or listens.
pub(super) fn peer_of(fd: BorrowedFd<'_>) -> io::Result<Option<SkPeerEntry>> {
    let told = credentials(fd)?;
    if told.pid == 0 && told.uid == u32::MAX {
        return Ok(None);
    }
    let groups = match groups(fd) {
        // A kernel without the option, or a socket without a list.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOPROTOOPT | libc::ENODATA)) => Vec::new(),
        other => other?,
    };
    Ok(Some(SkPeerEntry { pid: told.pid as u32, uid: told.uid, gid: told.gid, groups }))
}

/// Those in whose names calls are made.
#[derive(Debug, Default)]
pub(super) struct Makers {
    stand_ins: HashMap<Identity, StandIn>,
    /// Those for whom nobody can stand in.
    impossible: HashSet<Identity>,
    /// This process, once it was asked.
    own: Option<Identity>,
}

impl Makers {
    /// Makes a call for `usk` in the name of `who`; as this process is when nobody is told.
    pub(super) fn call(&mut self, usk: &UnixSkEntry, who: Option<&SkPeerEntry>, what: Call<'_>) -> io::Result<Made> {
        let Some(who) = who else { return call(what) };
        let (own, who) = (self.own()?, identity(who));
        if who == own {
            return call(what);
        }
        if !self.impossible.contains(&who) {
            let made = if who.pid == own.pid { call_with_rights(&who, what) } else { self.stand_in(&who, what) };
            match made {
                // Of rights or of a pid: of the calls themselves, only `connect` fails like this, and then does below.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EEXIST | libc::EINVAL | libc::EPERM | libc::ESRCH)) => {
                    log::warn!(
                        "{}: SO_PEERCRED cannot name pid {} uid {} gid {} again ({e}): it names what restores it",
                        super::named(usk),
                        who.pid,
                        who.uid,
                        who.gid
                    );
                    self.impossible.insert(who.clone());
                }
                other => return other,
            }
        }
        let rights_alone = Identity { pid: own.pid, ..who };
        match call_with_rights(&rights_alone, what) {
            Err(e) if e.raw_os_error() == Some(libc::EPERM) => call(what),
            other => other,
        }
    }

    /// A task has this from before it was forked: then it is asked anew.
    fn own(&mut self) -> io::Result<Identity> {
        let pid = std::process::id() as i32;
        if let Some(own) = self.own.as_ref().filter(|own| own.pid == pid) {
            return Ok(own.clone());
        }
        let own = Identity::own()?;
        self.own = Some(own.clone());
        Ok(own)
    }

    fn stand_in(&mut self, who: &Identity, what: Call<'_>) -> io::Result<Made> {
        if let Some(there) = self.stand_ins.get(who) {
            return there.call(what);
        }
        // The same pid with other rights: only one can have it at a time.
        self.stand_ins.retain(|there, _| there.pid != who.pid);
        let there = StandIn::start(who)?;
        let made = there.call(what);
        self.stand_ins.insert(who.clone(), there);
        made
    }

    /// Ends the stand-ins: the tasks are about to have their pids.
    pub(super) fn dismiss(&mut self) {
        self.stand_ins.clear();
    }
}

fn identity(who: &SkPeerEntry) -> Identity {
    let mut groups = who.groups.clone();
    groups.truncate(MAX_GROUPS);
    Identity { pid: who.pid as i32, uid: who.uid, gid: who.gid, groups }
}

/// NGROUPS_MAX of the kernel.
const MAX_GROUPS: usize = 65536;

/// Whether a process with this pid cannot make all of it for itself.
pub(super) fn needs_stand_in(usk: &UnixSkEntry, pid: i32) -> bool {
    let waiting = usk.waiting.iter().map(|c| &c.connected_by);
    let all = [&usk.peer_cred, &usk.connected_by].into_iter().chain(waiting);
    all.flatten().any(|who| who.pid != 0 && who.pid as i32 != pid)
}
