//! Seccomp modes and chains of all threads of a task.
//!
//! A filter that several threads have is one object in the kernel, and TSYNC works only where the chain of every other
//! thread is the beginning of the caller's, object by object. ptrace shows programs, not objects: two threads whose chains
//! begin alike got that beginning by clone or TSYNC, or each by itself. The first is assumed: then whatever TSYNC
//! could do before it still can; where a program did install equal filters thread by thread, a TSYNC that was refused to it
//! may be granted after the restore.
//!
//! What all threads share is installed at once, by TSYNC. A thread that shares more with another one is born with it: the
//! other one creates it when it has installed so much of its own chain.

use std::collections::HashMap;

use criu_images::messages::{SeccompFilter, TaskCoreEntry};

use super::flags;
use super::mode::{FILTER, NONE, STRICT};
use crate::restore::checkpoint::Thread;

/// Flags that change what a filter does; the others concern the act of installing it.
const KEPT_FLAGS: u32 = flags::LOG | flags::SPEC_ALLOW;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER: somebody outside decides.
const FLAG_LISTENER: u32 = 8;
/// The kernel's limit on one filter, in instructions.
const MOST_INSTRUCTIONS: usize = 4096;
/// The kernel keeps a chain's total below 32768 instructions, so that no chain is longer.
const LONGEST_CHAIN: usize = 32768;

/// What each thread of a task gets.
#[derive(Debug, Default)]
pub struct Plan {
    /// Filters that all threads share, by their index in the image, in the order of installation.
    pub prefix: Vec<u32>,
    pub threads: Vec<ThreadPlan>,
}

/// One thread's mode and the filters it has beside the common ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadPlan {
    pub mode: u32,
    /// What it installs itself.
    pub chain: Vec<u32>,
    /// Who creates it, when it is to be born with filters that not all threads have.
    pub creator: Option<Creator>,
}

/// A thread that stands earlier in the task's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Creator {
    pub thread: usize,
    /// How many filters of its own chain it has installed when it creates the other one.
    pub filters: usize,
}

impl Plan {
    /// Is any thread confined?
    pub fn is_needed(&self) -> bool {
        self.threads.iter().any(|t| t.mode != NONE)
    }

    /// How many threads are born with filters.
    pub fn late(&self) -> usize {
        self.threads.iter().filter(|t| t.creator.is_some()).count()
    }

    /// # Errors
    /// In words: what is wrong with the image, or a filter that cannot be restored.
    pub(crate) fn new(tc: &TaskCoreEntry, threads: &[Thread], filters: &[SeccompFilter]) -> Result<Plan, String> {
        let mut all = Vec::with_capacity(threads.len());
        for t in threads {
            // Images from before per-thread filters say it once for the task.
            let mode = t.core.seccomp_mode.or(tc.old_seccomp_mode).unwrap_or(0) as u32;
            let first = t.core.seccomp_filter.or(tc.old_seccomp_filter);
            all.push(match (mode, first) {
                (NONE | STRICT, _) => (mode, Vec::new()),
                (FILTER, Some(first)) => (mode, chain(first, filters)?),
                // Its filters came from another thread's TSYNC.
                (FILTER, None) => (mode, Vec::new()),
                (m, _) => return Err(format!("thread {}: seccomp mode {m} is unknown", t.tid)),
            });
        }
        let synchronized = all.first().is_some_and(|(_, chain)| {
            chain.iter().any(|&i| filters.get(i as usize).is_some_and(|f| f.flags() & flags::TSYNC != 0))
        });
        if synchronized {
            let chain = all[0].1.clone();
            let plain = ThreadPlan { mode: FILTER, ..ThreadPlan::default() };
            return Ok(Plan { prefix: chain, threads: vec![plain; threads.len()] });
        }
        if let Some(i) = all.iter().position(|(mode, chain)| *mode == FILTER && chain.is_empty()) {
            return Err(format!("thread {}: its seccomp filters are not in the image", threads[i].tid));
        }
        let kinds = kinds(filters);
        let prefix = common_prefix(&all, &kinds);
        for (_, chain) in &mut all {
            chain.drain(..prefix.len());
        }
        Ok(Plan { prefix, threads: family(all, &kinds) })
    }
}

/// The chain that starts with the filter installed first.
fn chain(first: u32, filters: &[SeccompFilter]) -> Result<Vec<u32>, String> {
    let mut chain = Vec::new();
    let mut next = Some(first);
    while let Some(i) = next {
        let f = filters.get(i as usize).ok_or_else(|| format!("seccomp filter {i} is not in the image"))?;
        let instructions = f.filter.len() / 8;
        if f.filter.len() % 8 != 0 || instructions == 0 || instructions > MOST_INSTRUCTIONS {
            return Err(format!("seccomp filter {i} has {} bytes", f.filter.len()));
        }
        if f.flags() & FLAG_LISTENER != 0 {
            return Err(format!("seccomp filter {i} reports to a listener, which cannot be restored"));
        }
        chain.push(i);
        if chain.len() > LONGEST_CHAIN {
            return Err("a chain of seccomp filters has no end".into());
        }
        next = f.prev;
    }
    Ok(chain)
}

/// For each filter the first one that may be the same object in the kernel. SPEC_ALLOW is told by the thread, not by the
/// filter, so threads that have one in common may differ in it.
fn kinds(filters: &[SeccompFilter]) -> Vec<u32> {
    let mut first = HashMap::new();
    let kind = |(i, f)| *first.entry(f).or_insert(i as u32);
    filters.iter().map(|f| (f.filter.as_slice(), f.flags() & flags::LOG)).enumerate().map(kind).collect()
}

/// Equal filters at the beginning of every chain.
fn common_prefix(all: &[(u32, Vec<u32>)], kinds: &[u32]) -> Vec<u32> {
    let Some((_, first)) = all.first() else { return Vec::new() };
    let same = |a: u32, b: Option<&u32>| b.is_some_and(|&b| kinds[a as usize] == kinds[b as usize]);
    let shared = first.iter().enumerate().take_while(|&(n, &a)| all.iter().all(|(_, other)| same(a, other.get(n))));
    shared.map(|(_, &a)| a).collect()
}

/// Who creates whom: a tree of filters in which each chain is followed as far as earlier threads have walked it; the
/// thread that was first at that place has the same filters there.
fn family(all: Vec<(u32, Vec<u32>)>, kinds: &[u32]) -> Vec<ThreadPlan> {
    const ROOT: usize = 0;
    let mut places: HashMap<(usize, u32), (usize, Creator)> = HashMap::new();
    let mut count = ROOT;
    let mut family = Vec::with_capacity(all.len());
    for (thread, (mode, mut chain)) in all.into_iter().enumerate() {
        let (mut at, mut creator, mut born_with) = (ROOT, None, 0);
        for (n, &filter) in chain.iter().enumerate() {
            let key = (at, kinds[filter as usize]);
            at = match places.get(&key) {
                Some(&(place, first)) => {
                    (creator, born_with) = (Some(first), n + 1);
                    place
                }
                None => {
                    count += 1;
                    places.insert(key, (count, Creator { thread, filters: n + 1 - born_with }));
                    count
                }
            };
        }
        chain.drain(..born_with);
        family.push(ThreadPlan { mode, chain, creator });
    }
    family
}

/// The flags a filter is installed with.
pub fn install_flags(f: &SeccompFilter) -> u32 {
    f.flags() & KEPT_FLAGS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(programs: &[&[u8]]) -> Vec<SeccompFilter> {
        programs.iter().map(|p| SeccompFilter { filter: p.to_vec(), prev: None, flags: None }).collect()
    }

    fn planned(chain: &[u32], creator: Option<(usize, usize)>) -> ThreadPlan {
        let creator = creator.map(|(thread, filters)| Creator { thread, filters });
        ThreadPlan {
            mode: if chain.is_empty() && creator.is_none() { NONE } else { FILTER },
            chain: chain.into(),
            creator,
        }
    }

    #[test]
    fn threads_are_born_with_what_they_share() {
        // 0 and 4 are equal; so are 1 and 5.
        let kinds = kinds(&filters(&[b"a", b"b", b"c", b"d", b"a", b"b"]));
        assert_eq!(kinds, [0, 1, 2, 3, 0, 1]);
        let all = [&[][..], &[0, 1], &[4, 5, 2], &[0, 1, 2, 3], &[4], &[3, 0], &[0, 1, 2, 1]];
        let all = all.map(|c| (if c.is_empty() { NONE } else { FILTER }, c.to_vec()));
        let got = family(all.to_vec(), &kinds);
        let want = [
            planned(&[], None),
            planned(&[0, 1], None),
            planned(&[2], Some((1, 2))),
            planned(&[3], Some((2, 1))),
            planned(&[], Some((1, 1))),
            planned(&[3, 0], None),
            planned(&[1], Some((2, 1))),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn logging_is_part_of_a_filter_and_speculation_is_not() {
        let mut f = filters(&[b"a", b"a", b"a"]);
        f[1].flags = Some(flags::LOG);
        f[2].flags = Some(flags::SPEC_ALLOW);
        assert_eq!(kinds(&f), [0, 1, 0]);
    }
}
