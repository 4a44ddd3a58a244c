//! Seccomp modes and chains of all threads of a task.

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
    /// For each thread, in order: its mode and the rest of its chain.
    pub threads: Vec<(u32, Vec<u32>)>,
}

impl Plan {
    /// Is any thread confined?
    pub fn is_needed(&self) -> bool {
        self.threads.iter().any(|(mode, _)| *mode != NONE)
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
            return Ok(Plan { prefix: chain, threads: threads.iter().map(|_| (FILTER, Vec::new())).collect() });
        }
        if let Some(i) = all.iter().position(|(mode, chain)| *mode == FILTER && chain.is_empty()) {
            return Err(format!("thread {}: its seccomp filters are not in the image", threads[i].tid));
        }
        let prefix = common_prefix(&all, filters);
        for (_, chain) in &mut all {
            chain.drain(..prefix.len());
        }
        Ok(Plan { prefix, threads: all })
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

/// Equal filters at the beginning of every chain. They become one and the same again, so that a later TSYNC still works.
fn common_prefix(all: &[(u32, Vec<u32>)], filters: &[SeccompFilter]) -> Vec<u32> {
    let Some((_, first)) = all.first() else { return Vec::new() };
    let same = |a: u32, b: Option<&u32>| {
        b.is_some_and(|&b| {
            let (a, b) = (&filters[a as usize], &filters[b as usize]);
            a.filter == b.filter && a.flags() & KEPT_FLAGS == b.flags() & KEPT_FLAGS
        })
    };
    let shared = first.iter().enumerate().take_while(|&(n, &a)| all.iter().all(|(_, other)| same(a, other.get(n))));
    shared.map(|(_, &a)| a).collect()
}

/// The flags a filter is installed with.
pub fn install_flags(f: &SeccompFilter) -> u32 {
    f.flags() & KEPT_FLAGS
}
