//! Load: reads the images of a checkpoint and checks that they are one: every number is an allegation until then.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use criu_images::messages::{
    CoreEntry, FsEntry, InventoryEntry, MmEntry, PstreeEntry, SeccompEntry, TaskCoreEntry, TaskKobjIdsEntry, core_entry,
};
use criu_images::{ImageDir, ImageError, Kind};

use super::checkpoint::{Alive, Body, Checkpoint, PID_LIMIT, Task, Thread};
use super::legacy;
use crate::error::{Error, Phase, Result};
use crate::mem::pages::restore::PageSet;
use crate::mem::vma::restore::Layout;
use crate::parallel;
use crate::task::regs;
use crate::task::signals;

const STATE_ALIVE: u32 = 1;
const STATE_DEAD: u32 = 2;
const STATE_STOPPED: u32 = 3;
const STATE_ZOMBIE: u32 = 6;

/// An image that cannot be read, as an error of this phase.
pub(crate) fn image(e: ImageError) -> Error {
    Error::image(Phase::Load, e)
}

pub(super) fn corrupt(file: String, cause: impl Into<String>) -> Error {
    Error::new(Phase::Load, file, cause)
}

impl Checkpoint {
    /// Reads everything but page contents.
    ///
    /// # Errors
    /// No inventory (not a complete checkpoint), or an image that is missing, broken or contradicts another.
    pub fn load(images: &Arc<ImageDir>) -> Result<Checkpoint> {
        let inventory = inventory(images)?;
        let entries: Vec<PstreeEntry> = images.read_all(Kind::Pstree, 0).map_err(image)?;
        let loaded = load_tasks(images, &entries)?;
        let mut tasks: Vec<Task> = Vec::with_capacity(entries.len());
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut tids = HashSet::new();
        for (e, (core, body)) in entries.iter().zip(loaded) {
            let bad = |why: String| Err(corrupt(Kind::Pstree.file_name(0), why));
            let parent = match (e.ppid, tasks.len()) {
                (0, 0) => None,
                (0, _) => return bad(format!("pid {} is a second root", e.pid)),
                (ppid, _) => match places.get(&ppid) {
                    Some(&p) => Some(p),
                    None => return bad(format!("the parent {ppid} of pid {} does not come before it", e.pid)),
                },
            };
            let (pid, pgid, sid) = (e.pid as i32, e.pgid as i32, e.sid as i32);
            let task = Task { pid, pgid, sid, parent, children: Vec::new(), core, body };
            let place = tasks.len();
            let threads = task.alive().map_or(vec![task.pid], |a| a.threads.iter().map(|t| t.tid).collect());
            if let Some(twice) = threads.into_iter().find(|t| !tids.insert(*t)) {
                return bad(format!("task {twice} is there twice"));
            }
            if let Some(p) = parent {
                if tasks[p].alive().is_none() {
                    return bad(format!("the parent {} of pid {} is dead", e.ppid, e.pid));
                }
                tasks[p].children.push(place);
            }
            places.insert(e.pid, place);
            tasks.push(task);
        }
        match tasks.first().map(|t| &t.body) {
            None => return Err(corrupt(Kind::Pstree.file_name(0), "the tree has no task")),
            Some(Body::Dead { .. }) => return Err(corrupt(Kind::Pstree.file_name(0), "the root task is dead")),
            Some(Body::Alive(_)) => {}
        }
        let seccomp: Vec<SeccompEntry> = images.read_all(Kind::Seccomp, 0).map_err(image)?;
        let filters = seccomp.into_iter().flat_map(|s| s.seccomp_filters).collect();
        Ok(Checkpoint { inventory, tasks, filters })
    }
}

fn inventory(images: &Arc<ImageDir>) -> Result<InventoryEntry> {
    let name = Kind::Inventory.file_name(0);
    let Some(mut reader) = images.open(Kind::Inventory, 0).map_err(image)? else {
        return Err(corrupt(name, "missing: this is no complete checkpoint")
            .hint("name the directory of a dump that succeeded"));
    };
    let entry: Option<InventoryEntry> = reader.entry().map_err(image)?;
    let entry = entry.ok_or_else(|| corrupt(name.clone(), "empty: this is no complete checkpoint"))?;
    if let Some(plugin) = entry.plugins_entry.as_ref().and_then(|p| p.plugins.first()) {
        let cause = format!("the plugin {plugin} has saved a part of the tree, and there are no plugins here");
        return Err(corrupt(name, cause).hint("restore it by the engine that dumped it"));
    }
    match entry.img_version {
        1 | 2 => Ok(entry),
        v => Err(corrupt(name, format!("images of version {v}; 1 and 2 are known"))),
    }
}

/// Reads what there is about each of the tasks; images are read by two threads when there are many.
fn load_tasks(images: &Arc<ImageDir>, entries: &[PstreeEntry]) -> Result<Vec<(TaskCoreEntry, Body)>> {
    let bad = |why: String| Err(corrupt(Kind::Pstree.file_name(0), why));
    for e in entries {
        if e.pid == 0 || e.pid > PID_LIMIT || e.pgid > PID_LIMIT || e.sid > PID_LIMIT {
            return bad(format!("pid {}, group {}, session {}: no such numbers exist", e.pid, e.pgid, e.sid));
        }
    }
    let others = |e: &PstreeEntry| e.threads.iter().copied().filter(|&t| t != e.pid).collect::<Vec<_>>();
    let leaders = parallel::map(entries, |e| core(images, e.pid));
    let leaders = leaders.into_iter().collect::<Result<Vec<_>>>()?;
    let is_living = |core: &Option<TaskCoreEntry>| {
        core.as_ref().is_some_and(|c| matches!(c.task_state, STATE_ALIVE | STATE_STOPPED))
    };
    let (living, tids): (Vec<&PstreeEntry>, Vec<Vec<u32>>) =
        entries.iter().zip(&leaders).filter(|(_, (core, _))| is_living(core)).map(|(e, _)| (e, others(e))).unzip();
    if let Some(tid) = tids.iter().flatten().find(|&&tid| tid == 0 || tid > PID_LIMIT) {
        return bad(format!("thread {tid}: no such number exists"));
    }
    let mut threads = parallel::map(&tids.concat(), |tid| other_thread(images, *tid)).into_iter();
    let known = Mutex::new(None);
    let mut memories = parallel::map(&living, |e| memory(images, e, &known)).into_iter();
    let mut tids = tids.iter().map(Vec::len);
    let task = |(e, (core, leader)): (&PstreeEntry, (Option<TaskCoreEntry>, Option<Thread>))| {
        let of_leader = || Kind::Core.file_name(e.pid.into());
        let mut core = core.ok_or_else(|| corrupt(of_leader(), "the leader's image has no part about the task"))?;
        let body = match core.task_state {
            STATE_DEAD | STATE_ZOMBIE => Body::Dead { status: core.exit_code as i32 },
            STATE_ALIVE | STATE_STOPPED => {
                let leader = leader.ok_or_else(|| corrupt(of_leader(), "a living task without registers"))?;
                let others = threads.by_ref().take(tids.next().unwrap_or_default());
                let mut threads = std::iter::once(Ok(leader)).chain(others).collect::<Result<Vec<_>>>()?;
                legacy::complete_task(images, e.pid, &mut core)?;
                for thread in &mut threads {
                    legacy::complete_thread(images, e.pid, thread.tid as u32, &mut thread.core)?;
                }
                let mut queues = threads.iter().map(|t| t.core.signals_p.as_ref()).chain([core.signals_s.as_ref()]);
                let goes_on =
                    core.task_state == STATE_STOPPED && queues.any(|queue| signals::waits(libc::SIGCONT, queue));
                drop(queues);
                if goes_on {
                    (core.task_state, core.continued) = (STATE_ALIVE, Some(true));
                }
                let missing = || corrupt(Kind::Mm.file_name(e.pid.into()), "missing");
                Body::Alive(Box::new(alive(e, &core, threads, memories.next().ok_or_else(missing)??)?))
            }
            s => return Err(corrupt(of_leader(), format!("task state {s} is unknown"))),
        };
        Ok((core, body))
    };
    entries.iter().zip(leaders).map(task).collect()
}

fn other_thread(images: &Arc<ImageDir>, tid: u32) -> Result<Thread> {
    let (_, thread) = core(images, tid)?;
    thread.ok_or_else(|| corrupt(Kind::Core.file_name(tid.into()), "a thread without registers"))
}

/// What images other than the core images hold.
struct Memory {
    ids: TaskKobjIdsEntry,
    mm: Arc<MmEntry>,
    layout: Arc<Layout>,
    pages: PageSet,
    fs: FsEntry,
}

/// An image of an address space, and what was made of it.
type KnownLayout = (Vec<u8>, Arc<MmEntry>, Arc<Layout>);

/// Longer images are not kept for comparison.
const KEPT_BYTES: usize = 64 << 10;

fn layout(images: &ImageDir, id: u64, known: &Mutex<Option<KnownLayout>>) -> Result<(Arc<MmEntry>, Arc<Layout>)> {
    let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let is_known = |bytes: &[u8]| {
        let known = lock();
        let (_, mm, layout) = known.as_ref().filter(|k| k.0 == bytes)?;
        Some(Ok((Arc::clone(mm), Arc::clone(layout))))
    };
    let make = |mut mm: MmEntry, bytes: Vec<u8>| {
        let is_whole = !mm.vmas.is_empty();
        legacy::complete_memory(images, id, &mut mm)?;
        let layout = Layout::new(&mm).map_err(|cause| corrupt(Kind::Mm.file_name(id), cause))?;
        // The layout says it all; every task inherits what is kept here.
        mm.vmas = Vec::new();
        let (mm, layout) = (Arc::new(mm), Arc::new(layout));
        if is_whole && bytes.len() <= KEPT_BYTES {
            *lock() = Some((bytes, Arc::clone(&mm), Arc::clone(&layout)));
        }
        Ok((mm, layout))
    };
    images.read_one_unless(Kind::Mm, id, is_known, make).map_err(image)?
}

fn memory(images: &Arc<ImageDir>, e: &PstreeEntry, known: &Mutex<Option<KnownLayout>>) -> Result<Memory> {
    let id = u64::from(e.pid);
    let ids: TaskKobjIdsEntry = images.read_one(Kind::Ids, id).map_err(image)?;
    let (mm, layout) = layout(images, id, known)?;
    let pages = PageSet::load(images, Kind::Pagemap, id, &layout)?;
    let fs: FsEntry = images.read_one(Kind::Fs, id).map_err(image)?;
    Ok(Memory { ids, mm, layout, pages, fs })
}

fn alive(e: &PstreeEntry, tc: &TaskCoreEntry, threads: Vec<Thread>, memory: Memory) -> Result<Alive> {
    let Memory { ids, mm, layout, pages, fs } = memory;
    let mut stopped = (tc.task_state == STATE_STOPPED).then(|| tc.stop_signo.unwrap_or(libc::SIGSTOP as u32) as i32);
    let is_told_to_stop = |queue| signals::waits(libc::SIGSTOP, queue);
    if is_told_to_stop(tc.signals_s.as_ref()) || threads.iter().any(|t| is_told_to_stop(t.core.signals_p.as_ref())) {
        stopped = stopped.or(Some(libc::SIGSTOP));
    }
    let leader_exit = tc.leader_exit_code.map(|status| status as i32);
    if leader_exit.is_some_and(|status| status & !0xff00 != 0) || leader_exit.is_some() && threads.len() < 2 {
        let cause = format!("a main thread cannot have exited with the status {leader_exit:x?}");
        return Err(corrupt(Kind::Core.file_name(e.pid.into()), cause));
    }
    Ok(Alive { stopped, ids, threads, leader_exit, mm, layout, pages, fs })
}

/// One core image: the task's part, in a leader's, and the thread's, unless it is a dead task's.
fn core(images: &Arc<ImageDir>, tid: u32) -> Result<(Option<TaskCoreEntry>, Option<Thread>)> {
    let entry: CoreEntry = images.read_one(Kind::Core, tid.into()).map_err(image)?;
    if entry.mtype != core_entry::March::X8664 as i32 {
        let name = core_entry::March::try_from(entry.mtype).map_or("unknown", |m| m.as_str_name());
        return Err(corrupt(
            Kind::Core.file_name(tid.into()),
            format!("the task ran on another architecture ({name}); this machine is X86_64"),
        ));
    }
    let thread = match (entry.thread_info, entry.thread_core) {
        (Some(mut info), Some(core)) => {
            regs::restore::slim(&mut info);
            Some(Thread { tid: tid as i32, info, core })
        }
        _ => None,
    };
    Ok((entry.tc, thread))
}
