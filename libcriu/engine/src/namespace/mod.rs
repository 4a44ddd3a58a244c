//! Namespaces: which ones a task is in. So far only tasks in the engine's own are saved; others are refused by name.

use std::ffi::OsString;
use std::io;

use criu_images::messages::TaskKobjIdsEntry;

use crate::error::Blocker;
use crate::proc::ProcDir;
use crate::pstree::TaskIds;

/// The kinds, in the order in which their ids are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Namespace {
    Pid,
    Net,
    Ipc,
    Uts,
    Time,
    Mnt,
    User,
    Cgroup,
}

impl Namespace {
    pub const ALL: [Namespace; 8] = [
        Namespace::Pid,
        Namespace::Net,
        Namespace::Ipc,
        Namespace::Uts,
        Namespace::Time,
        Namespace::Mnt,
        Namespace::User,
        Namespace::Cgroup,
    ];

    fn link(self) -> &'static str {
        match self {
            Namespace::Pid => "ns/pid",
            Namespace::Net => "ns/net",
            Namespace::Ipc => "ns/ipc",
            Namespace::Uts => "ns/uts",
            Namespace::Time => "ns/time",
            Namespace::Mnt => "ns/mnt",
            Namespace::User => "ns/user",
            Namespace::Cgroup => "ns/cgroup",
        }
    }

    pub fn name(self) -> &'static str {
        &self.link()[3..]
    }

    /// The number of the engine's own in images.
    pub fn engines_id(self) -> u32 {
        self as u32 + 1
    }
}

/// Namespaces that a thread can have apart from its process's (a mount namespace of its own takes a file system context of its
/// own, which is looked for elsewhere).
const OF_A_THREAD: [Namespace; 4] = [Namespace::Net, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup];

/// The engine's own namespaces, with which tasks are compared.
#[derive(Debug)]
pub struct Namespaces {
    /// `None` where this kernel has no such namespaces.
    own: Vec<Option<OsString>>,
}

impl Namespaces {
    /// # Errors
    /// Those of reading /proc/self/ns.
    pub fn of_engine() -> io::Result<Namespaces> {
        let dir = ProcDir::open(std::process::id() as i32)?;
        Ok(Namespaces { own: Namespace::ALL.iter().map(|n| optional(dir.link(n.link()))).collect::<Result<_, _>>()? })
    }

    /// Complains about each namespace of the process that is not the engine's.
    ///
    /// # Errors
    /// Those of reading /proc/PID/ns.
    pub fn check_process(&self, dir: &ProcDir, pid: i32, blockers: &mut Vec<Blocker>) -> io::Result<()> {
        for (kind, own) in Namespace::ALL.iter().zip(&self.own) {
            if optional(dir.link(kind.link()))? != *own {
                blockers.push(foreign(pid, format!("{} namespace", kind.name())));
            }
        }
        self.check_children(dir, pid, "the process", blockers)
    }

    /// As `check_process`, for a thread that is not the leader.
    ///
    /// # Errors
    /// Those of reading /proc/PID/task/TID/ns.
    pub fn check_thread(&self, dir: &ProcDir, pid: i32, blockers: &mut Vec<Blocker>) -> io::Result<()> {
        for (kind, own) in Namespace::ALL.iter().zip(&self.own) {
            if OF_A_THREAD.contains(kind) && optional(dir.link(kind.link()))? != *own {
                blockers.push(foreign(pid, format!("{} namespace of thread {}", kind.name(), dir.id())));
            }
        }
        self.check_children(dir, pid, &format!("thread {}", dir.id()), blockers)
    }

    /// A task can have set namespaces for children that it has not made yet.
    fn check_children(&self, dir: &ProcDir, pid: i32, whose: &str, blockers: &mut Vec<Blocker>) -> io::Result<()> {
        for (kind, link) in [(Namespace::Pid, "ns/pid_for_children"), (Namespace::Time, "ns/time_for_children")] {
            let own = self.own.get(kind as usize).cloned().flatten();
            // A pid namespace that is made but has no first process yet cannot be looked at.
            if optional(dir.link(link))? != own {
                blockers.push(foreign(pid, format!("{} namespace for the children of {whose}", kind.name())));
            }
        }
        Ok(())
    }
}

fn optional(link: io::Result<OsString>) -> io::Result<Option<OsString>> {
    match link {
        Ok(l) => Ok(Some(l)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn foreign(pid: i32, object: String) -> Blocker {
    Blocker::new(pid, object, "tasks in namespaces other than the engine's own cannot be saved yet")
        .hint("run the engine inside of the same namespaces")
}

/// The image of a task's ids; all namespaces are the engine's, which have the numbers from 1 in the order of [`Namespace::ALL`].
pub fn ids_entry(ids: TaskIds) -> TaskKobjIdsEntry {
    let id = |n: Namespace| Some(n.engines_id());
    TaskKobjIdsEntry {
        vm_id: ids.vm,
        files_id: ids.files,
        fs_id: ids.fs,
        sighand_id: ids.sighand,
        pid_ns_id: id(Namespace::Pid),
        net_ns_id: id(Namespace::Net),
        ipc_ns_id: id(Namespace::Ipc),
        uts_ns_id: id(Namespace::Uts),
        mnt_ns_id: id(Namespace::Mnt),
        user_ns_id: id(Namespace::User),
        cgroup_ns_id: id(Namespace::Cgroup),
        time_ns_id: id(Namespace::Time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn own_and_foreign() {
        let spaces = Namespaces::of_engine().unwrap();
        let mut blockers = Vec::new();
        let me = std::process::id() as i32;
        spaces.check_process(&ProcDir::open(me).unwrap(), me, &mut blockers).unwrap();
        assert_eq!(blockers, []);
        let mut child = match Command::new("unshare").args(["-u", "sleep", "60"]).stdout(Stdio::null()).spawn() {
            Ok(c) => c,
            Err(e) => return eprintln!("skipped: unshare: {e}"),
        };
        let pid = child.id() as i32;
        let dir = ProcDir::open(pid).unwrap();
        // It has to become `sleep` first.
        for _ in 0..200 {
            blockers.clear();
            spaces.check_process(&dir, pid, &mut blockers).unwrap();
            if !blockers.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(blockers.len(), 1, "{blockers:?}");
        assert_eq!(blockers[0].object, "uts namespace");
    }
}
