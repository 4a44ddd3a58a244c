//! io_uring: made anew, and brought to its counts, by the task itself.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use criu_images::ImageDir;
use criu_images::messages::{FdTypes, FileEntry, IoUringEntry, IoUringFilesEntry};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};

use super::{
    KEPT, MOST_BUFFERS, MOST_COMPLETIONS, MOST_ENTRIES, MOST_FILES, MOST_REGISTERED, Steps, params, reach,
    requests_bytes, rings_bytes,
};
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::Plan;
use crate::file::object::Object;
use crate::sys::descriptor::borrow;
use crate::sys::uring::{
    Params, register_eventfd, register_file_range, register_files, register_with_thread, set_up, update_file,
};

#[derive(Debug)]
pub(crate) struct Urings;

impl RestoreKind for Urings {
    fn load(&mut self, plan: &Plan, _images: &ImageDir) -> Result<()> {
        let mut users = HashSet::new();
        for (_, fds) in &plan.tables {
            let own: HashSet<u32> = fds.iter().map(|fd| fd.id).collect();
            for entry in own.iter().filter_map(|id| plan.entries.get(id)) {
                if entry.r#type() == FdTypes::Iouring && !users.insert(entry.id) {
                    let cause = "several tables of descriptors have it, which would be made by none of their tasks";
                    return Err(Error::new(Phase::Check, named(entry.id), cause));
                }
            }
        }
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Iouring) {
            let uring = body(entry, entry.uring.as_deref())?;
            check(uring).map_err(|why| Error::new(Phase::Check, named(entry.id), why))?;
        }
        Ok(())
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        members.iter().map(|m| make(body(m, m.uring.as_deref())?)).collect()
    }

    fn attach(&mut self, plan: &Plan, entry: &FileEntry, fd: RawFd, at: usize) -> Result<()> {
        let uring = body(entry, entry.uring.as_deref())?;
        let numbers = plan.tables.get(at).map_or(&[][..], |(_, fds)| fds);
        register(uring, borrow(fd), |id| numbers.iter().find(|fd| fd.id == id).map(|fd| fd.fd as RawFd))
    }
}

fn named(id: u32) -> String {
    format!("file {id} (io_uring)")
}

/// What is registered by descriptors. `number_of`: of a file of the task's.
fn register(uring: &IoUringEntry, fd: BorrowedFd<'_>, number_of: impl Fn(u32) -> Option<RawFd>) -> Result<()> {
    let failed = |call: &str, e: io::Error| Error::os(Phase::Files, named(uring.id), call, e);
    let known = |id: u32| {
        let cause = format!("the task has no descriptor of file {id}, which is registered with it");
        number_of(id).ok_or_else(|| Error::new(Phase::Files, named(uring.id), cause))
    };
    if let Some(id) = uring.eventfd_id {
        register_eventfd(fd, known(id)?, uring.eventfd_async())
            .map_err(|e| failed("io_uring_register IORING_REGISTER_EVENTFD", e))?;
    }
    if let Some(all) = &uring.files {
        let (mut files, mut tags) = (vec![-1; all.count as usize], vec![0; all.count as usize]);
        for file in &all.files {
            let place = file.place as usize;
            if let (Some(to), Some(tag)) = (files.get_mut(place), tags.get_mut(place)) {
                (*to, *tag) = (known(file.file_id)?, file.tag());
            }
        }
        register_files(fd, &files, &tags).map_err(|e| failed("io_uring_register IORING_REGISTER_FILES2", e))?;
        if (all.first, all.end) != (0, all.count) {
            register_file_range(fd, all.first, all.end - all.first)
                .map_err(|e| failed("io_uring_register IORING_REGISTER_FILE_ALLOC_RANGE", e))?;
        }
        if let Some(place) = next_free(all, &files) {
            // Where one was taken away last the kernel begins to look.
            let nothing = memfd_create("nothing", MemfdFlags::CLOEXEC).map_err(|e| failed("memfd_create", e.into()))?;
            for file in [nothing.as_raw_fd(), -1] {
                update_file(fd, place, file)
                    .map_err(|e| failed("io_uring_register IORING_REGISTER_FILES_UPDATE", e))?;
            }
        }
    }
    for place in &uring.registered {
        register_with_thread(fd, *place).map_err(|e| failed("io_uring_register IORING_REGISTER_RING_FDS", e))?;
    }
    Ok(())
}

/// The free place that the kernel would choose, if that is not the first one.
fn next_free(all: &IoUringFilesEntry, files: &[RawFd]) -> Option<u32> {
    let free = |mut range: Range<u32>| range.find(|place| files.get(*place as usize) == Some(&-1));
    let next = all.next.clamp(all.first, all.end);
    let (first, chosen) = (free(all.first..all.end)?, free(next..all.end));
    chosen.filter(|chosen| *chosen != first)
}

fn check(uring: &IoUringEntry) -> std::result::Result<(), String> {
    if uring.setup_flags & !KEPT != 0 {
        return Err(format!("an instance of flags {:#x}", uring.setup_flags));
    }
    let is_size = |n: u32, most| n.is_power_of_two() && n <= most;
    if !is_size(uring.sq_entries, MOST_ENTRIES) || !is_size(uring.cq_entries, MOST_COMPLETIONS) {
        return Err(format!("rings of {} and {} entries", uring.sq_entries, uring.cq_entries));
    }
    if let Some(all) = &uring.files {
        let is_sound = all.count <= MOST_FILES
            && all.first <= all.end
            && all.end <= all.count
            && all.files.iter().all(|file| file.place < all.count);
        if !is_sound {
            return Err(format!("{} registered files", all.count));
        }
    }
    if let Some(all) = &uring.buffers
        && (all.count > MOST_BUFFERS || !all.buffers.iter().all(|buffer| buffer.place < all.count))
    {
        return Err(format!("{} registered buffers", all.count));
    }
    if uring.registered.iter().any(|place| *place >= MOST_REGISTERED) {
        return Err("there is no such place to register it at".into());
    }
    Steps::to(uring).map(drop)
}

fn make(uring: &IoUringEntry) -> Result<OwnedFd> {
    let failed = |call: &str, e: io::Error| Error::os(Phase::Files, named(uring.id), call, e);
    let mut params: Params = params(uring);
    let fd = set_up(&mut params).map_err(|e| {
        let is_limit = e.raw_os_error() == Some(libc::EPERM);
        let e = failed("io_uring_setup", e);
        if is_limit { e.hint("set sysctl kernel.io_uring_disabled to 0") } else { e }
    })?;
    let sizes = (params.sq_entries, params.cq_entries, rings_bytes(&params), requests_bytes(&params));
    if sizes != (uring.sq_entries, uring.cq_entries, uring.rings.len(), uring.requests.len()) {
        let cause = "this kernel lays out its rings in another way than the one they are from";
        return Err(Error::new(Phase::Files, named(uring.id), cause).hint("restore on a kernel of the same version"));
    }
    let steps = Steps::to(uring).map_err(|why| Error::new(Phase::Files, named(uring.id), why))?;
    reach::bring(fd.as_fd(), params, uring, steps).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => Error::new(Phase::Files, named(uring.id), "it does not come to where it was"),
        _ => failed("counting up to where it was", e),
    })?;
    let flags = OFlags::from_bits_retain(uring.flags) & (OFlags::NONBLOCK | OFlags::APPEND | OFlags::NOATIME);
    if !flags.is_empty() {
        fcntl_setfl(&fd, flags).map_err(|e| failed("fcntl F_SETFL", e.into()))?;
    }
    Ok(fd)
}
