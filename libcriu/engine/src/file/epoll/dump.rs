//! epoll: registrations from fdinfo, and which description each one means.

use std::collections::HashMap;
use std::os::fd::AsFd;

use criu_images::messages::{EventpollFileEntry, EventpollTfdEntry, FdTypes, FileEntry};

use crate::error::{Blocker, Error, Phase, Result};
use crate::file::FileId;
use crate::file::collect::{Collected, Table};
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;
use crate::sys::descriptor::{KernelOrder, epoll_params, kcmp_epoll_target};

#[derive(Debug)]
struct Epoll {
    id: FileId,
    pid: i32,
    fd: i32,
    object: String,
    watched: Vec<EventpollTfdEntry>,
}

#[derive(Debug, Default)]
pub(crate) struct Epolls {
    epolls: Vec<Epoll>,
}

impl DumpKind for Epolls {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.is_anon("[eventpoll]")
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let lines = seen.info.text.lines().filter(|l| l.starts_with("tfd:"));
        let watched = lines.map(|l| parse(l).ok_or_else(|| seen.no_line("tfd"))).collect::<Result<_, _>>()?;
        self.epolls.push(Epoll { id, pid: seen.task.pid, fd: seen.fd, object: seen.object(), watched });
        let params = epoll_params(seen.dup.as_fd()).filter(|p| p.iter().any(|&b| b != 0)).map(Vec::from);
        let epfd = EventpollFileEntry { id, flags: seen.info.flags, fown: seen.fown, tfd: Vec::new(), params };
        Ok(FileEntry { r#type: FdTypes::Eventpoll as i32, id, epfd: Some(epfd.into()), ..FileEntry::default() })
    }

    fn resolve(&mut self, common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        for epoll in &mut self.epolls {
            let Some(table) = common.tables.values().find(|t| t.pid == epoll.pid) else { continue };
            let numbers: HashMap<u32, FileId> = table.fds.iter().map(|f| (f.fd, f.id)).collect();
            let mut seen: HashMap<u32, u32> = HashMap::new();
            for watched in &mut epoll.watched {
                let nth = seen.entry(watched.tfd).and_modify(|n| *n += 1).or_insert(0);
                let at = Registration { pid: epoll.pid, epoll: epoll.fd, number: watched.tfd, nth: *nth };
                if numbers.contains_key(&watched.tfd) && at.is((epoll.pid, watched.tfd as i32), &epoll.object)? {
                    continue;
                }
                if common.refused.contains(&(epoll.pid, watched.tfd as i32)) {
                    // Reported already; its own blocker says more.
                    continue;
                }
                if let Some((number, id)) = search(common, table, at, watched, &epoll.object)? {
                    watched.target_id = Some(id);
                    watched.registered_fd = Some(watched.tfd);
                    watched.tfd = number;
                    continue;
                }
                let others = common.tables.values().filter(|t| t.pid != epoll.pid);
                let mut found = others.map(|t| search(common, t, at, watched, &epoll.object));
                let found = found.find_map(Result::transpose).transpose()?;
                let what = format!("it watches what was fd {}", watched.tfd);
                let cause = match found {
                    Some((_, id)) if is_same_to_all(common, id) => {
                        watched.target_id = Some(id);
                        watched.registered_fd = Some(watched.tfd);
                        continue;
                    }
                    Some(_) => format!("{what}, which nobody but another task has open now"),
                    None => format!("{what}, which no task has open any more"),
                };
                let hint = "remove it with epoll_ctl before it is closed";
                blockers.push(Blocker::new(epoll.pid, &*epoll.object, cause).hint(hint));
            }
        }
        let mut filled: HashMap<FileId, &mut Epoll> = self.epolls.iter_mut().map(|e| (e.id, e)).collect();
        for entry in &mut common.entries {
            if let (Some(epoll), Some(epfd)) = (filled.get_mut(&entry.id), entry.epfd.as_mut()) {
                epfd.tfd = std::mem::take(&mut epoll.watched);
            }
        }
        Ok(())
    }
}

/// A registration, as the kernel is asked for it.
#[derive(Clone, Copy, Debug)]
struct Registration {
    pid: i32,
    epoll: i32,
    number: u32,
    /// Among those under the same number, in the kernel's order.
    nth: u32,
}

impl Registration {
    /// Whether it is for the description behind `file` (pid and descriptor).
    fn is(self, file: (i32, i32), object: &str) -> Result<bool> {
        match kcmp_epoll_target(file, (self.pid, self.epoll), self.number, self.nth) {
            Ok(order) => Ok(order == KernelOrder::Equal),
            Err(e) if e.raw_os_error() == Some(libc::EBADF) => Ok(false),
            Err(e) => Err(Error::os(Phase::Collect, object, "kcmp", e).pid(self.pid)),
        }
    }
}

/// Whether it makes no difference which process begins to watch a description, and when: a signalfd tells of the signals of who
/// does, and some are there no earlier than the tasks.
fn is_same_to_all(common: &Collected, id: FileId) -> bool {
    let r#type = common.entries.iter().find(|e| e.id == id).map(FileEntry::r#type);
    matches!(
        r#type,
        Some(
            FdTypes::Pipe
                | FdTypes::Fifo
                | FdTypes::Unixsk
                | FdTypes::Inetsk
                | FdTypes::Netlinksk
                | FdTypes::Packetsk
                | FdTypes::Eventfd
                | FdTypes::Timerfd
                | FdTypes::Inotify
                | FdTypes::Tty
        )
    )
}

/// The number and the id of what is registered, among all descriptors of a table that agree in their inode.
fn search(
    common: &Collected,
    table: &Table,
    at: Registration,
    watched: &EventpollTfdEntry,
    object: &str,
) -> Result<Option<(u32, FileId)>> {
    let mut tried = std::collections::HashSet::new();
    for fd in &table.fds {
        if common.inodes.get(&fd.id) == watched.inode.as_ref()
            && tried.insert(fd.id)
            && at.is((table.pid, fd.fd as i32), object)?
        {
            return Ok(Some((fd.fd, fd.id)));
        }
    }
    Ok(None)
}

/// `tfd: 5 events: 19 data: 8  pos:0 ino:1a sdev:10`
pub(super) fn parse(line: &str) -> Option<EventpollTfdEntry> {
    let mut words = line.split_whitespace();
    let mut entry = EventpollTfdEntry::default();
    while let Some(word) = words.next() {
        let (name, value) = word.split_once(':')?;
        let value = if value.is_empty() { words.next()? } else { value };
        let hex = || u64::from_str_radix(value, 16).ok();
        match name {
            "tfd" => entry.tfd = value.parse().ok()?,
            "events" => entry.events = hex()? as u32,
            "data" => entry.data = hex()?,
            "pos" => entry.pos = Some(value.parse::<i64>().ok()? as u64),
            "ino" => entry.inode = Some(hex()?),
            "sdev" => entry.dev = Some(hex()? as u32),
            _ => {}
        }
    }
    Some(entry)
}
