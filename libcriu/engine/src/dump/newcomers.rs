//! Connections that wait to be accepted cannot be saved, and a busy server has some at any moment. So their coming is no
//! reason to give up at once: the tasks go on, and when all have been accepted the dump begins anew. Where this does not
//! help new ones are kept away meanwhile. Whoever was kept away tries again, as TCP does, and is let in or finds the server gone.

use std::collections::{BTreeSet, HashSet};
use std::fs::read_dir;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::netlock::{Door, LockId, Method};
use crate::options::Options;
use crate::proc::ProcDir;
use crate::pstree::children;
use crate::socket::{Waiting, inet, waiting_for};

/// How often a dump begins anew.
const ATTEMPTS: u32 = 4;
/// How long a server may take to accept.
const PATIENCE: Duration = Duration::from_millis(400);
/// At first newcomers may still come in: those kept away try again after a second.
const GRACE: Duration = Duration::from_millis(10);
const GLANCE: Duration = Duration::from_millis(2);

#[derive(Debug, Default)]
pub(super) struct Newcomers {
    attempts: u32,
    door: Option<Door>,
}

impl Newcomers {
    /// Whether a dump that failed with `e` will do when it begins anew: nothing but newcomers stood in the way, and they have
    /// been accepted meanwhile.
    pub(super) fn are_let_in(&mut self, e: &Error, options: &Options) -> bool {
        if self.attempts == ATTEMPTS || !are_all(e) {
            return false;
        }
        self.attempts += 1;
        self.wait(options).unwrap_or_else(|e| {
            log::debug!("what waits to be accepted cannot be seen: {e}");
            false
        })
    }

    fn wait(&mut self, options: &Options) -> io::Result<bool> {
        let mut sockets = HashSet::new();
        add_sockets(options.pid, &mut sockets)?;
        let start = Instant::now();
        let grace = if self.attempts == 1 { GRACE } else { Duration::ZERO };
        loop {
            let listeners = waiting_for(&sockets)?;
            let passed = start.elapsed();
            if self.door.is_none() && passed >= grace && Method::of(&options.msg).is_ok_and(|m| m != Method::Skip) {
                self.shut(&listeners);
            }
            if listeners.iter().all(|l| l.connections == 0) {
                return Ok(true);
            }
            if passed > PATIENCE {
                return Ok(false);
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Without the right to it, it may do as well.
    fn shut(&mut self, listeners: &[Waiting]) {
        let ports: BTreeSet<u16> = listeners.iter().map(|l| l.local.port()).collect();
        let Some(id) = LockId::new(&format!("newcomers-{}", std::process::id())) else { return };
        match Door::shut(&id, &ports) {
            Ok(door) => self.door = Some(door),
            Err(e) => log::debug!("new connections come in meanwhile: {e}"),
        }
    }
}

/// Whether newcomers are all that an error is about.
fn are_all(e: &Error) -> bool {
    let are = |hint: &str| hint == inet::HAVE_THEM_ACCEPTED;
    if e.blockers.is_empty() { are(&e.hint) } else { e.blockers.iter().all(|b| are(&b.hint)) }
}

/// Inodes of the sockets of a task and of its descendants.
fn add_sockets(pid: i32, sockets: &mut HashSet<u32>) -> io::Result<()> {
    // Who ends meanwhile has none.
    for fd in read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        if let Some(ino) = socket_of(&fd.path()) {
            sockets.insert(ino);
        }
    }
    let threads = read_dir(format!("/proc/{pid}/task"))?.flatten();
    let threads = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    for child in children(&ProcDir::open(pid)?, threads)? {
        let _ = add_sockets(child, sockets);
    }
    Ok(())
}

fn socket_of(fd: &Path) -> Option<u32> {
    let link = std::fs::read_link(fd).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
