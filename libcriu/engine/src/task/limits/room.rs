//! Limits that are in the way of an infection: they are raised meanwhile. The dump is then one that is not left halfway.

use criu_images::messages::TaskRlimitsEntry;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::restore::RESOURCES;

/// More than an infection maps.
const MAPPED_BYTES: u64 = 1 << 20;
/// More descriptors than an infection makes.
const DESCRIPTORS: u64 = 4;

/// What a process has of what is limited.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub descriptors: u64,
    pub locked_bytes: u64,
}

/// Limits of a process that are raised until this is dropped.
#[derive(Debug)]
pub struct Room {
    pid: i32,
    before: Vec<(Resource, Rlimit)>,
}

/// Those that leave no room, and how much more would.
fn tight(limits: &TaskRlimitsEntry, used: Used) -> impl Iterator<Item = (Resource, Rlimit, u64)> + '_ {
    let all = [Resource::As, Resource::Data, Resource::Nofile, Resource::Memlock];
    all.into_iter().filter_map(move |resource| {
        let number = RESOURCES.iter().position(|(at, _)| *at == resource)?;
        let limit = limits.rlimits.get(number).filter(|limit| limit.cur != u64::MAX)?;
        let wanted = match resource {
            Resource::Nofile => Some(used.descriptors + DESCRIPTORS).filter(|n| limit.cur < *n)?,
            Resource::Memlock if used.locked_bytes == 0 => return None,
            Resource::Memlock => Some(used.locked_bytes + MAPPED_BYTES).filter(|n| limit.cur < *n)?,
            // How much it has is not worth a look: few have such a limit.
            _ => u64::MAX,
        };
        let value = |n: u64| (n != u64::MAX).then_some(n);
        Some((resource, Rlimit { current: value(limit.cur), maximum: value(limit.max) }, wanted))
    })
}

/// Must limits be raised?
pub fn are_tight(limits: &TaskRlimitsEntry, used: Used) -> bool {
    tight(limits, used).next().is_some()
}

impl Room {
    /// Raises what leaves no room: as far as is wanted, or without the right as far as its maximum.
    pub fn make(pid: i32, limits: &TaskRlimitsEntry, used: Used) -> Room {
        let mut room = Room { pid, before: Vec::new() };
        for (resource, now, wanted) in tight(limits, used) {
            let to = |n: u64| Some(n).filter(|n| *n != u64::MAX);
            let higher = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.max(b));
            let all = Rlimit { current: to(wanted), maximum: higher(now.maximum, to(wanted)) };
            let set = |limit| prlimit(Pid::from_raw(pid), resource, limit);
            let raised = set(all).or_else(|e| match e {
                Errno::PERM if now.current != now.maximum => set(Rlimit { current: now.maximum, maximum: now.maximum }),
                e => Err(e),
            });
            match raised {
                Ok(_) => room.before.push((resource, now)),
                Err(e) => log::debug!("pid {pid}: its limit {resource:?} cannot be raised: {e}"),
            }
        }
        room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for (resource, before) in &self.before {
            if let Err(e) = prlimit(Pid::from_raw(self.pid), *resource, *before) {
                log::warn!("pid {}: its limit {resource:?} cannot be put back: {e}", self.pid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use criu_images::messages::RlimitEntry;

    #[test]
    fn limits_without_room() {
        let used = Used { descriptors: 60, locked_bytes: 0 };
        let limits = |resource: usize, cur| {
            let mut rlimits = vec![RlimitEntry { cur: u64::MAX, max: u64::MAX }; 16];
            rlimits[resource].cur = cur;
            TaskRlimitsEntry { rlimits }
        };
        assert!(!are_tight(&limits(7, 64), used) && are_tight(&limits(7, 63), used));
        assert!(are_tight(&limits(9, 1 << 40), used) && are_tight(&limits(2, 1 << 40), used));
        assert!(!are_tight(&limits(8, 0), used) && !are_tight(&limits(0, 1), used));
        assert!(are_tight(&limits(8, 8192), Used { locked_bytes: 4096, ..used }));
        assert!(!are_tight(&TaskRlimitsEntry::default(), used));
    }
}
