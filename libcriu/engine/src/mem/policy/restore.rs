//! Policies come before pages: these are taken where a policy says.

use criu_images::messages::AreaPolicyEntry;

use super::DEFAULT;
use crate::mem::vma::restore::Area;
use crate::task::sched;

/// What an area gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub mode: u32,
    pub nodes: Vec<u64>,
    pub home_node: Option<u32>,
}

/// The policies of a task, found by address.
#[derive(Debug, Default)]
pub struct Policies<'a> {
    /// By their ends. They do not overlap.
    sorted: Vec<&'a AreaPolicyEntry>,
}

impl<'a> Policies<'a> {
    /// Of policies that overlap, which no kernel tells, one is taken.
    pub fn new(policies: &'a [AreaPolicyEntry]) -> Self {
        let mut sorted: Vec<_> = policies.iter().filter(|p| p.start < p.end).collect();
        sorted.sort_by_key(|p| p.end);
        Policies { sorted }
    }

    /// The policy of an area, with those nodes that are here.
    pub fn of(&self, area: &Area) -> Option<Policy> {
        let first = self.sorted.partition_point(|p| p.end <= area.start);
        let policy = self.sorted.get(first).filter(|p| p.start < area.end)?;
        let (mode, nodes) = sched::restore::mempolicy(&area.name(), policy.mode, &policy.nodes)?;
        let home_node = policy.home_node.filter(|&node| is_here(&area.name(), node));
        Some(Policy { mode, nodes, home_node })
    }
}

/// The policy of an area that has inherited what it shows: it has no policy but its own.
pub fn of_inherited(parents: &Policies<'_>, own: &Policies<'_>, area: &Area) -> Option<Policy> {
    own.of(area).or_else(|| parents.of(area).map(|_| Policy { mode: DEFAULT, ..Policy::default() }))
}

fn is_here(whose: &str, node: u32) -> bool {
    let word = node as usize / 64;
    let mut nodes = vec![0; word + 1];
    nodes[word] = 1 << (node % 64);
    // Of any mode.
    sched::restore::mempolicy(whose, DEFAULT, &nodes).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_and_policies() {
        let policy = |start, end| AreaPolicyEntry { start, end, mode: 2, nodes: vec![1], home_node: Some(0) };
        let bound = || Policy { mode: 2, nodes: vec![1], home_node: Some(0) };
        let (two, none) = ([policy(0x5000, 0x6000), policy(0x1000, 0x3000)], []);
        let (policies, none) = (Policies::new(&two), Policies::new(&none));
        let area = Area::anonymous(0x2000, 0x3000);
        assert_eq!(policies.of(&area), Some(bound()));
        assert_eq!(policies.of(&Area::anonymous(0x3000, 0x5000)), None);
        assert_eq!(policies.of(&Area::anonymous(0x5000, 0x6000)), Some(bound()));
        assert_eq!(policies.of(&Area::anonymous(0x6000, 0x7000)), None);
        assert_eq!(of_inherited(&policies, &none, &area), Some(Policy::default()));
        assert_eq!(of_inherited(&none, &none, &area), None);
        assert_eq!(of_inherited(&none, &policies, &area), Some(bound()));
    }
}
