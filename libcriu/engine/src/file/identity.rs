//! Which descriptors share one open file description: by dup, by fork, by having been passed.
//!
//! kcmp answers, but costs a call for each comparison; only descriptors that agree in everything fdinfo tells can be the
//! same, and the kernel's order lets the rest be searched by halves. So n descriptors take O(n log n) calls at worst, and
//! one call each where a table was inherited. Where the kernel's memory was read, the address of a description tells without a
//! call: what a stopped task has open stays where it is.

use std::collections::HashMap;

use super::FileId;
use super::fdinfo::FdInfo;
use crate::numbers::ByNumber;
use crate::sys::descriptor::{KernelOrder, kcmp_file};
use crate::sys::kernel::Address;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Likeness {
    mnt_id: i32,
    ino: u64,
    flags: u32,
    pos: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    pid: i32,
    fd: i32,
    id: Option<FileId>,
}

/// Every description found so far.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// In the kernel's order within each likeness.
    known: HashMap<Likeness, Vec<Known>>,
    /// Those whose address is known.
    by_address: ByNumber<Address, Option<FileId>>,
    /// Those of them that are not yet among `known`.
    unsorted: Vec<(Likeness, Known)>,
    /// Calls of kcmp: their number is what this module is about.
    #[cfg(test)]
    calls: u64,
}

/// What is known of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Seen before under this id; `None` when it was refused.
    Known(Option<FileId>),
    /// Not seen before; to be `record`ed at this place.
    New(usize),
}

impl Identity {
    pub(crate) fn find(&mut self, pid: i32, fd: i32, info: &FdInfo) -> std::io::Result<Found> {
        for (likeness, one) in std::mem::take(&mut self.unsorted) {
            // Another than all that were there: else it would have been found.
            if let Found::New(place) = self.find_like(one.pid, one.fd, likeness.clone())? {
                self.known.entry(likeness).or_default().insert(place, one);
            }
        }
        self.find_like(pid, fd, likeness(info))
    }

    /// As `find`, of one whose address is known.
    pub(crate) fn find_at(&mut self, at: Address, pid: i32, fd: i32, info: &FdInfo) -> std::io::Result<Found> {
        if let Some(&id) = self.by_address.get(&at) {
            return Ok(Found::Known(id));
        }
        if self.known.is_empty() {
            return Ok(Found::New(0));
        }
        let found = self.find_like(pid, fd, likeness(info))?;
        if let Found::Known(id) = found {
            self.by_address.insert(at, id);
        }
        Ok(found)
    }

    fn find_like(&mut self, pid: i32, fd: i32, likeness: Likeness) -> std::io::Result<Found> {
        let known = self.known.entry(likeness).or_default();
        let (mut low, mut high) = (0, known.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let other = known[middle];
            #[cfg(test)]
            {
                self.calls += 1;
            }
            match kcmp_file((pid, fd), (other.pid, other.fd))? {
                KernelOrder::Equal => return Ok(Found::Known(other.id)),
                KernelOrder::Less => high = middle,
                KernelOrder::Greater => low = middle + 1,
            }
        }
        Ok(Found::New(low))
    }

    /// Remembers what `find` called new, before any other `find`.
    pub(crate) fn record(&mut self, pid: i32, fd: i32, info: &FdInfo, place: usize, id: Option<FileId>) {
        self.known.entry(likeness(info)).or_default().insert(place, Known { pid, fd, id });
    }

    /// About so many more are to be found by their addresses.
    pub(crate) fn expect(&mut self, count: usize) {
        self.by_address.reserve(count);
    }

    /// Remembers what `find_at` called new.
    pub(crate) fn record_at(&mut self, at: Address, pid: i32, fd: i32, info: &FdInfo, id: Option<FileId>) {
        self.by_address.insert(at, id);
        self.unsorted.push((likeness(info), Known { pid, fd, id }));
    }

    #[cfg(test)]
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }
}

fn likeness(info: &FdInfo) -> Likeness {
    Likeness { mnt_id: info.mnt_id, ino: info.ino, flags: info.flags, pos: info.pos }
}
