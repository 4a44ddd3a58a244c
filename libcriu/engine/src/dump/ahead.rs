//! A glance at the tree before it is stopped: will it be dumped by a copy of the engine? Then the copy does all of it; what is found out
//! only when the tree stands still costs a second look at everything. Being wrong costs time and nothing else.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{OFlags, RawDir, SeekFrom, fstat, readlinkat, seek};
use rustix::net::sockopt::socket_protocol;
use rustix::net::{getpeername, ipproto};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::snapshot::{self, WORTHWHILE_PAGES};
use crate::options::Options;
use crate::proc::{ProcDir, prepare_for, stat_of};
use crate::progress::Operator;
use crate::task::seccomp::mode;

/// Descriptors of each process that are looked at: the first ones, and as many of those that were opened last.
const SOME_DESCRIPTORS: usize = 10;
/// Room for so many in a list: numbers of up to four digits take 24 bytes each.
const LIST_BYTES: usize = 24 * (SOME_DESCRIPTORS + 2);
/// Where the list of a table has the number 0; each has its place there (`proc_readfd_common`).
const FIRST_PLACE: u64 = 2;
/// Children of the root that are looked at.
const SOME_CHILDREN: usize = 4;

pub(super) fn by_a_copy(options: &Options, operator: &dyn Operator) -> bool {
    let snapshots = snapshot::are_wanted(options, operator);
    let Ok(root) = ProcDir::open(options.pid) else { return false };
    let children = root.children(std::iter::once(options.pid)).unwrap_or_default();
    let children = children.into_iter().take(SOME_CHILDREN).filter_map(|pid| ProcDir::open(pid).ok());
    let mut all = std::iter::once(root).chain(children);
    all.any(|dir| snapshots && resident_pages(&dir) >= WORTHWHILE_PAGES || is_confined(&dir) || has_connections(&dir))
}

/// Gets what looking at a root with much memory takes, while that still runs.
pub(super) fn prepare(options: &Options) {
    if let Ok(stat) = stat_of(options.pid) {
        prepare_for(stat.resident_pages);
    }
}

/// 0 when it cannot be told.
pub(super) fn resident_pages(dir: &ProcDir) -> u64 {
    dir.stat().map_or(0, |stat| stat.resident_pages)
}

fn is_confined(dir: &ProcDir) -> bool {
    dir.status().is_ok_and(|s| s.seccomp_mode != mode::NONE)
}

/// The kernel makes an entry of each number that it tells: it is asked for a few.
fn some_numbers(fds: &OwnedFd) -> Vec<i32> {
    let mut room = [MaybeUninit::uninit(); LIST_BYTES];
    let mut list = RawDir::new(fds, &mut room);
    let mut numbers = Vec::new();
    while let Some(Ok(entry)) = list.next()
        && numbers.len() < SOME_DESCRIPTORS
    {
        numbers.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
    }
    numbers
}

fn has_connections(dir: &ProcDir) -> bool {
    let Ok(fds) = dir.open_at("fd", OFlags::RDONLY | OFlags::DIRECTORY) else { return false };
    let mut numbers = some_numbers(&fds);
    // Linux 6.2 tells how many there are.
    let count = fstat(&fds).map_or(0, |stat| stat.st_size as u64);
    let last = count.saturating_sub(SOME_DESCRIPTORS as u64);
    if last > SOME_DESCRIPTORS as u64 && seek(&fds, SeekFrom::Start(FIRST_PLACE + last)).is_ok() {
        numbers.extend(some_numbers(&fds));
    }
    let is_socket = |n: &i32| {
        let link = readlinkat(&fds, n.to_string(), Vec::new());
        link.is_ok_and(|l| l.as_bytes().starts_with(b"socket:"))
    };
    let mut sockets = numbers.into_iter().filter(is_socket);
    let Some(first) = sockets.next() else { return false };
    let Some(task) = Pid::from_raw(dir.id()).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()) else {
        return false;
    };
    std::iter::once(first).chain(sockets).any(|n| {
        let Ok(fd) = pidfd_getfd(task.as_fd(), n, PidfdGetfdFlags::empty()) else { return false };
        socket_protocol(&fd).is_ok_and(|p| p == Some(ipproto::TCP)) && getpeername(&fd).is_ok()
    })
}
