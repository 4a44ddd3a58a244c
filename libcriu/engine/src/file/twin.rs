//! What a task that its parent forks late (`restore/twin`) has to know of files: its descriptors are its parent's.

use std::collections::HashSet;

use criu_images::messages::FdinfoEntry;

use super::load::RestoreFiles;
use super::owner::owner;

impl RestoreFiles {
    /// Does one of the open files tell of a task: by a pidfd, as the owner that is signalled, or by a path such as that of a
    /// file of /proc? Then tasks have to be there before files are opened.
    pub(crate) fn name_one_of(&self, tasks: &HashSet<i32>) -> bool {
        let plan = self.plan();
        let number = |c: &[u8]| std::str::from_utf8(c).ok()?.parse().ok();
        let is_task =
            |c: &[u8]| c.first().is_some_and(u8::is_ascii_digit) && number(c).is_some_and(|n| tasks.contains(&n));
        let in_path = |path: &[u8]| path.split(|&b| b == b'/').any(is_task);
        plan.entries.values().any(|e| {
            e.pidfd.as_ref().is_some_and(|p| p.nspid > 0)
                || owner(plan, e).is_some_and(|(fown, _)| fown.pid != 0)
                || e.reg.as_ref().is_some_and(|r| in_path(&r.name))
                || e.ify.as_ref().is_some_and(|i| i.wd.iter().any(|w| w.f_handle.path.as_deref().is_some_and(in_path)))
        })
    }

    /// Have both tables the same descriptions at the same numbers, and is nothing held through the first alone?
    pub(crate) fn are_alike(&self, table: u32, other: u32) -> bool {
        let sorted = |id: u32| {
            let mut fds: Vec<&FdinfoEntry> = self.table(id)?.iter().collect();
            fds.sort_unstable_by_key(|f| f.fd);
            Some(fds)
        };
        let (fds, others) = (sorted(table), sorted(other));
        fds.is_some() && fds == others && !self.has_locks(table)
    }
}
