//! Plan of sessions and process groups: in which order tasks must be forked and call setsid and setpgid, so that each ends
//! up where it was. A session is inherited from the parent or founded; a group can be joined within the session.

use std::collections::HashSet;

use crate::error::Blocker;

use super::checkpoint::Task;
pub(crate) use crate::pstree::session::Session;
use crate::pstree::session::{Place, ways};

/// How a task comes into its process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// By being forked, or it is one of the caller's, for a shell job.
    Inherit,
    Lead,
    /// The leader is this task of the tree.
    Join {
        leader: usize,
    },
    /// The leader is gone: a short-lived process with that pid makes the group for this, its first member.
    Lost {
        leader: i32,
    },
    /// As `Join`, a member that came first being there.
    JoinMember {
        member: usize,
        group: i32,
    },
}

#[derive(Debug)]
pub(crate) struct Kin {
    pub sessions: Vec<Session>,
    pub groups: Vec<Group>,
    /// Leaders of process groups that are in other ones: each founds its own, others join it, and then it leaves.
    left: HashSet<usize>,
}

impl Kin {
    pub fn plan(tasks: &[Task], shell_job: bool, blockers: &mut Vec<Blocker>) -> Kin {
        let mut kin = Kin { sessions: Vec::new(), groups: Vec::new(), left: HashSet::new() };
        let places: Vec<Place> = tasks.iter().map(|t| Place { pid: t.pid, parent: t.parent, sid: t.sid }).collect();
        for ((i, t), way) in tasks.iter().enumerate().zip(ways(&places)) {
            if t.parent.is_none() && t.sid != t.pid && !shell_job {
                let b = Blocker::new(t.pid, "session", format!("its session {} is not the tree's own", t.sid));
                blockers.push(b.hint("restore it as --shell-job"));
            }
            if way.is_none() {
                blockers.push(Blocker::new(t.pid, "session", format!("no way leads into session {}", t.sid)));
            }
            kin.sessions.push(way.unwrap_or(Session::FromParent));
            let group = group(tasks, i, shell_job, &kin.groups);
            if let Group::Join { leader: at } = group {
                let leader = &tasks[at];
                let mut block = |what| {
                    blockers.push(Blocker::new(t.pid, "process group", format!("its group {} {what}", t.pgid)));
                };
                if leader.sid != t.sid {
                    block("is in another session");
                } else if leader.pgid != leader.pid {
                    kin.left.insert(at);
                    if leader.sid == leader.pid {
                        block("cannot be: who leads a session cannot leave its group");
                    }
                }
            }
            kin.groups.push(group);
        }
        kin
    }

    /// Does this task found a group?
    pub fn leads(&self, index: usize) -> bool {
        self.groups[index] == Group::Lead || self.has_left(index)
    }

    /// Is it in another group than the one that it founds?
    pub fn has_left(&self, index: usize) -> bool {
        self.left.contains(&index)
    }

    /// May a task inherit another group than its parent ends up in?
    pub fn any_has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Pids of leaders that are gone, needed for a moment.
    pub fn lost_leaders(&self) -> impl Iterator<Item = i32> + '_ {
        let sessions = self.sessions.iter().filter_map(|s| match s {
            Session::Lost { leader } => Some(*leader),
            _ => None,
        });
        sessions.chain(self.groups.iter().filter_map(|g| match g {
            Group::Lost { leader } => Some(*leader),
            _ => None,
        }))
    }
}

fn group(tasks: &[Task], i: usize, shell_job: bool, before: &[Group]) -> Group {
    let t = &tasks[i];
    if t.pgid == t.pid {
        return Group::Lead;
    }
    if let Some(leader) = tasks.iter().position(|o| o.pid == t.pgid) {
        return Group::Join { leader };
    }
    // Outside the tree: the shell's own group.
    if shell_job && t.sid == tasks[0].sid && t.pgid == tasks[0].pgid {
        return Group::Inherit;
    }
    let first = before.iter().position(|g| matches!(g, Group::Lost { leader } if *leader == t.pgid));
    match first {
        Some(member) => Group::JoinMember { member, group: t.pgid },
        // The leader of a lost session was most often the leader of the group, too: it is there when the task is born.
        None => Group::Lost { leader: t.pgid },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::checkpoint::Body;
    use criu_images::messages::TaskCoreEntry;

    fn task(pid: i32, parent: Option<usize>, pgid: i32, sid: i32) -> Task {
        let (core, body) = (TaskCoreEntry::default(), Body::Dead { status: 0 });
        Task { pid, pgid, sid, parent, children: Vec::new(), core, body }
    }

    fn plan(tasks: &[Task], shell_job: bool) -> (Kin, Vec<Blocker>) {
        let mut blockers = Vec::new();
        (Kin::plan(tasks, shell_job, &mut blockers), blockers)
    }

    #[test]
    fn a_tree_of_two_sessions() {
        let tasks = [
            task(10, None, 10, 10),
            task(11, Some(0), 10, 10),
            task(12, Some(0), 12, 12),
            task(13, Some(2), 12, 12),
            task(14, Some(2), 10, 10),
        ];
        let (kin, blockers) = plan(&tasks, false);
        assert_eq!(blockers, vec![]);
        use Session::*;
        assert_eq!(kin.sessions, vec![Lead, FromParent, Lead, FromParent, BeforeParentLeads]);
        assert_eq!(kin.groups[4], Group::Join { leader: 0 });
    }

    #[test]
    fn leaders_that_are_gone() {
        let tasks = [task(10, None, 10, 10), task(12, Some(0), 99, 98), task(13, Some(1), 99, 98)];
        let (kin, blockers) = plan(&tasks, false);
        assert_eq!(blockers, vec![]);
        assert_eq!(kin.sessions[1], Session::Lost { leader: 98 });
        assert_eq!(kin.groups[1], Group::Lost { leader: 99 });
        assert_eq!(kin.groups[2], Group::JoinMember { member: 1, group: 99 });
        assert_eq!(kin.lost_leaders().collect::<Vec<_>>(), vec![98, 99]);
    }

    #[test]
    fn a_leader_that_is_in_another_group() {
        let waits_for_itself = [task(3, None, 4, 3), task(4, Some(0), 3, 3)];
        let (_, blockers) = plan(&waits_for_itself, false);
        assert!(blockers[0].cause.contains("its group 3 cannot be"), "{blockers:?}");
        let has_left = [task(10, None, 10, 10), task(11, Some(0), 10, 10), task(12, Some(0), 11, 10)];
        let (kin, blockers) = plan(&has_left, false);
        assert_eq!(blockers, vec![]);
        assert_eq!(
            [0, 1, 2].map(|at| (kin.leads(at), kin.has_left(at))),
            [(true, false), (true, true), (false, false)]
        );
        assert_eq!(kin.groups[1..], [Group::Join { leader: 0 }, Group::Join { leader: 1 }]);
    }

    #[test]
    fn a_session_from_outside_needs_shell_job() {
        let tasks = [task(10, None, 10, 5)];
        let (_, blockers) = plan(&tasks, false);
        assert!(blockers[0].hint.contains("shell-job"));
        assert_eq!(plan(&tasks, true).1, vec![]);
    }
}
