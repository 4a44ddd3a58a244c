//! Chains are read by ptrace from outside.

use std::collections::HashMap;

use criu_compel::ptrace;
use criu_images::messages::{SeccompEntry, SeccompFilter};

use super::{flags, mode};
use crate::proc::Status;

/// The filters of a thread, the one installed first in front: program and flags of each.
pub type Chain = Vec<(Vec<u8>, u32)>;

/// Mode and chain of one thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadSeccomp {
    pub mode: u32,
    pub chain: Chain,
}

/// Reads a stopped thread's seccomp state.
///
/// # Errors
/// EACCES without CAP_SYS_ADMIN or when the engine is itself filtered, EMEDIUMTYPE for a filter that is not classic BPF.
pub fn read(tid: i32, status: &Status) -> criu_compel::Result<ThreadSeccomp> {
    let mut chain = Chain::new();
    if status.seccomp_mode == mode::FILTER {
        // Without the mitigation the filters were installed with SPEC_ALLOW, or in a kernel that does not ask; a filter
        // installed without the flag could turn it on.
        let speculation = if status.store_bypass == "thread vulnerable" { flags::SPEC_ALLOW } else { 0 };
        while let Some(filter) = ptrace::seccomp_filter(tid, chain.len())? {
            chain.push((filter.program.concat(), filter.flags as u32 | speculation));
        }
    }
    Ok(ThreadSeccomp { mode: status.seccomp_mode, chain })
}

/// The filters of all tasks, as the image lists them.
#[derive(Debug, Default)]
pub struct Filters {
    list: Vec<SeccompFilter>,
    known: HashMap<(Vec<u8>, u32, Option<u32>), u32>,
}

impl Filters {
    /// Adds the threads of one task, the leader in front. Gives for each its mode and the index of its first filter.
    pub fn add_task(&mut self, threads: &[ThreadSeccomp]) -> Vec<(u32, Option<u32>)> {
        let common = threads.len() > 1 && threads.iter().all(|t| *t == threads[0]) && threads[0].mode == mode::FILTER;
        if common {
            let mut placed = vec![(mode::NONE, None); threads.len()];
            placed[0] = (mode::FILTER, self.add_chain(&threads[0].chain, flags::TSYNC));
            return placed;
        }
        threads.iter().map(|t| (t.mode, self.add_chain(&t.chain, 0))).collect()
    }

    fn add_chain(&mut self, chain: &Chain, more: u32) -> Option<u32> {
        let mut next = None;
        for (program, flags) in chain.iter().rev() {
            let key = (program.clone(), flags | more, next);
            let list = &mut self.list;
            let index = *self.known.entry(key).or_insert_with(|| {
                list.push(SeccompFilter { filter: program.clone(), prev: next, flags: Some(flags | more) });
                (list.len() - 1) as u32
            });
            next = Some(index);
        }
        next
    }

    pub fn into_entry(self) -> SeccompEntry {
        SeccompEntry { seccomp_filters: self.list }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(chain: &[&str]) -> ThreadSeccomp {
        let chain: Chain = chain.iter().map(|c| (c.as_bytes().to_vec(), 0)).collect();
        ThreadSeccomp { mode: if chain.is_empty() { mode::NONE } else { mode::FILTER }, chain }
    }

    #[test]
    fn the_walk_from_the_first_filter_is_the_order_of_installation() {
        let mut f = Filters::default();
        let placed =
            f.add_task(&[thread(&[]), thread(&["2", "3", "4"]), thread(&["2", "3", "4"]), thread(&["9", "4"])]);
        assert_eq!(placed, [(0, None), (2, Some(2)), (2, Some(2)), (2, Some(3))]);
        let list = f.into_entry().seccomp_filters;
        let walk = |mut at: Option<u32>| {
            let mut seen = Vec::new();
            while let Some(i) = at {
                seen.push(String::from_utf8(list[i as usize].filter.clone()).unwrap());
                at = list[i as usize].prev;
            }
            seen
        };
        assert_eq!(walk(Some(2)), ["2", "3", "4"]);
        assert_eq!(walk(Some(3)), ["9", "4"]);
        assert_eq!(list.len(), 4);
    }

    #[test]
    fn one_chain_for_all_threads_stands_on_the_leader() {
        let mut f = Filters::default();
        let placed = f.add_task(&[thread(&["a", "b"]), thread(&["a", "b"])]);
        assert_eq!(placed, [(2, Some(1)), (0, None)]);
        assert!(f.into_entry().seccomp_filters.iter().all(|f| f.flags == Some(flags::TSYNC)));
        let mut f = Filters::default();
        assert_eq!(f.add_task(&[thread(&["a"])]), [(2, Some(0))]);
        assert_eq!(f.into_entry().seccomp_filters[0].flags, Some(0));
    }
}
