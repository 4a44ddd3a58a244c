//! The task alone can ask for them.

use std::collections::BTreeMap;
use std::io;

use criu_compel::{Call, Infected};
use criu_images::messages::AreaPolicyEntry;

use super::{BIND, DEFAULT, MOST_NODES, PREFERRED_MANY};
use crate::sys::kernel::{Each, Iterator, Layouts, Word};

/// MPOL_F_ADDR: of the area at an address.
const OF_ADDRESS: u64 = 2;
const MODE_BYTES: u64 = size_of::<u32>() as u64;
/// As many answers as fit its scratch memory.
const AT_ONCE: usize = 4096;

/// The policies of those of these areas, given by their bounds, that have one.
///
/// # Errors
/// When the task died.
///
/// # References
/// get_mempolicy(2)
pub fn ask(infected: &mut Infected, areas: &[(u64, u64)]) -> criu_compel::Result<Vec<AreaPolicyEntry>> {
    let mut found = Vec::new();
    let (scratch, bytes) = infected.scratch();
    for areas in areas.chunks(AT_ONCE.min((bytes / MODE_BYTES) as usize)) {
        let mode_at = |at: usize| scratch + at as u64 * MODE_BYTES;
        let mut calls: Vec<Call> =
            areas.iter().enumerate().map(|(at, area)| call([mode_at(at), 0, 0, area.0])).collect();
        infected.syscalls(&mut calls)?;
        let mut modes = vec![0; calls.len() * MODE_BYTES as usize];
        infected.memory().read(scratch, &mut modes)?;
        let modes = modes.as_chunks::<{ MODE_BYTES as usize }>().0.iter().map(|mode| u32::from_le_bytes(*mode));
        for ((done, mode), area) in calls.iter().zip(modes).zip(areas) {
            // A kernel without nodes knows of no policy.
            if done.ret == 0 && mode != DEFAULT {
                found.push(policy(infected, *area)?);
            }
        }
    }
    Ok(found)
}

fn call([mode, nodes, most, address]: [u64; 4]) -> Call {
    Call { nr: libc::SYS_get_mempolicy as u64, args: [mode, nodes, most, address, OF_ADDRESS, 0], ret: 0 }
}

fn policy(infected: &mut Infected, (start, end): (u64, u64)) -> criu_compel::Result<AreaPolicyEntry> {
    const WORDS: usize = (1 + MOST_NODES / 64) as usize;
    let (scratch, _) = infected.scratch();
    let mut bytes = [0; 8 * WORDS];
    infected.memory().write(scratch, &bytes)?;
    infected.syscalls(&mut [call([scratch, scratch + 8, MOST_NODES + 1, start])])?;
    infected.memory().read(scratch, &mut bytes)?;
    let mut words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let mode = words.remove(0) as u32;
    let len = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
    words.truncate(len);
    Ok(AreaPolicyEntry { start, end, mode, nodes: words, home_node: None })
}

/// Completes policies of the modes that can have a home node, which no call tells.
///
/// # Errors
/// Those of reading the kernel's records.
pub fn find_home_nodes(pid: i32, policies: &mut [AreaPolicyEntry]) -> io::Result<()> {
    if !policies.iter().any(may_have_home) {
        return Ok(());
    }
    let words = [
        Word::At("vm_start"),
        Word::At("vm_end"),
        Word::At("vm_policy"),
        Word::PerhapsBehind("vm_policy", "mempolicy", "home_node"),
    ];
    let records = Iterator::load(Layouts::of_this_kernel()?, Each::Area, &words)?.read(pid)?;
    let homes: BTreeMap<u64, (u64, u32)> = records.as_chunks::<4>().0.iter().filter_map(home).collect();
    for policy in policies.iter_mut().filter(|p| may_have_home(p)) {
        let area = homes.range(..=policy.start).next_back().filter(|(_, (end, _))| *end > policy.start);
        policy.home_node = area.map(|(_, (_, node))| *node);
    }
    Ok(())
}

fn may_have_home(policy: &AreaPolicyEntry) -> bool {
    /// Flags are above the modes.
    const MODES: u32 = 0xff;
    matches!(policy.mode & MODES, BIND | PREFERRED_MANY)
}

/// The bounds of an area and its home node, if it has one.
fn home(&[start, end, policy, node]: &[u64; 4]) -> Option<(u64, (u64, u32))> {
    let node = node as u32;
    (policy != 0 && u64::from(node) < MOST_NODES).then_some((start, (end, node)))
}
