//! Check: everything that would make the restore fail, found before anything is created, and everything that can be
//! prepared from the images alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use criu_images::messages::{InventoryEntry, TaskKobjIdsEntry};
use criu_pie::abi::restorer::{Creds, IntervalTimer, Limit, PosixTimer, SigInfo, SignalAction};

use super::checkpoint::{Alive, Checkpoint, Task, Thread};
use super::kin::{Kin, Session};
use super::own::{Own, Setting};
use crate::error::{Blocker, Error, Phase, Result};
use crate::mem::vdso::restore::{self as vdso_choice, Choice, choose};
use crate::mem::vma::placement::own_mappings;
use crate::options::Options;
use crate::parallel;
use crate::proc::stat_of;
use crate::sys::mapping::Mapped;
use crate::sys::spawn::has_task;
use crate::task::{creds, limits, regs, sched, seccomp, signals, timers};

/// A checkpoint that can be restored here.
#[derive(Debug)]
pub(crate) struct Checked {
    pub checkpoint: Checkpoint,
    /// For each task what its images come to; `None` for the dead.
    pub prepared: Vec<Option<Prepared>>,
    pub kin: Kin,
    pub shared: Shared,
    /// The running kernel's vDSO in this process.
    pub vdso: Option<vdso_choice::Own>,
    /// What tasks begin with.
    pub own: Own,
}

#[derive(Debug)]
pub(crate) struct Prepared {
    pub actions: Vec<SignalAction>,
    pub pending: Vec<SigInfo>,
    pub itimers: Vec<IntervalTimer>,
    pub timers: Vec<PosixTimer>,
    pub limits: Vec<Limit>,
    pub seccomp: seccomp::restore::Plan,
    pub vdso: Choice,
    pub threads: Vec<PreparedThread>,
}

#[derive(Debug)]
pub(crate) struct PreparedThread {
    pub creds: Creds,
    /// It has these to begin with.
    pub has_creds: bool,
    pub pending: Vec<SigInfo>,
    /// That it sets for itself.
    pub sched_policy: u32,
    /// Words of its CPU mask; none to leave it.
    pub affinity: Vec<u64>,
    /// The mode and nodes of its memory policy; none to leave it.
    pub mempolicy: Option<(u32, Vec<u64>)>,
}

/// What this process and kernel can do.
struct Here {
    last_cap: u32,
    permitted: u64,
    may_raise_limits: bool,
    own: Own,
    vdso: Option<vdso_choice::Own>,
    vdso_code: Vec<u8>,
}

impl Checkpoint {
    /// # Errors
    /// All obstacles together; EEXIST when a pid is taken.
    pub fn check(self, options: &Options) -> Result<Checked> {
        let mut here = Here::find()?;
        let mut blockers = Vec::new();
        let mut prepared = Vec::with_capacity(self.tasks.len());
        let vdsos = parallel::map(&self.tasks, |task| task.alive().map(|alive| vdso(alive, &here)));
        for (task, vdso) in self.tasks.iter().zip(vdsos) {
            let (Some(alive), Some(vdso)) = (task.alive(), vdso) else {
                prepared.push(None);
                continue;
            };
            namespaces(task, alive, &self.inventory, &mut blockers);
            areas(task, alive, &mut blockers);
            here.look_at_settings(task);
            let found = prepare(task, alive, vdso, &self, &here, &mut blockers);
            prepared.push(found);
        }
        let shared = Shared::find(&self.tasks, &mut blockers);
        let kin = Kin::plan(&self.tasks, options.msg.shell_job(), &mut blockers);
        for (i, t) in self.tasks.iter().enumerate().filter(|(i, _)| matches!(kin.sessions[*i], Session::Sibling { .. }))
        {
            if shared.files[i] != i || shared.fs[i] != i {
                let cause = "it shares descriptors or directories, and can be made by the leader of its session only";
                blockers.push(Blocker::new(t.pid, "session", cause));
            }
        }
        if !blockers.is_empty() {
            return Err(Error::refused(Phase::Check, blockers));
        }
        pids_are_free(&self.tasks, &kin)?;
        Ok(Checked { checkpoint: self, prepared, kin, shared, vdso: here.vdso, own: here.own })
    }
}

impl Here {
    fn find() -> Result<Here> {
        let mappings = own_mappings().map_err(|e| Error::os(Phase::Check, "/proc/self/maps", "read", e))?;
        let vdso = vdso_choice::Own::find(&mappings);
        let vdso_code = vdso.as_ref().map_or(Vec::new(), |v| {
            let len = v.code.end - v.code.start;
            Mapped::inherited(v.code.start, len).bytes(len as usize)
        });
        let last_cap = creds::restore::last_cap();
        Ok(Here {
            last_cap,
            own: Own::find(last_cap),
            permitted: creds::restore::own_permitted(),
            may_raise_limits: creds::restore::may_raise_limits(),
            vdso,
            vdso_code,
        })
    }
}

impl Here {
    fn look_at_settings(&mut self, task: &Task) {
        let (settings, tc) = (&mut self.own.settings, &task.core);
        let wanted = [
            (tc.oom_score_adj.is_some(), Setting::OomScoreAdj),
            (tc.loginuid.is_some(), Setting::LoginUid),
            (tc.coredump_filter.is_some(), Setting::CoredumpFilter),
        ];
        wanted.into_iter().filter(|(is_wanted, _)| *is_wanted).for_each(|(_, setting)| settings.look(setting));
    }
}

type NamespaceId = fn(&TaskKobjIdsEntry) -> Option<u32>;

const NAMESPACES: &[(&str, NamespaceId)] = &[
    ("PID", |i| i.pid_ns_id),
    ("network", |i| i.net_ns_id),
    ("IPC", |i| i.ipc_ns_id),
    ("UTS", |i| i.uts_ns_id),
    ("mount", |i| i.mnt_ns_id),
    ("user", |i| i.user_ns_id),
    ("cgroup", |i| i.cgroup_ns_id),
    ("time", |i| i.time_ns_id),
];

/// The inventory's ids are those of the dumping engine: a task with another one had a namespace of its own.
fn namespaces(task: &Task, alive: &Alive, inventory: &InventoryEntry, blockers: &mut Vec<Blocker>) {
    let Some(outside) = &inventory.root_ids else { return };
    for (name, id) in NAMESPACES {
        if let (Some(own), Some(out)) = (id(&alive.ids), id(outside))
            && own != out
        {
            let object = format!("{name} namespace");
            blockers.push(Blocker::new(task.pid, object, "a namespace of the tree's own is not restored yet"));
        }
    }
}

fn areas(task: &Task, alive: &Alive, blockers: &mut Vec<Blocker>) {
    for (start, what) in &alive.layout.unsupported {
        blockers.push(Blocker::new(task.pid, format!("mapping at {start:#x}"), format!("{what} is not restored yet")));
    }
}

/// Descriptor tables and directories (root, current, umask) that processes share: for each task the first one that uses
/// the same, itself when it shares nothing.
#[derive(Debug)]
pub(crate) struct Shared {
    pub files: Vec<usize>,
    pub fs: Vec<usize>,
    files_members: HashMap<usize, Vec<usize>>,
    fs_members: HashMap<usize, Vec<usize>>,
}

type SharedId = fn(&TaskKobjIdsEntry) -> u32;

impl Shared {
    fn find(tasks: &[Task], blockers: &mut Vec<Blocker>) -> Shared {
        for (name, id) in [("address space", (|i| i.vm_id) as SharedId), ("signal handlers", |i| i.sighand_id)] {
            for (i, &first) in firsts(tasks, id).iter().enumerate().filter(|(i, first)| i != *first) {
                let why = format!("sharing it with pid {} is not restored yet", tasks[first].pid);
                blockers.push(Blocker::new(tasks[i].pid, name, why));
            }
        }
        let (files, fs) = (firsts(tasks, |i| i.files_id), firsts(tasks, |i| i.fs_id));
        let (files_members, fs_members) = (members(&files), members(&fs));
        let shared = Shared { files, fs, files_members, fs_members };
        for (name, firsts) in [("descriptor table", &shared.files), ("root and current directory", &shared.fs)] {
            for (i, &first) in firsts.iter().enumerate().filter(|(i, first)| i != *first) {
                // Only a child can be started with what its parent has.
                if tasks[i].parent.is_none_or(|p| firsts[p] != first) {
                    let why = format!("it is shared with pid {}, but not with its parent", tasks[first].pid);
                    blockers.push(Blocker::new(tasks[i].pid, name, why));
                }
            }
        }
        shared
    }

    /// The others that share descriptors with `index`, their first.
    pub fn files_members(&self, index: usize) -> &[usize] {
        self.files_members.get(&index).map_or(&[], |m| m)
    }

    /// The others that share directories with `index`, their first.
    pub fn fs_members(&self, index: usize) -> &[usize] {
        self.fs_members.get(&index).map_or(&[], |m| m)
    }
}

/// By each first of more than one.
fn members(firsts: &[usize]) -> HashMap<usize, Vec<usize>> {
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    for (i, &first) in firsts.iter().enumerate().filter(|(i, first)| i != *first) {
        members.entry(first).or_default().push(i);
    }
    members
}

fn firsts(tasks: &[Task], id: SharedId) -> Vec<usize> {
    let mut seen = HashMap::new();
    let first = |(i, t): (usize, &Task)| t.alive().map_or(i, |a| *seen.entry(id(&a.ids)).or_insert(i));
    tasks.iter().enumerate().map(first).collect()
}

fn prepare(
    task: &Task,
    alive: &Alive,
    vdso: Result<Choice, String>,
    cp: &Checkpoint,
    here: &Here,
    blockers: &mut Vec<Blocker>,
) -> Option<Prepared> {
    let mut block = |object: &str, cause: String| blockers.push(Blocker::new(task.pid, object, cause));
    let mut threads = Vec::new();
    for t in &alive.threads {
        match thread(t, here) {
            Ok(p) => threads.push(p),
            Err((object, cause)) => block(&format!("thread {}: {object}", t.tid), cause),
        }
    }
    let tc = &task.core;
    let has_thread = |tid| alive.threads.iter().any(|t| t.tid == tid);
    let timers = tc.timers.as_ref();
    let in_patched_code = matches!(vdso, Ok(Choice::Patch { .. }))
        && alive.threads.iter().any(|t| alive.layout.in_vdso(t.info.gpregs.ip));
    if in_patched_code {
        block("vDSO", "a thread is inside the vDSO, and this kernel has another one".into());
    }
    let mut or_block = Or { block: &mut block };
    let pending = or_block.take("pending signals", signals::restore::pending(tc.signals_s.as_ref()))?;
    let mut posix_timers = or_block.take("timers", timers::restore::posix(timers, has_thread))?;
    let of_threads = alive.threads.iter().zip(&threads).flat_map(|(t, p)| p.pending.iter().map(|s| (t.tid, s)));
    timers::restore::find_ringing(&mut posix_timers, timers, pending.iter().map(|s| (0, s)).chain(of_threads));
    Some(Prepared {
        actions: or_block.take("signal actions", signals::restore::actions(tc, &here.own.actions))?,
        pending,
        itimers: or_block.take("timers", timers::restore::itimers(timers))?,
        timers: posix_timers,
        limits: or_block
            .take("limits", limits::restore::limits(task.pid, tc, &here.own.limits, here.may_raise_limits))?,
        seccomp: or_block.take("seccomp", seccomp::restore::Plan::new(tc, &alive.threads, &cp.filters))?,
        vdso: or_block.take("vDSO", vdso)?,
        threads,
    })
}

/// Turns what is wrong into a blocker.
struct Or<'a> {
    block: &'a mut dyn FnMut(&str, String),
}

impl Or<'_> {
    fn take<T>(&mut self, object: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|cause| (self.block)(object, cause)).ok()
    }
}

fn vdso(alive: &Alive, here: &Here) -> Result<Choice, String> {
    let Some(own) = &here.vdso else {
        return if alive.layout.vdso.is_some() { Err("this kernel maps none".into()) } else { Ok(Choice::Nothing) };
    };
    let theirs = alive.pages.read(&alive.pages.vdso).map_err(|e| e.to_string())?;
    choose(&alive.layout, own, &theirs, &here.vdso_code)
}

fn thread(t: &Thread, here: &Here) -> Result<PreparedThread, (&'static str, String)> {
    if let Some(why) = regs::restore::refusal(&t.info) {
        return Err(("registers", why));
    }
    let sched_policy = sched::restore::own_policy(&t.core).map_err(|why| ("scheduling", why.to_owned()))?;
    let entry = t.core.creds.as_ref().ok_or(("credentials", "they are not in its core image".to_owned()))?;
    if entry.lsm_profile.as_deref().is_some_and(|p| !p.is_empty() && p != "unconfined") {
        return Err(("security label", "it is not restored yet".into()));
    }
    if entry.lsm_sockcreate.as_deref().is_some_and(|label| !label.is_empty()) {
        return Err(("security label of new sockets", "it is not restored yet".into()));
    }
    let creds = creds::restore::creds(entry, here.last_cap, here.permitted).map_err(|e| ("credentials", e))?;
    let pending = signals::restore::pending(t.core.signals_p.as_ref()).map_err(|e| ("pending signals", e))?;
    let affinity = sched::restore::affinity(t.tid, &t.core.cpu_affinity, &here.own.affinity);
    let whose = || format!("thread {}", t.tid);
    let mempolicy =
        t.core.mempolicy.and_then(|mode| sched::restore::mempolicy(&whose(), mode, &t.core.mempolicy_nodes));
    let has_creds = here.own.has_creds(&creds, entry);
    Ok(PreparedThread { creds, has_creds, pending, sched_policy, affinity, mempolicy })
}

/// How long the pid of a dead task may stay taken until its parent has fetched its status: a restore often follows right
/// behind the dump that killed the tree.
const REAPED_WITHIN: Duration = Duration::from_secs(3);

fn pids_are_free(tasks: &[Task], kin: &Kin) -> Result<()> {
    let threads = tasks.iter().filter_map(|t| t.alive()).flat_map(|a| a.threads.iter().skip(1).map(|t| t.tid));
    let until = Instant::now() + REAPED_WITHIN;
    for pid in tasks.iter().map(|t| t.pid).chain(threads).chain(kin.lost_leaders()) {
        while has_task(pid) {
            if Instant::now() > until || !is_zombie(pid) {
                return Err(Error::new(Phase::Check, "pid", format!("the pid {pid} is taken"))
                    .pid(pid)
                    .errno(libc::EEXIST)
                    .hint("restore when it is free, or inside a pid namespace"));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }
    Ok(())
}

fn is_zombie(pid: i32) -> bool {
    // Gone between the two looks: the next one will tell.
    stat_of(pid).map_or(true, |stat| stat.is_dead())
}
