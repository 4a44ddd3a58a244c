//! epoll: made empty; filled when what it watches is at its numbers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

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
            let made = epfd.tfd.iter().map(|t| {
                tables.iter().find_map(|(at, numbers)| numbers.registration(*at, t)).ok_or_else(|| {
                    let cause = format!("it watches fd {}, which no task that has it has open", t.tfd);
                    Error::new(Phase::Check, name(entry), cause)
                })
            });
            self.registrations.insert(entry.id, made.collect::<Result<_>>()?);
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

    fn attach(&mut self, _plan: &Plan, entry: &FileEntry, fd: RawFd, at: usize) -> Result<()> {
        for r in self.registrations.get(&entry.id).into_iter().flatten().filter(|r| r.at == at) {
            let add = |epoll: BorrowedFd<'_>| {
                let events = epoll::EventFlags::from_bits_retain(r.events);
                epoll::add(epoll, borrow(r.under), epoll::EventData::new_u64(r.data), events)
            };
            let done = if r.source == r.under { add(borrow(fd)) } else { with_number(r, fd, add) };
            done.map_err(|e| Error::os(Phase::Files, name(entry), &format!("epoll_ctl for fd {}", r.under), e))?;
        }
        Ok(())
    }
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
    r: &Registration,
    epoll: RawFd,
    add: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let os = |e: std::io::Error| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO);
    // Above the number under test, which may be the lowest free one.
    let epoll = fcntl_dupfd_cloexec(borrow(epoll), r.under + 1)?;
    let there =
        fcntl_getfd(borrow(r.under)).ok().map(|flags| fcntl_dupfd_cloexec(borrow(r.under), 0).map(|fd| (fd, flags)));
    let there = there.transpose()?;
    dup_to(r.source, r.under, true).map_err(os)?;
    let added = add(epoll.as_fd());
    match there {
        Some((fd, flags)) => {
            use std::os::fd::AsRawFd;
            dup_to(fd.as_raw_fd(), r.under, flags.contains(FdFlags::CLOEXEC)).map_err(os)?;
        }
        None => close_range(r.under as u32, r.under as u32).map_err(os)?,
    }
    added
}
