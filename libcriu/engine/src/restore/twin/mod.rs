//! Twins: children that are nearly what their parent is, as those of servers that fork their workers ahead. The restorer of the
//! parent forks them, when the parent's memory, descriptors and signal actions are in place: they inherit all of it, and only
//! what they have of their own is made (`difference`). A fork of the engine, which every other task begins as, copies and takes
//! down again what no task has.
//!
//! Whatever is not known to be inherited as it was makes a child no twin. None has children or threads; they are the last of
//! their parent's children, so that these come in the order in which they were.

mod difference;

use std::collections::{HashMap, HashSet};

use criu_images::messages::{MmEntry, TaskCoreEntry};
use criu_pie::abi::restorer::{Load, Range, SignalAction};

use super::check::{Checked, Prepared};
use super::checkpoint::{Alive, Task};
use super::kin::Session;
use crate::error::Result;
use crate::file::RestoreFiles;
use crate::mem::vdso::restore::Choice;
use crate::parallel;
use crate::task::signals;
use difference::Parent;

/// Contents of a parent's or a child's memory that are compared ahead; with more, a fork of the engine costs little beside.
const MOST_BYTES: u64 = 4 << 20;

/// From so many on, twins are likely to have more in common with each other than with their parent.
const MANY: usize = 3;

/// What a twin has of its own.
#[derive(Debug)]
pub(crate) struct Twin {
    pub memory: Difference,
    pub actions: Vec<SignalAction>,
    /// The layout of its address space is not its parent's.
    pub has_layout: bool,
}

/// From a parent's memory to a child's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub unmap: Vec<Range>,
    /// Anonymous memory that the parent has not.
    pub rooms: Vec<Range>,
    pub discard: Vec<Range>,
    pub loads: Vec<Load>,
    /// Pages that are the same in both.
    pub same: u64,
}

/// What several twins have in common and their parent has not any more: the parent has it while it forks them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Common {
    /// The twin from whose pages image it comes.
    pub model: usize,
    pub loads: Vec<Load>,
    /// What the parent itself has in their places.
    pub own: Vec<Load>,
    /// Nothing.
    pub discard: Vec<Range>,
}

/// The twins of one parent.
#[derive(Debug)]
struct Siblings {
    /// In their order.
    children: Vec<usize>,
    common: Option<Common>,
}

#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// By their places among the tasks.
    twins: HashMap<usize, Twin>,
    /// By their parents' places.
    siblings: HashMap<usize, Siblings>,
}

impl Twins {
    /// # Errors
    /// A pages image that cannot be read.
    pub fn find(checked: &Checked, files: &RestoreFiles) -> Result<Twins> {
        let mut found = Twins::default();
        for (at, task) in checked.checkpoint.tasks.iter().enumerate() {
            let Some(family) = Family::of(checked, files, at) else { continue };
            let last = task.children.iter().rev().take_while(|&&c| family.is_alike(c));
            let mut candidates: Vec<usize> = last.copied().collect();
            if candidates.is_empty() {
                continue;
            }
            if names_tasks(checked, files) {
                break;
            }
            candidates.reverse();
            found.add(&family, at, &candidates)?;
        }
        if found.count() > 0 {
            log::debug!("{} tasks are forked by what their parents have become", found.count());
        }
        Ok(found)
    }

    /// Those of the parent `at`, the last of its children.
    fn add(&mut self, family: &Family<'_>, at: usize, candidates: &[usize]) -> Result<()> {
        let tasks: Vec<&Task> = candidates.iter().map(|c| &family.checked.checkpoint.tasks[*c]).collect();
        let mut parent = Parent::read(family.alive)?;
        let mut common = None;
        if let (true, Some(model), Some(&place)) = (tasks.len() >= MANY, tasks.last(), candidates.last())
            && let Some(alive) = model.alive()
            && let Some(Difference { loads, .. }) = parent.difference(alive)?
        {
            common = parent.take_over(place, loads, alive, family.alive)?;
        }
        let memories = parallel::map(&tasks, |t| t.alive().map_or(Ok(None), |a| parent.difference(a)));
        let memories = memories.into_iter().collect::<Result<Vec<_>>>()?;
        let twins: Vec<_> = tasks.iter().zip(memories).map(|(task, m)| family.twin(task, m?)).collect();
        let before = twins.iter().rposition(Option::is_none).map_or(0, |no| no + 1);
        let children: Vec<usize> = candidates[before..].to_vec();
        if !children.is_empty() {
            self.twins.extend(children.iter().copied().zip(twins.into_iter().skip(before).flatten()));
            self.siblings.insert(at, Siblings { children, common });
        }
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.twins.len()
    }

    pub fn contains(&self, index: usize) -> bool {
        self.twins.contains_key(&index)
    }

    /// Those whose parent is the task `index`.
    pub fn of(&self, index: usize) -> impl Iterator<Item = (usize, &Twin)> {
        let children = self.siblings.get(&index).map_or(&[][..], |s| &s.children);
        children.iter().filter_map(|c| Some((*c, self.twins.get(c)?)))
    }

    pub fn has(&self, parent: usize) -> bool {
        self.siblings.contains_key(&parent)
    }

    /// What the children of `parent` have in common.
    pub fn common(&self, parent: usize) -> Option<&Common> {
        self.siblings.get(&parent)?.common.as_ref()
    }

    /// Pages that are not made anew, because the parent has the same, and those that are.
    pub fn pages(&self) -> (u64, u64) {
        let read = |t: &Twin| t.memory.loads.iter().map(|l| l.len / crate::mem::vma::PAGE_BYTES).sum::<u64>();
        self.twins.values().fold((0, 0), |(same, own), t| (same + t.memory.same, own + read(t)))
    }
}

/// Does an open file have to do with a task? Descriptors are made before twins exist.
fn names_tasks(checked: &Checked, files: &RestoreFiles) -> bool {
    let tasks = checked.checkpoint.tasks.iter();
    let threads = tasks.clone().filter_map(|t| t.alive()).flat_map(|a| a.threads.iter().map(|t| t.tid));
    let numbers: HashSet<i32> = tasks.map(|t| t.pid).chain(threads).collect();
    files.name_one_of(&numbers)
}

/// A parent, and what its children are compared with.
struct Family<'a> {
    checked: &'a Checked,
    files: &'a RestoreFiles,
    task: &'a Task,
    alive: &'a Alive,
    prepared: &'a Prepared,
    /// The actions of all signals, where the child finds them.
    actions: Vec<SignalAction>,
}

impl<'a> Family<'a> {
    /// `None` when what the parent has would not be inherited as it is.
    fn of(checked: &'a Checked, files: &'a RestoreFiles, at: usize) -> Option<Family<'a>> {
        let task = &checked.checkpoint.tasks[at];
        let (alive, prepared) = (task.alive()?, checked.prepared[at].as_ref()?);
        let is_plain = !task.children.is_empty() && is_inheritable(checked, at, task, alive, prepared);
        let mut actions = checked.own.actions.clone();
        for a in &prepared.actions {
            *actions.get_mut(a.signo as usize - 1)? = *a;
        }
        is_plain.then_some(Family { checked, files, task, alive, prepared, actions })
    }

    /// All but the memory's contents.
    fn is_alike(&self, child: usize) -> bool {
        let Checked { checkpoint, prepared, kin, .. } = self.checked;
        let task = &checkpoint.tasks[child];
        let (Some(alive), Some(prepared)) = (task.alive(), prepared[child].as_ref()) else { return false };
        let is_born_into = (task.pgid, task.sid) == (self.task.pgid, self.task.sid)
            && kin.sessions[child] == Session::FromParent
            && !kin.leads(child);
        let ids = |a: &Alive| {
            let i = &a.ids;
            (
                i.net_ns_id,
                i.pid_ns_id,
                i.ipc_ns_id,
                i.uts_ns_id,
                i.mnt_ns_id,
                i.user_ns_id,
                i.cgroup_ns_id,
                i.time_ns_id,
            )
        };
        task.children.is_empty()
            && !task.core.child_subreaper()
            && task.core.exit_signal.is_none()
            && alive.threads.len() == 1
            && is_born_into
            && is_inheritable(self.checked, child, task, alive, prepared)
            && ids(alive) == ids(self.alive)
            && alive.fs == self.alive.fs
            && common_core(&task.core) == common_core(&self.task.core)
            && common_mm(&alive.mm) == common_mm(&self.alive.mm)
            && prepared.vdso == self.prepared.vdso
            && self.files.are_alike(alive.ids.files_id, self.alive.ids.files_id)
    }

    fn twin(&self, task: &Task, memory: Difference) -> Option<Twin> {
        let actions = signals::restore::actions(&task.core, &self.actions).ok()?;
        let has_layout = layout(&task.alive()?.mm) != layout(&self.alive.mm);
        Some(Twin { memory, actions, has_layout })
    }
}

/// Is all that this task has either inherited by a fork or set by each task for itself, once it is there?
fn is_inheritable(checked: &Checked, at: usize, task: &Task, alive: &Alive, prepared: &Prepared) -> bool {
    let shared = &checked.shared;
    let is_alone = shared.files[at] == at
        && shared.fs[at] == at
        && shared.files_members(at).is_empty()
        && shared.fs_members(at).is_empty();
    is_alone
        && alive.leader_exit.is_none()
        && !prepared.seccomp.is_needed()
        && !matches!(prepared.vdso, Choice::Patch { .. } | Choice::Ia32 { .. })
        && task.core.mdwe.unwrap_or(0) == 0
        && task.core.membarrier_registration_mask() == 0
        && alive.mm.mlock_future() == 0
        && alive.mm.protection_keys() & 0xfffe == 0
        && alive.layout.guards.is_empty()
        && alive.pages.runs.iter().map(|r| r.len).sum::<u64>() <= MOST_BYTES
}

/// What has to be the same in both. The rest is set by each for itself, or asked for apart.
fn common_core(core: &TaskCoreEntry) -> impl PartialEq + use<'_> {
    let TaskCoreEntry {
        task_state: _,
        exit_code: _,
        personality,
        flags: _,
        blk_sigset: _,
        comm: _,
        timers: _,
        rlimits: _,
        cg_set,
        signals_s: _,
        old_seccomp_mode,
        old_seccomp_filter,
        loginuid,
        oom_score_adj,
        sigactions: _,
        child_subreaper: _,
        blk_sigset_extended: _,
        stop_signo: _,
        stop_reported: _,
        continued: _,
        membarrier_registration_mask,
        coredump_filter,
        mdwe,
        leader_exit_code,
        autogroup_nice: _,
        exit_signal: _,
    } = core;
    let of_process = (personality, cg_set, loginuid, oom_score_adj, coredump_filter);
    (of_process, old_seccomp_mode, old_seccomp_filter, membarrier_registration_mask, mdwe, leader_exit_code)
}

/// As `common_core`.
fn common_mm(mm: &MmEntry) -> impl PartialEq + use<'_> {
    let policies: Vec<_> = mm.policies.iter().map(|p| (p.start, p.end, p.mode, &p.nodes, p.home_node)).collect();
    let advised = (mm.thp_disabled(), mm.thp_disable, mm.memory_merge(), mm.mlock_future);
    (mm.exe_file_id, advised, &mm.aios, mm.protection_keys, policies)
}

/// As `MmMap` tells the kernel.
fn layout(mm: &MmEntry) -> ([u64; 11], &[u64]) {
    let ends = [mm.mm_start_code, mm.mm_end_code, mm.mm_start_data, mm.mm_end_data, mm.mm_start_brk, mm.mm_brk];
    let rest = [mm.mm_start_stack, mm.mm_arg_start, mm.mm_arg_end, mm.mm_env_start, mm.mm_env_end];
    let mut all = [0; 11];
    all[..6].copy_from_slice(&ends);
    all[6..].copy_from_slice(&rest);
    (all, &mm.mm_saved_auxv)
}
