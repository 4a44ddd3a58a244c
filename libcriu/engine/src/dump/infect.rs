//! Infect: asks each task what it alone can tell, one after the other, and cures it at once.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use criu_compel::{Call, Infected, Known, Pin, ProcessFacts, SeizedTask, ThreadFacts};
use criu_images::messages::{AreaPolicyEntry, VmaEntry};

use super::alike::Alike;
use super::collect::{Collected, CollectedTask, Living, complain_of_confined};
use super::kin::{self, Kin};
use super::snapshot::{self, Snapshot, Wanted};
use super::timed;
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::DumpFiles;
use crate::ipc::DumpIpc;
use crate::mem;
use crate::mem::pages::Run;
use crate::mem::vma::status;
use crate::options::Options;
use crate::proc::{Area, PosixTimer, ProcDir, areas};
use crate::progress::Operator;
use crate::task::limits::Room;
use crate::task::regs;
use crate::task::seccomp::mode;

/// A task that has told everything.
#[derive(Debug)]
pub(super) struct InformedTask {
    pub task: CollectedTask,
    /// `None` for a zombie.
    pub told: Option<Told>,
    /// It goes on after a stop, which its parent has not heard of.
    pub continued: bool,
}

#[derive(Debug)]
pub(super) struct Told {
    pub process: ProcessFacts,
    /// Children that go on after a stop, without that it has heard of it.
    pub continued: Vec<i32>,
    /// In the order of the task's threads.
    pub threads: Vec<ThreadFacts>,
    has_ldt: bool,
    /// How what it maps from now on is locked: MCL_* of mlockall; 0 when it is not.
    pub mlock_future: u32,
    /// Memory policies of single areas.
    pub policies: Vec<AreaPolicyEntry>,
    /// Pages to keep, when they have been looked for already.
    pub runs: Option<Vec<Run>>,
    /// Where they are read from when the task runs on.
    pub snapshot: Option<Snapshot>,
}

#[derive(Debug)]
pub(super) struct Informed {
    pub tasks: Vec<InformedTask>,
    pub files: DumpFiles,
    pub ipc: DumpIpc,
    pub since: Instant,
    pub freezing: Duration,
}

impl Informed {
    pub fn has_snapshots(&self) -> bool {
        self.tasks.iter().filter_map(|t| t.told.as_ref()).any(|told| told.snapshot.is_some())
    }
}

impl Collected {
    /// # Errors
    /// A task that cannot be infected, or has state that only it could tell of and that cannot be saved.
    pub fn infect(self, options: &Options, operator: &mut dyn Operator) -> Result<Informed> {
        let snapshots = snapshot::are_wanted(options, operator);
        let total = self.tasks.len() as u64;
        let mut tasks: Vec<InformedTask> = Vec::with_capacity(self.tasks.len());
        let mut blockers = Vec::new();
        let mut kin = self.kin;
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for task in self.tasks.iter().filter(|task| task.living.is_some()) {
            children.entry(task.item.ppid).or_default().push(task.item.pid);
        }
        let _cpu = Pin::here();
        for (done, mut task) in self.tasks.into_iter().enumerate() {
            operator.check_cancelled(Phase::Infect)?;
            operator.progress(Phase::Infect, done as u64, total);
            let told = match task.living.take() {
                None => None,
                Some(living) => {
                    let wanted = if snapshots { wanted(&task, &living)? } else { Wanted::Nothing };
                    let model = kin.like(done).and_then(|(own, model)| Some((own, tasks.get(model)?.told.as_ref()?)));
                    let (pid, of) = (task.item.pid, children.get(&task.item.pid));
                    let is_told = wanted.is_nothing() && living.mm.bindable.is_empty();
                    let (living, told) = match model.filter(|_| is_told) {
                        Some((own, model)) => (living, told_by(&own, model)),
                        None => {
                            let _room = Room::make(pid, &living.limits, living.used(&self.files));
                            ask(pid, &task.dir, of.map_or(&[][..], Vec::as_slice), living, wanted)?
                        }
                    };
                    check_model(&mut kin, done, &told);
                    unsupported(task.item.pid, &told, &mut blockers);
                    task.living = Some(living);
                    Some(told)
                }
            };
            tasks.push(InformedTask { task, told, continued: false });
        }
        let continued: HashSet<i32> =
            tasks.iter().filter_map(|t| t.told.as_ref()).flat_map(|t| t.continued.iter().copied()).collect();
        for t in tasks.iter_mut().filter(|t| continued.contains(&t.task.item.pid)) {
            t.continued = true;
        }
        orphans(&tasks, &mut blockers);
        confined(&tasks, &mut blockers);
        if !blockers.is_empty() {
            return Err(Error::refused(Phase::Infect, blockers));
        }
        operator.progress(Phase::Infect, total, total);
        Ok(Informed { tasks, files: self.files, ipc: self.ipc, since: self.since, freezing: self.freezing })
    }
}

/// When the main thread of a restored process exits, its children get the signal that they asked for at their parent's death.
fn orphans(tasks: &[InformedTask], blockers: &mut Vec<Blocker>) {
    let is_dead = |pid: i32| {
        let parent = tasks.iter().find(|t| t.task.item.pid == pid);
        parent.and_then(|t| t.task.living.as_ref()).is_some_and(|l| l.dead_leader.is_some())
    };
    for t in tasks {
        let asks = t.told.as_ref().is_some_and(|t| t.threads.iter().any(|f| f.pdeath_signal != 0));
        if asks && is_dead(t.task.item.ppid) {
            let cause = "it asked for a signal at its parent's death, and the main thread of that has exited already";
            blockers.push(Blocker::new(
                t.task.item.pid,
                "parent death signal",
                format!("{cause}; this cannot be saved"),
            ));
        }
    }
}

/// Who is confined by Landlock without no_new_privs: with the right to do so they could look at this process otherwise.
fn confined(tasks: &[InformedTask], blockers: &mut Vec<Blocker>) {
    const CAP_SYS_ADMIN: u32 = 21;
    let told = tasks.iter().filter_map(|t| Some((t.task.item.pid, t.task.living.as_ref()?, t.told.as_ref()?)));
    let all = told.flat_map(|(pid, living, told)| {
        let threads = living.threads.iter().zip(&told.threads);
        let asked = threads.filter(|(thread, facts)| {
            let status = &thread.status;
            !facts.may_look_at_tracer && !status.no_new_privs && status.cap_eff >> CAP_SYS_ADMIN & 1 != 0
        });
        asked.map(move |(thread, _)| (pid, thread.tid))
    });
    complain_of_confined(&all.collect::<Vec<_>>(), blockers);
}

/// Is a snapshot to be taken?
fn wanted(task: &CollectedTask, living: &Living) -> Result<Wanted> {
    // The copy would have to be made by a thread that is no leader.
    if living.dead_leader.is_some() {
        return Ok(Wanted::Nothing);
    }
    let failed = |e| Error::os(Phase::Infect, "memory", "scanning the pagemap", e).pid(task.item.pid);
    Wanted::of(&task.dir, &living.mm.vmas).map_err(failed)
}

fn ask(pid: i32, dir: &ProcDir, children: &[i32], mut living: Living, wanted: Wanted) -> Result<(Living, Told)> {
    let failed = |e: criu_compel::Error| Error::new(Phase::Infect, "task", e.to_string()).pid(pid);
    let known = Known {
        vdso: living.mm.vmas.iter().find(|v| v.status & status::VDSO != 0).map(|v| (v.start, v.end)),
        unfiltered: living.threads.iter().position(|t| t.seccomp.mode == mode::NONE),
    };
    let outside = Outside {
        pid,
        dir,
        children,
        timers: &living.timers,
        vmas: &living.mm.vmas,
        bindable: &living.mm.bindable,
        known,
        locked: living.threads.first().map_or(0, |t| t.status.locked_kb),
        alike: living.alike.as_ref(),
    };
    let asked = Instant::now();
    let (mut told, seized, mlock_future) = infected(living.seized, &outside, wanted).map_err(failed)?;
    told.mlock_future = mlock_future.map_err(|e| {
        Error::os(Phase::Infect, "memory", "reading how its new mappings are locked (mlockall)", e).pid(pid)
    })?;
    (living.seized, living.alike) = (seized, None);
    timed::settle(pid, &mut living, &mut told.process, asked).map_err(failed)?;
    Ok((living, told))
}

/// What a task would say that is like one that was asked.
fn told_by(own: &kin::Own, model: &Told) -> Told {
    Told {
        process: own.process_facts(&model.process),
        continued: Vec::new(),
        threads: model.threads.iter().map(|m| own.thread.facts(m)).collect(),
        has_ldt: false,
        mlock_future: 0,
        policies: Vec::new(),
        runs: None,
        snapshot: None,
    }
}

/// Others are like a task only if its record tells what it has said, and it has said nothing else.
fn check_model(kin: &mut Kin, at: usize, told: &Told) {
    let is_plain = !told.has_ldt && told.mlock_future == 0;
    let is_as_told = |own: &kin::Own| is_plain && own.is_told_by(&told.process, &told.threads);
    if kin.own(at).is_some_and(|own| !is_as_told(&own)) {
        kin.part(at);
    }
}

/// What is known of a task before it is infected.
struct Outside<'a> {
    pid: i32,
    dir: &'a ProcDir,
    children: &'a [i32],
    timers: &'a [PosixTimer],
    vmas: &'a [VmaEntry],
    bindable: &'a [(u64, u64)],
    known: Known,
    /// Locked memory in KiB.
    locked: u64,
    alike: Option<&'a Alike>,
}

fn infected(
    seized: SeizedTask,
    outside: &Outside<'_>,
    wanted: Wanted,
) -> criu_compel::Result<(Told, SeizedTask, io::Result<u32>)> {
    let &Outside { pid, dir, children, timers, vmas, bindable, known, locked, alike } = outside;
    let ids: Vec<i32> = timers.iter().map(|t| t.id as i32).collect();
    let mut infected = seized.infect_knowing(known)?;
    let process = infected.query_process(&ids)?;
    let continued = match process.continued_child {
        Some(_) => infected.query_continued(children)?,
        None => Vec::new(),
    };
    let threads = ask_threads(&mut infected, alike)?;
    let (has_ldt, may_lock) = has_ldt_and_may_lock(&mut infected)?;
    let mut policies = mem::policy::ask(&mut infected, bindable)?;
    if let Err(e) = mem::policy::find_home_nodes(dir.id(), &mut policies) {
        log::warn!("pid {pid}: home nodes of its areas (set_mempolicy_home_node) would be lost: {e}");
    }
    // The parasite's area is a new mapping like any other.
    let mlock_future = if may_lock { mlock_future(dir, infected.scratch().0, locked) } else { Ok(0) };
    let snapshot = snapshot::take(&mut infected, pid, vmas, &wanted)?;
    let runs = match wanted {
        Wanted::CopyOf(runs) => Some(runs),
        Wanted::Nothing | Wanted::Copy => None,
    };
    // The copy, if there is one, is ended when the task runs again.
    let told = Told { process, continued, threads, has_ldt, mlock_future: 0, policies, runs, snapshot };
    Ok((told, infected.cure()?, mlock_future))
}

/// The facts of all threads; those that are like another need not be disturbed.
fn ask_threads(infected: &mut Infected, alike: Option<&Alike>) -> criu_compel::Result<Vec<ThreadFacts>> {
    let Some(alike) = alike else { return infected.query_threads(&|_| true) };
    let models = infected.query_threads(&|at| alike.is_model(at))?;
    let by_tid: HashMap<i32, &ThreadFacts> = models.iter().map(|m| (m.tid, m)).collect();
    let mut facts = Vec::with_capacity(alike.threads.len());
    for (own, model) in alike.threads.iter().zip(&alike.models) {
        let told = by_tid.get(&alike.threads[*model].tid).map(|m| (own.facts(m), m));
        match told {
            // What the record tells of the model itself is what that has said.
            Some((told, model)) if told.tid != model.tid || told == **model => facts.push(told),
            _ => return infected.query_threads(&|_| true),
        }
    }
    Ok(facts)
}

/// How a new mapping, the one at `address`, was locked: MCL_*, or 0. `before` it was there, so many KiB were locked. The way of
/// locking stands in smaps alone, which tells of all areas.
///
/// # Errors
/// Those of reading status and smaps; ENOENT: the mapping is not in it.
fn mlock_future(dir: &ProcDir, address: u64, before: u64) -> io::Result<u32> {
    if dir.status()?.locked_kb <= before { Ok(0) } else { how_locked(&areas(dir)?, address) }
}

fn how_locked(areas: &[Area], address: u64) -> io::Result<u32> {
    let area = areas.iter().find(|a| (a.start..a.end).contains(&address));
    let area = area.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
    Ok((if area.has(b"lf") { libc::MCL_FUTURE | libc::MCL_ONFAULT } else { libc::MCL_FUTURE }) as u32)
}

/// Does the process have a local descriptor table, and can its new mappings be locked?
fn has_ldt_and_may_lock(infected: &mut Infected) -> criu_compel::Result<(bool, bool)> {
    const READ: u64 = 0;
    const ENTRY_BYTES: u64 = 8;
    const PAGE_BYTES: u64 = 4096;
    let (scratch, _) = infected.scratch();
    let call = |nr: i64, [a, b, c]: [u64; 3]| Call { nr: nr as u64, args: [a, b, c, 0, 0, 0], ret: 0 };
    let cold = [scratch & !(PAGE_BYTES - 1), PAGE_BYTES, libc::MADV_COLD as u64];
    let mut calls = [call(libc::SYS_modify_ldt, [READ, scratch, ENTRY_BYTES]), call(libc::SYS_madvise, cold)];
    infected.syscalls(&mut calls)?;
    // The answer of the first is the number of bytes read; a kernel without such tables has an error. The second, which changes
    // nothing but the page's age, is refused for locked memory, and by kernels that do not know it (before 5.4).
    Ok((calls[0].ret > 0, calls[1].ret != 0))
}

/// What an image has no place for.
fn unsupported(pid: i32, told: &Told, blockers: &mut Vec<Blocker>) {
    if told.has_ldt {
        let cause = "it has a local descriptor table (modify_ldt); this cannot be saved";
        blockers.push(Blocker::new(pid, "memory", cause));
    }
    if told.process.has_keyring {
        let cause = "it has a keyring of its own (KEY_SPEC_PROCESS_KEYRING); its keys cannot be saved";
        blockers.push(Blocker::new(pid, "credentials", cause));
    }
    if let Some(cause) = told.process.permitted_xstate.and_then(regs::unsupported) {
        blockers.push(Blocker::new(pid, "registers", cause));
    }
    for t in &told.threads {
        if t.has_keyring {
            let cause = "it has a keyring of its own (KEY_SPEC_THREAD_KEYRING); its keys cannot be saved";
            blockers.push(Blocker::new(pid, format!("thread {}", t.tid), cause));
        }
        if t.io_flusher == Some(true) {
            let cause = "it is an I/O flusher (PR_SET_IO_FLUSHER); this cannot be saved";
            blockers.push(Blocker::new(pid, format!("thread {}", t.tid), cause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_new_mapping_is_locked() {
        let area = |start, flags: &[&[u8; 2]]| Area {
            start,
            end: start + 0x1000,
            flags: flags.iter().map(|f| **f).collect(),
            ..Area::default()
        };
        let areas = [area(0x1000, &[b"lo"]), area(0x2000, &[b"lo", b"lf"])];
        assert_eq!(how_locked(&areas, 0x1800).unwrap(), libc::MCL_FUTURE as u32);
        assert_eq!(how_locked(&areas, 0x2000).unwrap(), (libc::MCL_FUTURE | libc::MCL_ONFAULT) as u32);
        // Not found is not "without MCL_ONFAULT".
        assert_eq!(how_locked(&areas, 0x3000).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert!(how_locked(&[], 0x1000).is_err());
    }
}
