//! Policies come before pages: these are taken where a policy says.

use criu_images::messages::AreaPolicyEntry;

use super::DEFAULT;
use crate::mem::vma::restore::Area;
use crate::task::sched;

/// The mode and the nodes of an area that has a policy, with those nodes that are here.
pub fn of(policies: &[AreaPolicyEntry], area: &Area) -> Option<(u32, Vec<u64>)> {
    let policy = policies.iter().find(|p| p.start < area.end && area.start < p.end)?;
    sched::restore::mempolicy(&area.name(), policy.mode, &policy.nodes)
}

/// The same of one that has inherited what it shows: it has no policy but its own.
pub fn of_inherited(parents: &[AreaPolicyEntry], own: &[AreaPolicyEntry], area: &Area) -> Option<(u32, Vec<u64>)> {
    of(own, area).or_else(|| of(parents, area).map(|_| (DEFAULT, Vec::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_and_policies() {
        let policy = |start, end| AreaPolicyEntry { start, end, mode: 2, nodes: vec![1] };
        let policies = [policy(0x1000, 0x3000), policy(0x5000, 0x6000)];
        let area = Area::anonymous(0x2000, 0x3000);
        assert_eq!(of(&policies, &area), Some((2, vec![1])));
        assert_eq!(of(&policies, &Area::anonymous(0x3000, 0x5000)), None);
        assert_eq!(of_inherited(&policies, &[], &area), Some((DEFAULT, vec![])));
        assert_eq!(of_inherited(&[], &[], &area), None);
        assert_eq!(of_inherited(&[], &policies, &area), Some((2, vec![1])));
    }
}
