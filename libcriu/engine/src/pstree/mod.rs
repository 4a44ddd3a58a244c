//! The tree of processes: who is whose child, sessions and groups, threads, and which kernel objects tasks share.

mod kobj;
pub(crate) mod session;
mod walk;

use std::collections::HashMap;

use criu_images::messages::PstreeEntry;

use self::session::{Place, ways};
use crate::error::Blocker;

pub use kobj::{FirstOf, SharedIds, TaskIds};
pub use walk::children;

/// `task_core_entry.task_state`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    Alive,
    /// By a signal; its number.
    Stopped(i32),
    /// Dead, not yet waited for; its status as waitpid gives it.
    Zombie(u32),
}

impl TaskState {
    pub fn number(self) -> u32 {
        match self {
            TaskState::Alive => 1,
            TaskState::Zombie(_) => 2,
            TaskState::Stopped(_) => 3,
        }
    }
}

/// A process as the tree lists it; all ids as in the tree's own pid namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub pid: i32,
    pub ppid: i32,
    pub pgid: i32,
    pub sid: i32,
    /// The leader first.
    pub threads: Vec<i32>,
    pub state: TaskState,
}

impl Item {
    pub fn entry(&self, is_root: bool) -> PstreeEntry {
        PstreeEntry {
            pid: self.pid as u32,
            // The root's parent is not part of the tree.
            ppid: if is_root { 0 } else { self.ppid as u32 },
            pgid: self.pgid as u32,
            sid: self.sid as u32,
            threads: self.threads.iter().map(|t| *t as u32).collect(),
        }
    }
}

/// What cannot be brought back of the sessions and groups of `items`, the root standing first. `exists` tells whether there is a
/// process of that pid: the number of a leader that is gone stays taken as long as its session or group lives.
pub fn session_blockers(items: &[Item], shell_job: bool, exists: impl Fn(i32) -> bool, blockers: &mut Vec<Blocker>) {
    let Some(root) = items.first() else { return };
    let in_tree = |id: i32| items.iter().any(|i| i.pid == id);
    let is_roots = |id: i32| id == root.sid || id == root.pgid;
    for i in items {
        for (id, what) in [(i.sid, "session"), (i.pgid, "process group")] {
            // A shell job's session and group come from whoever restores it.
            if in_tree(id) || shell_job && is_roots(id) {
                continue;
            }
            let outside = match id {
                0 => "its leader is outside the pid namespace",
                _ if exists(id) || id == root.sid => "its leader is outside the tree",
                // A leader that is gone can be stood in for.
                _ => continue,
            };
            let outside = Blocker::new(i.pid, format!("{what} {id}"), outside);
            blockers.push(if is_roots(id) { outside.hint("allow it with --shell-job") } else { outside });
            // One complaint about a task is enough: the second has the same remedy.
            break;
        }
    }
    let index: HashMap<i32, usize> = items.iter().enumerate().map(|(at, item)| (item.pid, at)).collect();
    let parent = |i: &Item| index.get(&i.ppid).copied().filter(|_| i.pid != root.pid);
    let place = |i: &Item| Place { pid: i.pid, parent: parent(i), sid: i.sid };
    let places: Vec<Place> = items.iter().map(place).collect();
    for (item, way) in items.iter().zip(ways(&places)) {
        let cause = match way {
            None if index.contains_key(&item.sid) => {
                "its leader is another's child, so that nobody could have it made there"
            }
            None if item.sid > 0 && !exists(item.sid) => "its leader is gone, and others of it have another parent",
            _ => continue,
        };
        blockers.push(Blocker::new(item.pid, format!("session {}", item.sid), cause).hint(END_OR_LEAVE));
    }
}

const END_OR_LEAVE: &str = "end it, or have it make a session of its own (setsid)";

#[cfg(test)]
mod tests {
    use super::*;

    fn item(pid: i32, ppid: i32, pgid: i32, sid: i32) -> Item {
        Item { pid, ppid, pgid, sid, threads: vec![pid], state: TaskState::Alive }
    }

    #[test]
    fn sessions() {
        let refused = |items: &[Item], shell_job| {
            let mut b = Vec::new();
            session_blockers(items, shell_job, |id| id != 98, &mut b);
            b
        };
        let leader = [item(10, 1, 10, 10), item(11, 10, 11, 10), item(12, 11, 10, 10)];
        assert!(refused(&leader, false).is_empty());
        let job = [item(10, 1, 10, 5), item(11, 10, 10, 5)];
        let b = refused(&job, false);
        assert_eq!(b.len(), 2);
        assert_eq!(b[0].hint, "allow it with --shell-job");
        assert!(refused(&job, true).is_empty());
        // The same seen from a pid namespace below the leader's.
        let entered = [item(10, 1, 0, 0), item(11, 10, 0, 0)];
        assert!(refused(&entered, false).iter().all(|b| b.hint == "allow it with --shell-job"));
        assert!(refused(&entered, true).is_empty());
        assert_eq!(refused(&[item(10, 1, 10, 10), item(11, 10, 0, 0)], true).len(), 1);
        // A child that went into a session outside: --shell-job is about the root's alone.
        let stranger = [item(10, 1, 10, 10), item(11, 10, 99, 99)];
        assert_eq!(refused(&stranger, true).len(), 1);
        let leaderless = [item(10, 1, 10, 10), item(11, 10, 98, 98)];
        assert!(refused(&leaderless, false).is_empty());
        assert_eq!(refused(&[item(10, 1, 10, 98)], false).len(), 1);
    }

    #[test]
    fn the_roots_parent_is_not_named() {
        assert_eq!(item(10, 3, 10, 10).entry(true).ppid, 0);
        assert_eq!(item(11, 10, 10, 10).entry(false).ppid, 10);
    }
}
