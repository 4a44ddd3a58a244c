//! Load: reads the images of a checkpoint and checks that they are one: every number is an allegation until then.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use criu_images::messages::{
    CoreEntry, FsEntry, InventoryEntry, MmEntry, PstreeEntry, SeccompEntry, TaskCoreEntry, TaskKobjIdsEntry, core_entry,
};
use criu_images::{ImageDir, ImageError, Kind};

use super::checkpoint::{Alive, Body, Checkpoint, PID_LIMIT, Task, Thread};
use crate::error::{Error, Phase, Result};
use crate::mem::pages::restore::PageSet;
use crate::mem::vma::restore::Layout;

const STATE_ALIVE: u32 = 1;
const STATE_DEAD: u32 = 2;
const STATE_STOPPED: u32 = 3;
const STATE_ZOMBIE: u32 = 6;

/// An image that cannot be read, as an error of this phase.
pub(crate) fn image(e: ImageError) -> Error {
    Error::image(Phase::Load, e)
}

fn corrupt(file: String, cause: impl Into<String>) -> Error {
    Error::new(Phase::Load, file, cause)
}

impl Checkpoint {
    /// Reads everything but page contents.
    ///
    /// # Errors
    /// No inventory (not a complete checkpoint), or an image that is missing, broken or contradicts another.
    pub fn load(images: &Rc<ImageDir>) -> Result<Checkpoint> {
        let inventory = inventory(images)?;
        let entries: Vec<PstreeEntry> = images.read_all(Kind::Pstree, 0).map_err(image)?;
        let mut tasks: Vec<Task> = Vec::with_capacity(entries.len());
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut tids = HashSet::new();
        for e in &entries {
            let bad = |why: String| Err(corrupt(Kind::Pstree.file_name(0), why));
            if e.pid == 0 || e.pid > PID_LIMIT || e.pgid > PID_LIMIT || e.sid > PID_LIMIT {
                return bad(format!("pid {}, group {}, session {}: no such numbers exist", e.pid, e.pgid, e.sid));
            }
            let parent = match (e.ppid, tasks.len()) {
                (0, 0) => None,
                (0, _) => return bad(format!("pid {} is a second root", e.pid)),
                (ppid, _) => match places.get(&ppid) {
                    Some(&p) => Some(p),
                    None => return bad(format!("the parent {ppid} of pid {} does not come before it", e.pid)),
                },
            };
            let task = task(images, e, parent)?;
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

fn inventory(images: &Rc<ImageDir>) -> Result<InventoryEntry> {
    let name = Kind::Inventory.file_name(0);
    let Some(mut reader) = images.open(Kind::Inventory, 0).map_err(image)? else {
        return Err(corrupt(name, "missing: this is no complete checkpoint")
            .hint("name the directory of a dump that succeeded"));
    };
    let entry: Option<InventoryEntry> = reader.entry().map_err(image)?;
    let entry = entry.ok_or_else(|| corrupt(name.clone(), "empty: this is no complete checkpoint"))?;
    match entry.img_version {
        1 | 2 => Ok(entry),
        v => Err(corrupt(name, format!("images of version {v}; 1 and 2 are known"))),
    }
}

fn task(images: &Rc<ImageDir>, e: &PstreeEntry, parent: Option<usize>) -> Result<Task> {
    let pid = e.pid as i32;
    let (core, leader) = core(images, e.pid)?;
    let Some(core_tc) = core else {
        return Err(corrupt(Kind::Core.file_name(e.pid.into()), "the leader's image has no part about the task"));
    };
    let body = match core_tc.task_state {
        STATE_DEAD | STATE_ZOMBIE => Body::Dead { status: core_tc.exit_code as i32 },
        STATE_ALIVE | STATE_STOPPED => {
            let leader =
                leader.ok_or_else(|| corrupt(Kind::Core.file_name(e.pid.into()), "a living task without registers"))?;
            Body::Alive(Box::new(alive(images, e, &core_tc, leader)?))
        }
        s => return Err(corrupt(Kind::Core.file_name(e.pid.into()), format!("task state {s} is unknown"))),
    };
    let (pgid, sid) = (e.pgid as i32, e.sid as i32);
    Ok(Task { pid, pgid, sid, parent, children: Vec::new(), core: core_tc, body })
}

fn alive(images: &Rc<ImageDir>, e: &PstreeEntry, tc: &TaskCoreEntry, leader: Thread) -> Result<Alive> {
    let id = u64::from(e.pid);
    let mut threads = vec![leader];
    for &tid in e.threads.iter().filter(|&&t| t != e.pid) {
        if tid == 0 || tid > PID_LIMIT {
            return Err(corrupt(Kind::Pstree.file_name(0), format!("thread {tid}: no such number exists")));
        }
        let (_, thread) = core(images, tid)?;
        threads.push(thread.ok_or_else(|| corrupt(Kind::Core.file_name(tid.into()), "a thread without registers"))?);
    }
    let ids: TaskKobjIdsEntry = images.read_one(Kind::Ids, id).map_err(image)?;
    let mut mm: MmEntry = images.read_one(Kind::Mm, id).map_err(image)?;
    let layout = Layout::new(&mm).map_err(|cause| corrupt(Kind::Mm.file_name(id), cause))?;
    // The layout says it all; every task inherits what is kept here.
    mm.vmas = Vec::new();
    let pages = PageSet::load(images, Kind::Pagemap, id, &layout)?;
    let fs: FsEntry = images.read_one(Kind::Fs, id).map_err(image)?;
    let stopped = (tc.task_state == STATE_STOPPED).then(|| tc.stop_signo.unwrap_or(libc::SIGSTOP as u32) as i32);
    let leader_exit = tc.leader_exit_code.map(|status| status as i32);
    if leader_exit.is_some_and(|status| status & !0xff00 != 0) || leader_exit.is_some() && threads.len() < 2 {
        let cause = format!("a main thread cannot have exited with the status {leader_exit:x?}");
        return Err(corrupt(Kind::Core.file_name(id), cause));
    }
    Ok(Alive { stopped, ids, threads, leader_exit, mm, layout, pages, fs })
}

/// One core image: the task's part, in a leader's, and the thread's, unless it is a dead task's.
fn core(images: &Rc<ImageDir>, tid: u32) -> Result<(Option<TaskCoreEntry>, Option<Thread>)> {
    let entry: CoreEntry = images.read_one(Kind::Core, tid.into()).map_err(image)?;
    if entry.mtype != core_entry::March::X8664 as i32 {
        let name = core_entry::March::try_from(entry.mtype).map_or("unknown", |m| m.as_str_name());
        return Err(corrupt(
            Kind::Core.file_name(tid.into()),
            format!("the task ran on another architecture ({name}); this machine is X86_64"),
        ));
    }
    let thread = match (entry.thread_info, entry.thread_core) {
        (Some(info), Some(core)) => Some(Thread { tid: tid as i32, info, core }),
        _ => None,
    };
    Ok((entry.tc, thread))
}
