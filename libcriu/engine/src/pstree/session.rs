//! How tasks come into their sessions. A session is founded, or inherited from who creates a task; nobody can join one. So it decides who
//! has to fork whom, and what cannot be brought back.

/// How a task comes into its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// It is forked when its parent is already in it.
    FromParent,
    /// It is forked before its parent founds its own.
    BeforeParentLeads,
    /// It founds it.
    Lead,
    /// The leader is gone: a short-lived process with that pid founds it, forks all such tasks, which have one parent, and ends.
    Lost { leader: i32 },
    /// The task was orphaned, and got the parent that its leader has, the task of this index: the leader makes it, as a sibling.
    Sibling { leader: usize },
}

/// Where a task is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub pid: i32,
    /// The index of its parent, which stands before it; none for the root.
    pub parent: Option<usize>,
    pub sid: i32,
}

/// The ways of all tasks; `None`: there is none. That of a root in a session of others is [`Session::FromParent`].
pub(crate) fn ways(places: &[Place]) -> Vec<Option<Session>> {
    let mut ways: Vec<Option<Session>> = Vec::with_capacity(places.len());
    // The session each task is in when it starts.
    let mut born: Vec<i32> = Vec::with_capacity(places.len());
    for place in places {
        let parent = place.parent.filter(|p| *p < ways.len());
        let way = match parent {
            _ if place.sid == place.pid => Some(Session::Lead),
            None => Some(Session::FromParent),
            Some(p) if places[p].sid == place.sid => Some(Session::FromParent),
            Some(p) if born[p] == place.sid && ways[p] == Some(Session::Lead) => Some(Session::BeforeParentLeads),
            Some(p) => match places.iter().position(|other| other.pid == place.sid) {
                Some(leader) => (places[leader].sid == place.sid && places[leader].parent == Some(p))
                    .then_some(Session::Sibling { leader }),
                None => {
                    let of_this = Some(Session::Lost { leader: place.sid });
                    let first = ways.iter().position(|way| *way == of_this);
                    let is_possible = place.sid > 0 && first.is_none_or(|first| places[first].parent == parent);
                    of_this.filter(|_| is_possible)
                }
            },
        };
        born.push(match parent {
            Some(p) if way == Some(Session::BeforeParentLeads) => born[p],
            Some(p) => places[p].sid,
            None => places[0].sid,
        });
        ways.push(way);
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pid: i32, parent: Option<usize>, sid: i32) -> Place {
        Place { pid, parent, sid }
    }

    #[test]
    fn members_whose_leader_is_gone() {
        use Session::*;
        let lost = Some(Lost { leader: 12 });
        let places = [
            place(10, None, 10),
            place(13, Some(0), 12),
            place(14, Some(0), 12),
            place(15, Some(1), 12),
            place(16, Some(0), 10),
            // Nobody can make it there as well.
            place(17, Some(4), 12),
        ];
        assert_eq!(ways(&places), [Some(Lead), lost, lost, Some(FromParent), Some(FromParent), None]);
    }

    #[test]
    fn orphans_of_a_sessions_members() {
        use Session::*;
        // The leader, or a zombie of it, is their sibling; or it is further down.
        let places = [
            place(10, None, 10),
            place(13, Some(0), 12),
            place(12, Some(0), 12),
            place(14, Some(2), 14),
            place(15, Some(0), 14),
        ];
        assert_eq!(ways(&places), [Some(Lead), Some(Sibling { leader: 2 }), Some(Lead), Some(Lead), None]);
    }
}
