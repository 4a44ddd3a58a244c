//! What an engine could leave behind: in the tasks it looked at, and on the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use crate::descendants::{PATIENCE, below, dying, ended, try_wait};
use crate::snapshot::Snapshot;
use crate::trial::Running;
use crate::verdict::{Outcome, failed};

/// A target at rest, and the machine around it.
pub struct Before {
    tree: BTreeSet<i32>,
    /// What has ended of it, and nobody has collected.
    dead: BTreeSet<i32>,
    snapshot: Snapshot,
    outside: Outside,
}

impl Before {
    pub fn look(running: &Running) -> Before {
        let tree = tree();
        let dead = tree.iter().copied().filter(|p| ended(*p)).collect();
        Before { tree, dead, snapshot: running.at_rest(), outside: Outside::look(&running.folder) }
    }

    /// The target is as it was, nobody's tracee, and nothing else is there.
    pub fn again(&self, running: &Running) -> Outcome {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = tree();
            for orphan in now.difference(&self.tree) {
                // The engine's own processes end after it, and are this one's to collect.
                let _ = try_wait(*orphan);
            }
            let differences = self.snapshot.differences(&running.snapshot(), &running.subject.ignore);
            let traced = untraced(&now);
            if now == self.tree && differences.is_empty() && traced.is_ok() {
                break;
            }
            if Instant::now() > end {
                traced?;
                let shown: Vec<&String> = differences.iter().take(8).collect();
                return Err(failed(format!("processes before {:?}, now {now:?}; what changed: {shown:#?}", self.tree)));
            }
            sleep(Duration::from_millis(2));
        }
        self.outside.unchanged(&running.folder)
    }

    /// Once the engine's own processes have ended, which may go on for a while after it: whether the tree is dead, some of it
    /// at least.
    ///
    /// # Errors
    /// They do not end, or the tree is neither dead nor as it was.
    pub fn gone_or_again(&self, running: &Running) -> Outcome<bool> {
        let end = Instant::now() + PATIENCE;
        loop {
            let strangers: Vec<i32> =
                tree().difference(&self.tree).copied().filter(|p| try_wait(*p).is_none()).collect();
            let dead = self.tree.iter().any(|p| ended(*p) && !self.dead.contains(p));
            let missing = self.missing(running);
            if strangers.is_empty() && (dead || missing.is_empty()) {
                return Ok(dead);
            }
            if Instant::now() > end {
                return Err(failed(format!(
                    "still there: {strangers:?}; {}",
                    missing[..missing.len().min(6)].join("; ")
                )));
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// What of the tree does not look as it did.
    pub fn missing(&self, running: &Running) -> Vec<String> {
        let now = tree();
        if now != self.tree {
            return vec![format!("processes before {:?}, now {now:?}", self.tree)];
        }
        if let Some(pid) = self.tree.iter().find(|p| !self.dead.contains(p) && dying(**p)) {
            return vec![format!("pid {pid} was killed")];
        }
        self.snapshot.differences(&running.snapshot(), &running.subject.ignore)
    }
}

fn tree() -> BTreeSet<i32> {
    below(std::process::id() as i32).into_iter().collect()
}

/// No task is stopped that was not, and none has a tracer.
pub fn untraced(tree: &BTreeSet<i32>) -> Outcome {
    for pid in tree {
        for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let bad = |l: &&str| l.starts_with("State:\tt") || (l.starts_with("TracerPid:") && *l != "TracerPid:\t0");
            if let Some(line) = status.lines().find(bad) {
                return Err(failed(format!("{}: {line}", entry.path().display())));
            }
        }
    }
    Ok(())
}

/// Files beside the images, shared memory, mounts, System V objects, sockets, packet filters.
#[derive(Debug)]
pub struct Outside {
    names: BTreeSet<PathBuf>,
    mounts: String,
    ipc: BTreeSet<String>,
    unix_sockets: usize,
    tables: usize,
}

impl Outside {
    pub fn look(folder: &Path) -> Outside {
        let mut names = BTreeSet::new();
        for dir in [folder, Path::new("/dev/shm"), Path::new("/run/criu")] {
            list(dir, &mut names);
        }
        let mut ipc = BTreeSet::new();
        for kind in ["shm", "sem", "msg"] {
            let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
            // Key and id: the rest is about use.
            ipc.extend(text.lines().skip(1).map(|l| {
                let words: Vec<&str> = l.split_whitespace().take(2).collect();
                format!("{kind} {}", words.join(" "))
            }));
        }
        Outside {
            names,
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            ipc,
            unix_sockets: fs::read_to_string("/proc/net/unix").unwrap_or_default().lines().count(),
            tables: tables().unwrap_or(0),
        }
    }

    pub fn unchanged(&self, folder: &Path) -> Outcome {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.compare(&Outside::look(folder));
            // A socket is gone some time after its last descriptor.
            if found.is_ok() || Instant::now() > end {
                return found;
            }
            sleep(Duration::from_millis(10));
        }
    }

    fn compare(&self, now: &Outside) -> Outcome {
        let new: Vec<&PathBuf> = now.names.difference(&self.names).collect();
        if !new.is_empty() {
            let shown: Vec<&&PathBuf> = new.iter().take(8).collect();
            return Err(failed(format!("{} files left behind: {shown:?}", new.len())));
        }
        if now.mounts != self.mounts {
            return Err(failed("mounts left behind"));
        }
        let new: Vec<&String> = now.ipc.difference(&self.ipc).collect();
        if !new.is_empty() {
            return Err(failed(format!("System V objects left behind: {new:?}")));
        }
        if now.unix_sockets > self.unix_sockets {
            return Err(failed(format!("{} unix sockets, before {}", now.unix_sockets, self.unix_sockets)));
        }
        // A restore takes the lock that the dump left.
        if now.tables > self.tables {
            return Err(failed(format!("{} nf_tables tables, before {}", now.tables, self.tables)));
        }
        Ok(())
    }
}

fn list(dir: &Path, names: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            list(&entry.path(), names);
        }
        names.insert(entry.path());
    }
}

/// How many tables nf_tables has in this network namespace.
fn tables() -> rustix::io::Result<usize> {
    const NFNL_SUBSYS_NFTABLES: u8 = 10;
    const NFT_MSG_NEWTABLE: u8 = 0;
    const NFT_MSG_GETTABLE: u8 = 1;
    const NLM_F_REQUEST_DUMP: u16 = 0x301;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))?;
    let mut request = Vec::new();
    request.extend(20u32.to_ne_bytes());
    request.extend([NFT_MSG_GETTABLE, NFNL_SUBSYS_NFTABLES]);
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend([0; 12]);
    sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut count = 0;
    let mut buffer = [0u8; 32 << 10];
    loop {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while let [a, b, c, d, kind, subsystem, ..] = *rest {
            let length = u32::from_ne_bytes([a, b, c, d]) as usize;
            if subsystem != NFNL_SUBSYS_NFTABLES {
                return Ok(count);
            }
            count += usize::from(kind == NFT_MSG_NEWTABLE);
            rest = rest.get(length.next_multiple_of(4).max(16)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_named() {
        let folder = std::env::temp_dir().join(format!("traces-{}", std::process::id()));
        fs::create_dir_all(folder.join("below")).unwrap();
        let before = Outside::look(&folder);
        before.unchanged(&folder).unwrap();
        fs::write(folder.join("below/new"), "").unwrap();
        let found = before.compare(&Outside::look(&folder));
        fs::remove_dir_all(&folder).unwrap();
        assert!(format!("{found:?}").contains("below/new"));
    }
}
