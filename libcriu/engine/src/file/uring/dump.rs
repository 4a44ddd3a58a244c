//! io_uring: entries from the kernel's records and from what the mappings show.

use std::os::fd::AsFd;

use criu_images::messages::{FdTypes, FileEntry, IoUringEntry};

use super::holders::{self, Held};
use super::record::Record;
use super::registered;
use super::{CQSIZE, KEPT, R_DISABLED, REFUSED, REQUESTS_AT, SINGLE_ISSUER, Steps, requests_bytes, rings_bytes};
use crate::error::{Blocker, Result};
use crate::file::FileId;
use crate::file::collect::Collected;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;
use crate::sys::kernel::Kernel;
use crate::sys::uring::{Params, set_up};
use crate::sys::view::View;

pub(super) const CLOSE_IT: &str = "close it before the dump; started where sysctl kernel.io_uring_disabled is 2, many programs \
                        do without it";
pub(super) const UNSEEN_HINT: &str = "that takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, and a kernel with BTF";

#[derive(Debug)]
pub(crate) struct Urings;

impl DumpKind for Urings {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.is_anon("[io_uring]")
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let collected = collect(seen, id);
        match collected {
            Ok((uring, held)) => {
                common.look_at_uring_users(&seen.task);
                common.urings.push(held);
                Ok(FileEntry { r#type: FdTypes::Iouring as i32, id, uring: Some(uring.into()), ..FileEntry::default() })
            }
            Err(unsaved) => {
                common.refused_urings.insert(seen.stat.st_ino);
                Err(unsaved)
            }
        }
    }

    fn resolve(&mut self, common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        holders::resolve(common, blockers);
        Ok(())
    }
}

fn collect(seen: &Seen<'_>, id: FileId) -> Result<(IoUringEntry, Held), Unsaved> {
    let unseen = |e: std::io::Error| {
        let cause = "an io_uring instance: what there is to it only the kernel's memory tells, which cannot be read";
        Unsaved::because(format!("{cause}: {e}")).hint(format!("{UNSEEN_HINT}; or {CLOSE_IT}"))
    };
    let kernel = Kernel::open().map_err(unseen)?;
    let (uring, params) = entry(&kernel, seen, id).map_err(unseen)??;
    let held = Held {
        id,
        pid: seen.holder_pid,
        table_pid: seen.task.pid,
        object: seen.object(),
        inode: seen.stat.st_ino,
        bytes: [rings_bytes(&params), requests_bytes(&params)].map(|bytes| bytes as u64),
        file: kernel.file(seen.dup.as_fd()).map_err(unseen)?,
        users: Record::of(&kernel, seen.dup.as_fd()).and_then(|record| record.users()).map_err(unseen)?,
    };
    Ok((uring, held))
}

fn refused(what: impl std::fmt::Display) -> Unsaved {
    Unsaved::because(format!("an io_uring instance {what} cannot be saved")).hint(CLOSE_IT)
}

type Entry = (IoUringEntry, Params);

/// # Errors
/// Outside, those of reading the kernel's memory; inside, why it cannot be saved.
fn entry(kernel: &Kernel, seen: &Seen<'_>, id: FileId) -> std::io::Result<Result<Entry, Unsaved>> {
    let record = Record::of(kernel, seen.dup.as_fd())?;
    let flags = record.number("flags")? as u32;
    if flags & !KEPT != 0 {
        let named = REFUSED.iter().filter(|(bit, _)| flags >> bit & 1 != 0).map(|(_, name)| *name);
        let named: Vec<&str> = named.collect();
        let what = if named.is_empty() { format!("of flags {flags:#x}") } else { format!("with {}", named.join(", ")) };
        return Ok(Err(refused(what)));
    }
    let sizes = [record.number("sq_entries")? as u32, record.number("cq_entries")? as u32];
    let cq_entries = if flags & CQSIZE != 0 { sizes[1] } else { 0 };
    let mut params = Params::new(sizes[0], cq_entries, flags);
    let new = match set_up(&mut params) {
        Ok(new) => new,
        Err(e) => {
            let cause = format!("an io_uring instance: the engine cannot make one to compare it with: {e}");
            return Ok(Err(Unsaved::because(cause).hint("set sysctl kernel.io_uring_disabled to 0")));
        }
    };
    let in_flight = record.in_flight()?;
    if in_flight > 0 {
        let cause = format!("an io_uring instance with {in_flight} requests in flight cannot be saved");
        return Ok(Err(Unsaved::because(cause).hint(format!("dump again when they are complete, or {CLOSE_IT}"))));
    }
    if let Some(what) = record.difference(&Record::of(kernel, new.as_fd())?)? {
        return Ok(Err(refused(what)));
    }
    if let Err(refusal) = check_issuer(kernel, seen, &record, flags)? {
        return Ok(Err(refusal));
    }
    let mut uring = IoUringEntry {
        id,
        flags: seen.info.flags,
        fown: seen.fown,
        setup_flags: flags,
        sq_entries: sizes[0],
        cq_entries: sizes[1],
        taken: record.number("cached_sq_head")? as u32,
        given: record.number("cached_cq_tail")? as u32,
        drain_disabled: record.bit("drain_disabled")?.then_some(true),
        ..IoUringEntry::default()
    };
    if let Err(why) = Steps::to(&uring) {
        return Ok(Err(refused(why)));
    }
    if let Err(why) = registered::find(&record, seen, &mut uring)? {
        return Ok(Err(refused(why)));
    }
    let fd = seen.dup.as_fd();
    let [rings, requests] = [(0, rings_bytes(&params)), (REQUESTS_AT, requests_bytes(&params))];
    let rings = View::from(fd, rings.0, rings.1)?.bytes(0, rings.1);
    let requests = View::from(fd, requests.0, requests.1)?.bytes(0, requests.1);
    Ok(Ok((IoUringEntry { rings, requests, ..uring }, params)))
}

/// Is the only one that may use it, if there is such a one, its process's main thread?
fn check_issuer(
    kernel: &Kernel,
    seen: &Seen<'_>,
    record: &Record<'_>,
    flags: u32,
) -> std::io::Result<Result<(), Unsaved>> {
    if flags & SINGLE_ISSUER != 0 && flags & R_DISABLED == 0 {
        let issuer = record.number("submitter_task")?;
        if issuer != kernel.task_of(seen.task.pidfd)? {
            let tid = kernel.number(issuer, "task_struct", "pid")?;
            return Ok(Err(refused(format!("that thread {tid} alone may use (IORING_SETUP_SINGLE_ISSUER)"))));
        }
    }
    Ok(Ok(()))
}
