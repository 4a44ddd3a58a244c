//! Puts descriptors at their final numbers.
//!
//! Sources and the descriptors to keep may stand where something else has to go: those move to numbers nobody wants
//! first. Everything left over is closed in ranges.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use super::FileId;
use crate::error::{Error, Phase, Result};
use crate::sys::descriptor::{close_range, dup_to};

/// One descriptor of a table: where it is, where it has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move<'a> {
    pub from: BorrowedFd<'a>,
    pub to: RawFd,
    pub cloexec: bool,
}

/// The order of calls that leads there.
#[derive(Debug)]
pub(crate) struct Moves {
    /// Out of the way first.
    aside: Vec<(RawFd, RawFd)>,
    /// Where each of the kept descriptors will be.
    keep: Vec<RawFd>,
    moves: Vec<(RawFd, RawFd, bool)>,
    /// Everything that stays open.
    stay: BTreeSet<RawFd>,
}

/// Plans the calls; nothing is changed yet.
pub(crate) fn plan(moves: &[Move<'_>], keep: &[RawFd]) -> Result<Moves> {
    let wanted: BTreeSet<RawFd> = moves.iter().map(|m| m.to).collect();
    let mut taken: BTreeSet<RawFd> = wanted.clone();
    taken.extend(moves.iter().map(|m| m.from.as_raw_fd()));
    taken.extend(keep);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    if let Some(&last) = wanted.last()
        && last as u64 >= limit
    {
        return Err(Error::new(Phase::Files, format!("fd {last}"), format!("the limit of open files is {limit} here"))
            .hint("raise RLIMIT_NOFILE"));
    }
    let mut next = 0;
    let mut spare = || {
        while taken.contains(&next) {
            next += 1;
        }
        next += 1;
        next - 1
    };
    // A source that is its own destination stays; the others that stand on a wanted number go aside.
    let own: BTreeSet<RawFd> = moves.iter().filter(|m| m.from.as_raw_fd() == m.to).map(|m| m.to).collect();
    let mut moved: HashMap<RawFd, RawFd> = HashMap::new();
    let mut aside = Vec::new();
    let sources = moves.iter().map(|m| m.from.as_raw_fd()).filter(|from| !own.contains(from));
    for from in keep.iter().copied().chain(sources) {
        if wanted.contains(&from) && !moved.contains_key(&from) {
            let to = spare();
            moved.insert(from, to);
            aside.push((from, to));
        }
    }
    let now = |fd: RawFd| moved.get(&fd).copied().unwrap_or(fd);
    let keep: Vec<RawFd> = keep.iter().map(|&k| now(k)).collect();
    let moves = moves.iter().map(|m| (now(m.from.as_raw_fd()), m.to, m.cloexec)).collect();
    let stay = wanted.into_iter().chain(keep.iter().copied()).collect();
    Ok(Moves { aside, keep, moves, stay })
}

impl Moves {
    /// Carries the plan out. `sources` own what is moved; they are only numbers afterwards.
    pub(crate) fn carry_out(self, sources: HashMap<FileId, OwnedFd>, keep: &mut [RawFd]) -> Result<()> {
        for (_, source) in sources {
            // Closed by number below, or by being replaced.
            let _ = source.into_raw_fd();
        }
        let failed = |fd: RawFd, call: &str, e| Error::os(Phase::Files, format!("fd {fd}"), call, e);
        for (from, to) in self.aside {
            dup_to(from, to, true).map_err(|e| failed(from, "dup3", e))?;
        }
        keep.copy_from_slice(&self.keep);
        for (from, to, cloexec) in self.moves {
            dup_to(from, to, cloexec).map_err(|e| failed(to, "dup3", e))?;
        }
        let mut first = 0u32;
        for fd in self.stay {
            let fd = fd as u32;
            if fd > first {
                close_range(first, fd - 1).map_err(|e| failed(first as RawFd, "close_range", e))?;
            }
            first = fd + 1;
        }
        close_range(first, u32::MAX).map_err(|e| failed(first as RawFd, "close_range", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::descriptor::borrow;

    fn numbers(moves: &[(RawFd, RawFd)], keep: &[RawFd]) -> Moves {
        let moves: Vec<_> = moves.iter().map(|&(from, to)| Move { from: borrow(from), to, cloexec: false }).collect();
        plan(&moves, keep).unwrap()
    }

    #[test]
    fn two_that_change_places() {
        let m = numbers(&[(3, 4), (4, 3)], &[]);
        assert_eq!(m.aside, [(3, 0), (4, 1)]);
        assert_eq!(m.moves, [(0, 4, false), (1, 3, false)]);
    }

    #[test]
    fn kept_ones_make_way_and_own_places_stay() {
        let m = numbers(&[(0, 0), (0, 1), (7, 2)], &[1, 9]);
        assert_eq!(m.aside, [(1, 3)]);
        assert_eq!(m.keep, [3, 9]);
        assert_eq!(m.moves, [(0, 0, false), (0, 1, false), (7, 2, false)]);
        assert_eq!(m.stay.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 9]);
    }
}
