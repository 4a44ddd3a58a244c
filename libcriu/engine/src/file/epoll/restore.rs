//! epoll: made empty; filled when what it watches is at its numbers. What no table has together with the instance is registered
//! by who opens both, under the number that it had.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use criu_images::ImageDir;
use criu_images::messages::{EventpollTfdEntry, FdTypes, FdinfoEntry, FileEntry};
use rustix::event::epoll;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd};

use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::file::kind::{RestoreKind, body};
use crate::file::load::Plan;
use crate::file::object::Object;
use crate::numbers::ByNumber;
use crate::sys::descriptor::{borrow, close_range, dup_to, set_epoll_params};

/// One registration and the table in which it is made.
#[derive(Debug)]
struct Registration {
    at: usize,
    source: RawFd,
    under: RawFd,
    events: u32,
    data: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Epolls {
    registrations: ByNumber<FileId, Vec<Registration>>,
    /// Of what is in tables of others alone.
    foreign: ByNumber<FileId, Vec<Foreign>>,
    /// The ids of those.
    needs: ByNumber<FileId, Vec<FileId>>,
}

#[derive(Debug)]
struct Foreign {
    source: FileId,
    under: RawFd,
    events: u32,
    data: u64,
}

impl RestoreKind for Epolls {
    fn load(&mut self, plan: &Plan, _images: &ImageDir) -> Result<()> {
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Eventpoll) {
            let epfd = body(entry, entry.epfd.as_ref())?;
            let mut tables = Vec::new();
            for (at, (_, fds)) in plan.tables.iter().enumerate() {
                if fds.iter().any(|f| f.id == entry.id) {
                    tables.push((at, Numbers::of(fds)));
                }
            }
            if tables.is_empty() {
                continue;
            }
            let (mut made, mut foreign) = (Vec::new(), Vec::new());
            for t in &epfd.tfd {
                if let Some(own) = tables.iter().find_map(|(at, numbers)| numbers.registration(*at, t)) {
                    made.push(own);
                } else if let Some(source) = t.target_id.filter(|id| plan.first_user.contains_key(id)) {
                    let under = t.registered_fd.unwrap_or(t.tfd) as RawFd;
                    foreign.push(Foreign { source, under, events: t.events, data: t.data });
                } else {
                    let cause = format!("it watches fd {}, which no task that has it has open", t.tfd);
                    return Err(Error::new(Phase::Check, name(entry), cause));
                }
            }
            self.registrations.insert(entry.id, made);
            if !foreign.is_empty() {
                self.needs.insert(entry.id, foreign.iter().map(|f| f.source).collect());
                self.foreign.insert(entry.id, foreign);
            }
        }
        Ok(())
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let open = |m: &FileEntry| {
            let made = epoll::create(epoll::CreateFlags::CLOEXEC);
            let made = made.map_err(|e| Error::os(Phase::Files, name(m), "epoll_create1", e))?;
            if let Some(params) = body(m, m.epfd.as_ref())?.params.as_deref() {
                let params = params.try_into().map_err(|_| Error::new(Phase::Check, name(m), "has odd parameters"))?;
                set_epoll_params(made.as_fd(), params)
                    .map_err(|e| Error::os(Phase::Files, name(m), "ioctl EPIOCSPARAMS", e))?;
            }
            Ok(made)
        };
        members.iter().map(|m| open(m)).collect()
    }

    fn needs(&self, id: FileId) -> &[FileId] {
        self.needs.get(&id).map_or(&[], Vec::as_slice)
    }

    fn complete(&mut self, _plan: &Plan, members: &[&FileEntry], opened: &ByNumber<FileId, OwnedFd>) -> Result<()> {
        for &entry in members {
            for f in self.foreign.get(&entry.id).into_iter().flatten() {
                let (Some(epoll), Some(source)) = (opened.get(&entry.id), opened.get(&f.source)) else { continue };
                register(entry, epoll.as_raw_fd(), source.as_raw_fd(), f.under, f.events, f.data)?;
            }
        }
        Ok(())
    }

    fn attach(&mut self, _plan: &Plan, entry: &FileEntry, fd: RawFd, at: usize) -> Result<()> {
        for r in self.registrations.get(&entry.id).into_iter().flatten().filter(|r| r.at == at) {
            register(entry, fd, r.source, r.under, r.events, r.data)?;
        }
        Ok(())
    }
}

fn register(entry: &FileEntry, epoll: RawFd, source: RawFd, under: RawFd, events: u32, data: u64) -> Result<()> {
    let add = |epoll: BorrowedFd<'_>| {
        let events = epoll::EventFlags::from_bits_retain(events);
        epoll::add(epoll, borrow(under), epoll::EventData::new_u64(data), events)
    };
    let done = if source == under { add(borrow(epoll)) } else { with_number(source, under, epoll, add) };
    done.map_err(|e| Error::os(Phase::Files, name(entry), &format!("epoll_ctl for fd {under}"), e))
}

fn name(entry: &FileEntry) -> String {
    format!("file {} (epoll)", entry.id)
}

/// A table by what it has.
struct Numbers {
    by_number: ByNumber<u32, FileId>,
    by_id: ByNumber<FileId, u32>,
}

impl Numbers {
    fn of(fds: &[FdinfoEntry]) -> Self {
        Numbers {
            by_number: fds.iter().map(|f| (f.fd, f.id)).collect(),
            by_id: fds.iter().map(|f| (f.id, f.fd)).collect(),
        }
    }

    fn registration(&self, at: usize, t: &EventpollTfdEntry) -> Option<Registration> {
        let source = match t.target_id {
            Some(id) => *self.by_id.get(&id)?,
            None => self.by_number.get_key_value(&t.tfd).map(|(&fd, _)| fd)?,
        };
        let under = t.registered_fd.unwrap_or(t.tfd);
        Some(Registration { at, source: source as RawFd, under: under as RawFd, events: t.events, data: t.data })
    }
}

/// Lets `add` find the source under a number that belongs to something else, or to nothing.
fn with_number(
    source: RawFd,
    under: RawFd,
    epoll: RawFd,
    add: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let os = |e: std::io::Error| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO);
    // Above the number under test, which may be the lowest free one.
    let epoll = fcntl_dupfd_cloexec(borrow(epoll), under + 1)?;
    let there =
        fcntl_getfd(borrow(under)).ok().map(|flags| fcntl_dupfd_cloexec(borrow(under), 0).map(|fd| (fd, flags)));
    let there = there.transpose()?;
    dup_to(source, under, true).map_err(os)?;
    let added = add(epoll.as_fd());
    match there {
        Some((fd, flags)) => {
            dup_to(fd.as_raw_fd(), under, flags.contains(FdFlags::CLOEXEC)).map_err(os)?;
        }
        None => close_range(under as u32, under as u32).map_err(os)?,
    }
    added
}
