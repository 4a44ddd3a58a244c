//! Puts descriptors at their final numbers.
//!
//! Sources and the descriptors to keep may stand where something else has to go, so the order of the calls matters.
//! Everything left over is closed in ranges.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use super::FileId;
use crate::error::{Error, Phase, Result};
use crate::numbers::ByNumber;
use crate::sys::descriptor::{close_range, dup_to};

/// One descriptor of a table: where it is, where it has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move<'a> {
    pub from: BorrowedFd<'a>,
    pub to: RawFd,
    pub cloexec: bool,
}

/// The calls that lead there, in order.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// From, to, close-on-exec.
    calls: Vec<(RawFd, RawFd, bool)>,
    /// Where each of the kept descriptors will be.
    keep: Vec<RawFd>,
    /// Everything that stays open.
    stay: BTreeSet<RawFd>,
}

/// Plans the calls; nothing is changed yet.
///
/// A number is written to when no source stands on it any more. Once a source has one of its destinations, its old number
/// is free. What is left then are circles: each is opened by moving one source to a spare number.
pub(crate) fn plan(moves: &[Move<'_>], keep: &[RawFd]) -> Result<Moves> {
    let wanted: BTreeSet<RawFd> = moves.iter().map(|m| m.to).collect();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let within = |fd: RawFd| {
        if (fd as u64) < limit {
            return Ok(fd);
        }
        Err(Error::new(Phase::Files, format!("fd {fd}"), format!("the limit of open files is {limit} here"))
            .hint("raise RLIMIT_NOFILE"))
    };
    wanted.last().copied().map(within).transpose()?;

    let mut plan = Moves::default();
    let mut spare = Spare { next: 0, taken: wanted.iter().copied().chain(keep.iter().copied()).collect() };
    spare.taken.extend(moves.iter().map(|m| m.from.as_raw_fd()));
    for &fd in keep {
        let at = if wanted.contains(&fd) { within(spare.take())? } else { fd };
        if at != fd {
            plan.calls.push((fd, at, true));
        }
        plan.keep.push(at);
    }
    // Where the source of each destination is now, and which sources stand on a wanted number.
    let mut now: ByNumber<RawFd, RawFd> = HashMap::default();
    let mut by_from: ByNumber<RawFd, Vec<RawFd>> = HashMap::default();
    let mut cloexec: ByNumber<RawFd, bool> = HashMap::default();
    for m in moves {
        let from = m.from.as_raw_fd();
        now.insert(m.to, from);
        by_from.entry(from).or_default().push(m.to);
        cloexec.insert(m.to, m.cloexec);
    }
    let mut ready: Vec<RawFd> = Vec::new();
    for &to in &wanted {
        match by_from.get(&to) {
            None => ready.push(to),
            // It stays where it is; only its close-on-exec flag is set.
            Some(_) if now.get(&to) == Some(&to) => ready.push(to),
            Some(_) => {}
        }
    }
    let mut waiting: BTreeSet<RawFd> = wanted.iter().copied().filter(|to| ready.binary_search(to).is_err()).collect();
    loop {
        let Some(to) = ready.pop() else {
            let Some(&blocked) = waiting.first() else { break };
            let aside = within(spare.take())?;
            plan.calls.push((blocked, aside, true));
            for other in by_from.remove(&blocked).unwrap_or_default() {
                now.insert(other, aside);
            }
            waiting.remove(&blocked);
            ready.push(blocked);
            continue;
        };
        let from = now.get(&to).copied().unwrap_or(to);
        plan.calls.push((from, to, cloexec.get(&to).copied().unwrap_or(false)));
        if from == to {
            continue;
        }
        // The source has a place of its own: the others take it from there, and its old number is free.
        let stays = now.get(&from) == Some(&from);
        if !stays && let Some(others) = by_from.remove(&from) {
            for other in others {
                now.insert(other, to);
            }
            if waiting.remove(&from) {
                ready.push(from);
            }
        }
    }
    plan.stay = wanted.into_iter().chain(plan.keep.iter().copied()).collect();
    Ok(plan)
}

/// Numbers that nothing is on and nothing goes to.
struct Spare {
    next: RawFd,
    taken: BTreeSet<RawFd>,
}

impl Spare {
    fn take(&mut self) -> RawFd {
        while self.taken.contains(&self.next) {
            self.next += 1;
        }
        self.next += 1;
        self.next - 1
    }
}

impl Moves {
    /// Carries the plan out. `sources` own what is moved; they are only numbers afterwards.
    pub(crate) fn carry_out(self, sources: ByNumber<FileId, OwnedFd>, keep: &mut [RawFd]) -> Result<()> {
        for (_, source) in sources {
            // Closed by number below, or by being replaced.
            let _ = source.into_raw_fd();
        }
        let failed = |fd: RawFd, call: &str, e| Error::os(Phase::Files, format!("fd {fd}"), call, e);
        for (from, to, cloexec) in self.calls {
            dup_to(from, to, cloexec).map_err(|e| failed(to, "dup3", e))?;
        }
        keep.copy_from_slice(&self.keep);
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

    fn planned(moves: &[(RawFd, RawFd)], keep: &[RawFd]) -> Moves {
        let moves: Vec<_> = moves.iter().map(|&(from, to)| Move { from: borrow(from), to, cloexec: false }).collect();
        plan(&moves, keep).unwrap()
    }

    /// Plays the calls on a table where each number holds its own name, and compares with what was asked for.
    fn leads_there(moves: &[(RawFd, RawFd)], keep: &[RawFd]) -> usize {
        let plan = planned(moves, keep);
        let mut table: ByNumber<RawFd, RawFd> = moves.iter().map(|m| (m.0, m.0)).collect();
        table.extend(keep.iter().map(|&k| (k, k)));
        for (from, to, _) in &plan.calls {
            let source = *table.get(from).expect("an open source");
            table.insert(*to, source);
        }
        for (from, to) in moves {
            assert_eq!(table.get(to), Some(from), "{moves:?} keep {keep:?}: {:?}", plan.calls);
        }
        for (before, after) in keep.iter().zip(&plan.keep) {
            assert_eq!(table.get(after), Some(before));
            assert!(moves.iter().all(|m| m.1 != *after));
        }
        plan.calls.len()
    }

    #[test]
    fn two_that_change_places() {
        assert_eq!(leads_there(&[(3, 4), (4, 3)], &[]), 3);
    }

    #[test]
    fn a_whole_table_one_number_on() {
        let moves: Vec<_> = (3..1000).map(|n| (n, n + 1)).collect();
        assert_eq!(leads_there(&moves, &[]), moves.len());
        let circle: Vec<_> = (3..1000).map(|n| (n, if n == 999 { 3 } else { n + 1 })).collect();
        assert_eq!(leads_there(&circle, &[]), circle.len() + 1);
    }

    #[test]
    fn kept_ones_make_way_and_own_places_stay() {
        leads_there(&[(0, 0), (0, 1), (7, 2)], &[1, 9]);
        leads_there(&[(5, 6), (5, 7), (6, 5), (7, 8)], &[8, 5]);
        leads_there(&[(5, 5), (5, 6), (6, 7), (7, 9), (9, 6 + 4)], &[7]);
    }

    #[test]
    fn any_table() {
        // A small generator: the cases are many, the same every time.
        let mut state = 1u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % n) as RawFd
        };
        for _ in 0..2000 {
            let mut moves: ByNumber<RawFd, RawFd> = HashMap::default();
            for _ in 0..random(20) {
                moves.insert(random(24), random(24));
            }
            let sources: BTreeSet<RawFd> = moves.values().copied().collect();
            let keep: BTreeSet<RawFd> = (0..random(4)).map(|_| random(24)).filter(|k| !sources.contains(k)).collect();
            let moves: Vec<_> = moves.into_iter().map(|(to, from)| (from, to)).collect();
            leads_there(&moves, &keep.into_iter().collect::<Vec<_>>());
        }
    }
}
