//! Resource limits from an image, as far as this process may set them.

use criu_images::messages::TaskCoreEntry;
use criu_pie::abi::restorer::Limit;
use rustix::process::{Resource, Rlimit};

/// In the order of the kernel's numbers.
pub const RESOURCES: [(Resource, &str); 16] = [
    (Resource::Cpu, "cpu"),
    (Resource::Fsize, "fsize"),
    (Resource::Data, "data"),
    (Resource::Stack, "stack"),
    (Resource::Core, "core"),
    (Resource::Rss, "rss"),
    (Resource::Nproc, "nproc"),
    (Resource::Nofile, "nofile"),
    (Resource::Memlock, "memlock"),
    (Resource::As, "as"),
    (Resource::Locks, "locks"),
    (Resource::Sigpending, "sigpending"),
    (Resource::Msgqueue, "msgqueue"),
    (Resource::Nice, "nice"),
    (Resource::Rtprio, "rtprio"),
    (Resource::Rttime, "rttime"),
];

/// The limits to set, where this process (and every task, to begin with) has `here`, by the kernel's numbers. Only CAP_SYS_RESOURCE raises a maximum: without it one that is lower here stays as it is, which the
/// log tells; the task could not have used more on this machine.
///
/// # Errors
/// In words: more limits than there are, or a current one above its maximum.
pub fn limits(pid: i32, tc: &TaskCoreEntry, here: &[Rlimit], may_raise: bool) -> Result<Vec<Limit>, String> {
    let entries = tc.rlimits.as_ref().map_or(&[][..], |r| &r.rlimits);
    if entries.len() > RESOURCES.len() {
        return Err(format!("{} resource limits", entries.len()));
    }
    let mut limits = Vec::new();
    for (number, ((e, (resource, name)), here)) in entries.iter().zip(RESOURCES).zip(here).enumerate() {
        if e.cur > e.max {
            return Err(format!("the limit {name} is {} of at most {}", e.cur, e.max));
        }
        let own = number_of(here.maximum);
        let mut limit = Limit { resource: number as u64, current: e.cur, maximum: e.max };
        if limit.maximum > own && !may_raise {
            log::warn!(
                "pid {pid} limit {name}: the maximum {} cannot be raised above {own} without CAP_SYS_RESOURCE",
                e.max
            );
            limit.maximum = own;
            limit.current = limit.current.min(own);
        }
        // This process raises its own limit of descriptors later on.
        let is_there = (limit.current, limit.maximum) == (number_of(here.current), own);
        if !is_there || resource == Resource::Nofile {
            limits.push(limit);
        }
    }
    Ok(limits)
}

fn number_of(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}
