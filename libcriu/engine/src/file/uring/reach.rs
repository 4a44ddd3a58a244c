//! Brings a new instance to its counts.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use criu_images::messages::IoUringEntry;

use super::{NO_SQARRAY, REQUESTS_AT, Steps, request_bytes, requests_bytes, rings_bytes};
use crate::sys::uring::{Params, enter, set_up};
use crate::sys::view::View;

const MSG_RING: u8 = 40;
/// IOSQE_CQE_SKIP_SUCCESS
const SKIP_SUCCESS: u8 = 1 << 6;
/// In a request: its flags, a descriptor, a length.
const FLAGS_AT: usize = 1;
const DESCRIPTOR_AT: usize = 4;
/// Messages given by one call.
const MESSAGES: u32 = 64;

/// An instance that is used, by its mappings.
#[derive(Debug)]
struct Used<'a> {
    fd: BorrowedFd<'a>,
    params: Params,
    rings: View,
    requests: View,
}

/// Counts up to what `uring` says, in an instance that was made with `params` and never used, and writes what it shows.
///
/// # Errors
/// Those of the calls; `InvalidData`: it does not come to where it was.
pub(super) fn bring(fd: BorrowedFd<'_>, params: Params, uring: &IoUringEntry, steps: Steps) -> io::Result<()> {
    let used = Used::of(fd, params)?;
    used.submit(steps.nops)?;
    if steps.skipped > 0 {
        used.set_flags(SKIP_SUCCESS);
        used.submit(steps.skipped)?;
    }
    if steps.dropped > 0 {
        used.drop_all(steps.dropped)?;
    }
    if steps.sent > 0 {
        used.send(steps.sent)?;
    }
    if used.counts() != (uring.taken, uring.given) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    used.requests.put(0, &uring.requests);
    used.rings.put(0, &uring.rings);
    Ok(())
}

impl<'a> Used<'a> {
    fn of(fd: BorrowedFd<'a>, params: Params) -> io::Result<Self> {
        let rings = View::of(fd, rings_bytes(&params))?;
        let requests = View::from(fd, REQUESTS_AT, requests_bytes(&params))?;
        Ok(Used { fd, params, rings, requests })
    }

    fn counts(&self) -> (u32, u32) {
        (self.rings.word(self.params.sq.head as usize), self.rings.word(self.params.cq.tail as usize))
    }

    fn take_completions(&self) {
        self.rings.set_word(self.params.cq.head as usize, self.counts().1);
    }

    /// Gives so many requests, all of which are as they stand there. (That of zeros only is one for nothing.)
    fn submit(&self, count: u32) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let some = left.min(self.params.sq_entries);
            self.give(some)?;
            left -= some;
        }
        Ok(())
    }

    fn give(&self, count: u32) -> io::Result<()> {
        let tail = self.params.sq.tail as usize;
        self.rings.set_word(tail, self.rings.word(tail).wrapping_add(count));
        let taken = enter(self.fd, count)?;
        self.take_completions();
        if taken == count { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn set_flags(&self, flags: u8) {
        for at in 0..self.params.sq_entries as usize {
            self.requests.put(at * request_bytes(&self.params) + FLAGS_AT, &[flags]);
        }
    }

    /// Requests that do not exist: the kernel takes one by each call.
    fn drop_all(&self, count: u32) -> io::Result<()> {
        debug_assert!(self.params.flags & NO_SQARRAY == 0);
        let (array, tail) = (self.params.sq.array as usize, self.params.sq.tail as usize);
        for at in 0..self.params.sq_entries as usize {
            self.rings.set_word(array + 4 * at, u32::MAX);
        }
        for _ in 0..count {
            let next = self.rings.word(tail).wrapping_add(1);
            self.rings.set_word(tail, next);
            enter(self.fd, 1)?;
            if self.counts().0 != next {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }

    /// Completions from another instance.
    fn send(&self, count: u32) -> io::Result<()> {
        let mut params = Params::new(MESSAGES, 0, 0);
        let other: OwnedFd = set_up(&mut params)?;
        let sender = Used::of(other.as_fd(), params)?;
        let mut left = count;
        for at in 0..params.sq_entries as usize {
            sender.requests.put(at * request_bytes(&params), &[MSG_RING]);
            sender.requests.put(at * request_bytes(&params) + DESCRIPTOR_AT, &self.fd.as_raw_fd().to_ne_bytes());
        }
        while left > 0 {
            let some = left.min(MESSAGES).min(self.params.cq_entries);
            sender.give(some)?;
            // They are delivered in the name of who uses it.
            enter(self.fd, 0)?;
            self.take_completions();
            left -= some;
        }
        Ok(())
    }
}
