//! pidfds: those of the dead are made first; those of tasks when all tasks exist.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::time::Duration;

use criu_images::ImageDir;
use criu_images::messages::{FdTypes, FileEntry, PidfdEntry};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::FLAGS;
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::file::kind::{RestoreKind, body};
use crate::file::load::Plan;
use crate::file::object::Object;
use crate::sys::spawn;

#[derive(Debug, Default)]
pub(crate) struct Pidfds {
    dead: HashMap<FileId, OwnedFd>,
}

fn is_dead(pidfd: &PidfdEntry) -> bool {
    pidfd.nspid <= 0
}

impl RestoreKind for Pidfds {
    fn load(&mut self, plan: &Plan, _images: &ImageDir) -> Result<()> {
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Pidfd) {
            body(entry, entry.pidfd.as_ref())?;
        }
        Ok(())
    }

    fn prepare(&mut self, plan: &mut Plan) -> Result<()> {
        let mut by_process: BTreeMap<u32, Vec<&PidfdEntry>> = BTreeMap::new();
        for pidfd in plan.entries.values().filter_map(|e| e.pidfd.as_ref()).filter(|p| is_dead(p)) {
            by_process.entry(pidfd.ino).or_default().push(pidfd);
        }
        for pidfds in by_process.values() {
            self.bury(pidfds)?;
        }
        Ok(())
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let open = |entry: &FileEntry| match self.dead.get(&entry.id) {
            Some(dead) => rustix::io::fcntl_dupfd_cloexec(dead, 0).map_err(|e| failed(entry.id, "dup", e)),
            None => {
                let pidfd = body(entry, entry.pidfd.as_ref())?;
                open_of(pidfd, pidfd.nspid)
            }
        };
        members.iter().map(|m| open(m)).collect()
    }

    fn is_late(&self, _plan: &Plan, entry: &FileEntry) -> bool {
        entry.pidfd.as_ref().is_some_and(|pidfd| !is_dead(pidfd))
    }

    fn close(&mut self) {
        self.dead.clear();
    }
}

impl Pidfds {
    /// Opens descriptions of one process and ends it.
    fn bury(&mut self, pidfds: &[&PidfdEntry]) -> Result<()> {
        let first = pidfds.first().map_or(0, |p| p.id);
        let status = pidfds.iter().find_map(|p| p.exit_status);
        let pid = spawn::fork_plain(|| {
            if let Some(status) = status {
                end_with(status);
            }
            spawn::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).ok();
            std::thread::sleep(Duration::from_secs(60));
        });
        let pid = pid.map_err(|e| failed(first, "fork", e))?;
        let opened: Result<Vec<_>> = pidfds.iter().map(|p| Ok((p.id, open_of(p, pid)?))).collect();
        if let Some(pid) = Pid::from_raw(pid).filter(|_| status.is_none()) {
            kill_process(pid, Signal::KILL).ok();
        }
        spawn::reap(pid);
        self.dead.extend(opened?);
        Ok(())
    }
}

/// Ends this process as wait(2) told of another one.
fn end_with(status: u32) -> ! {
    match status & 0x7f {
        0 => spawn::exit_now((status >> 8 & 0xff) as i32),
        signal => spawn::die_by(signal as i32),
    }
}

fn open_of(pidfd: &PidfdEntry, pid: i32) -> Result<OwnedFd> {
    let raw = Pid::from_raw(pid).ok_or_else(|| failed(pidfd.id, "pidfd_open", rustix::io::Errno::SRCH))?;
    pidfd_open(raw, PidfdFlags::from_bits_retain(pidfd.flags & FLAGS))
        .map_err(|e| failed(pidfd.id, &format!("pidfd_open of {pid}"), e))
}

fn failed(id: FileId, call: &str, e: impl Into<std::io::Error>) -> Error {
    Error::os(Phase::Files, format!("file {id} (pidfd)"), call, e)
}
