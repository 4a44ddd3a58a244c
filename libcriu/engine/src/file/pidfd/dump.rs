//! pidfd: whose, from fdinfo.

use std::os::fd::AsFd;

use criu_images::messages::{FdTypes, FileEntry, PidfdEntry};

use super::{FLAGS, GONE};
use crate::error::{Blocker, Result};
use crate::file::FileId;
use crate::file::collect::Collected;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;
use crate::sys::process::exit_status;

/// Of a process that was there when it was looked at.
#[derive(Debug)]
struct Living {
    id: FileId,
    pid: i32,
    object: String,
    /// In the engine's pid namespace.
    target: i32,
}

#[derive(Debug, Default)]
pub(crate) struct Pidfds {
    living: Vec<Living>,
}

impl DumpKind for Pidfds {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.is_anon("[pidfd]") || seen.link.starts_with(b"pidfd:")
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let target: i32 = seen.info.value("Pid").and_then(|v| v.parse().ok()).ok_or_else(|| seen.no_line("Pid"))?;
        if target == 0 {
            return Err(
                Unsaved::because("a pidfd of a process outside this pid namespace").hint("close it before the dump")
            );
        }
        let nspid = if target < 0 {
            GONE
        } else {
            self.living.push(Living { id, pid: seen.holder_pid, object: seen.object(), target });
            let inner = seen.info.value("NSpid").and_then(|v| v.split_whitespace().last()?.parse().ok());
            inner.ok_or_else(|| seen.no_line("NSpid"))?
        };
        let exit_status = if nspid == GONE { exit_status(seen.dup.as_fd()) } else { None };
        let flags = seen.info.flags & FLAGS;
        let pidfd = PidfdEntry { id, ino: seen.stat.st_ino as u32, flags, nspid, fown: seen.fown, exit_status };
        Ok(FileEntry { r#type: FdTypes::Pidfd as i32, id, pidfd: Some(pidfd.into()), ..FileEntry::default() })
    }

    fn resolve(&mut self, common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        for p in &self.living {
            let status = std::fs::read(format!("/proc/{}/status", p.target)).unwrap_or_default();
            let status = String::from_utf8_lossy(&status);
            let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<i32>().ok());
            let is_zombie = status.lines().any(|l| l.starts_with("State:") && l.contains('Z'));
            let in_tree = |pid: Option<i32>| pid.is_some_and(|pid| common.tasks.contains_key(&pid));
            if common.in_messages.contains(&p.id) {
                // Messages are filled before the tasks exist.
                let cause = "a pidfd of a living task is in a message that was not read yet; this cannot be saved";
                blockers.push(Blocker::new(p.pid, &*p.object, cause).hint("have the message read before the dump"));
                continue;
            }
            let cause = if !(in_tree(field("Tgid:")) || is_zombie && in_tree(field("PPid:"))) {
                format!("it is of process {}, which is outside the tree", p.target)
            } else if field("Tgid:") != Some(p.target) {
                format!("it is of thread {}; this cannot be saved", p.target)
            } else {
                continue;
            };
            blockers.push(Blocker::new(p.pid, &*p.object, cause).hint("close it before the dump"));
        }
        Ok(())
    }
}
