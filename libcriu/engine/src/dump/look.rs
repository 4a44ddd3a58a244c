//! What can be seen of a stopped task without ptrace. It takes the kernel a while to say, and no task's answer depends on
//! another's: two threads look at many.

use std::io;

use criu_images::messages::TaskRlimitsEntry;

use super::alike::Alike;
use super::freeze::FrozenTask;
use super::kin::{self, Kin};
use crate::error::{Blocker, Error, Phase, Result};
use crate::mem::mm;
use crate::namespace::Namespaces;
use crate::parallel;
use crate::proc::{Names, PosixTimer, ProcDir, Status, posix_timers};
use crate::sys::kcmp::{Kobj, kcmp};
use crate::task::identity::{self, Identity};
use crate::task::limits;
use crate::task::sched::{self, Sched};

/// A process and its threads.
#[derive(Debug)]
pub(super) struct TaskLook {
    pub process: Result<ProcessLook>,
    /// In the order of the seized threads.
    pub threads: Vec<Result<ThreadLook>>,
    /// Threads that were not looked at themselves.
    pub alike: Option<Alike>,
}

#[derive(Debug)]
pub(super) struct ProcessLook {
    pub mm: mm::Seen,
    pub identity: Identity,
    pub limits: TaskRlimitsEntry,
    pub timers: Vec<PosixTimer>,
    pub blockers: Vec<Blocker>,
}

#[derive(Clone, Debug)]
pub(super) struct ThreadLook {
    pub status: Status,
    pub sched: Sched,
    /// `None` for the first thread, whose is the process's.
    pub personality: Option<u32>,
    /// `None` in a kernel without cgroups.
    pub cgroups: Option<Vec<u8>>,
    pub blockers: Vec<Blocker>,
}

/// Who is looked at.
struct At<'a> {
    pid: i32,
    dir: &'a ProcDir,
    /// By which the process can be looked at.
    first: i32,
    resident_pages: u64,
    /// `None`: the process as such.
    tid: Option<i32>,
}

impl At<'_> {
    fn of(task: &FrozenTask, tid: Option<i32>) -> At<'_> {
        let first = task.seized.as_ref().and_then(|s| s.threads().first()).map_or(task.pid, |t| t.tid);
        At { pid: task.pid, dir: &task.dir, first, resident_pages: task.stat.resident_pages, tid }
    }
}

enum Look {
    Process(Result<ProcessLook>),
    Thread(Result<ThreadLook>),
}

/// Looks at all of them, those that others are like before these; zombies show nothing.
pub(super) fn at_all(tasks: &mut [FrozenTask], kin: &mut Kin, namespaces: &Namespaces) -> Vec<Option<TaskLook>> {
    let alike: Vec<Option<Alike>> = tasks.iter_mut().map(|t| t.alike.take()).collect();
    let mut looks = at_models(tasks, alike, kin, namespaces);
    let names = Names::default();
    for at in kin.models() {
        let is_as_told = match (kin.own(at), &looks[at]) {
            (Some(own), Some(look)) => is_as_told(&tasks[at], look, &own, &names),
            _ => false,
        };
        if !is_as_told {
            kin.part(at);
        }
    }
    let rest: Vec<_> = (0..tasks.len())
        .filter(|&at| looks[at].is_none() && tasks[at].seized.is_some())
        .map(|at| {
            let model = kin.like(at).and_then(|(own, model)| Some((own, looks.get(model)?.as_ref()?)));
            (at, At::of(&tasks[at], None), model)
        })
        .collect();
    let found = parallel::map(&rest, |(at, task, model)| {
        let like = model.and_then(|(own, model)| like(own, model, task, &names));
        (*at, like.unwrap_or_else(|| at_one(task, namespaces)))
    });
    for (at, look) in found {
        looks[at] = Some(look);
    }
    looks
}

/// Looks at those that are like no other.
fn at_models(
    tasks: &[FrozenTask],
    alike: Vec<Option<Alike>>,
    kin: &Kin,
    namespaces: &Namespaces,
) -> Vec<Option<TaskLook>> {
    let is_looked_at = |at: usize| tasks[at].seized.is_some() && kin.like(at).is_none();
    let mut places = Vec::new();
    for (at, (task, alike)) in tasks.iter().zip(&alike).enumerate() {
        let Some(seized) = task.seized.as_ref().filter(|_| is_looked_at(at)) else { continue };
        places.push(At::of(task, None));
        let threads = seized.threads().iter().enumerate();
        let looked_at = threads.filter(|(at, _)| alike.as_ref().is_none_or(|a| a.is_model(*at)));
        places.extend(looked_at.map(|(_, t)| At::of(task, Some(t.tid))));
    }
    let looks = parallel::map(&places, |at| match at.tid {
        None => Look::Process(process(at, namespaces)),
        Some(tid) => Look::Thread(thread(at, tid, namespaces)),
    });
    let mut found: Vec<TaskLook> = Vec::new();
    for look in looks {
        match look {
            Look::Process(process) => found.push(TaskLook { process, threads: Vec::new(), alike: None }),
            Look::Thread(thread) => found.last_mut().expect("a process stands before its threads").threads.push(thread),
        }
    }
    let mut found = found.into_iter();
    let looks = tasks.iter().zip(alike).enumerate().map(|(at, (task, alike))| {
        let look = Some(at).filter(|at| is_looked_at(*at)).and_then(|_| found.next())?;
        Some(match alike {
            None => look,
            Some(alike) => with_others(task, look, alike, namespaces),
        })
    });
    looks.collect()
}

/// A process with a single thread.
fn at_one(at: &At<'_>, namespaces: &Namespaces) -> TaskLook {
    TaskLook { process: process(at, namespaces), threads: vec![thread(at, at.first, namespaces)], alike: None }
}

/// Was there nothing special about a process, and do its record and those of its areas tell what was seen?
fn is_as_told(task: &FrozenTask, look: &TaskLook, own: &kin::Own, names: &Names) -> bool {
    let (Ok(process), [Ok(thread)]) = (&look.process, &look.threads[..]) else { return false };
    let is_plain = process.blockers.is_empty() && process.timers.is_empty() && thread.blockers.is_empty();
    is_plain && own.status(&thread.status) == thread.status && process.mm.is_told(&task.dir, names)
}

/// A process that is like one that was looked at; `None` when it has to be looked at itself.
fn like(own: kin::Own, model: &TaskLook, at: &At<'_>, names: &Names) -> Option<TaskLook> {
    let (Ok(process), [Ok(thread)]) = (&model.process, &model.threads[..]) else { return None };
    let mm = mm::Seen::like(&process.mm, at.dir, at.first, at.resident_pages, names);
    let process = mm.map(|mm| ProcessLook {
        mm,
        identity: process.identity.clone(),
        limits: process.limits.clone(),
        timers: Vec::new(),
        blockers: Vec::new(),
    });
    let thread = ThreadLook { status: own.status(&thread.status), ..thread.clone() };
    Some(TaskLook { process, threads: vec![Ok(thread)], alike: None })
}

/// Adds the threads that are like one that was looked at, if there was nothing special about that one.
fn with_others(task: &FrozenTask, look: TaskLook, mut alike: Alike, namespaces: &Namespaces) -> TaskLook {
    let mut looked_at = look.threads.into_iter();
    let mut threads: Vec<Result<ThreadLook>> = Vec::with_capacity(alike.threads.len());
    // As they were when it was decided which are looked at.
    for (at, model) in alike.models.clone().into_iter().enumerate() {
        let own = alike.threads[at];
        let seen = if model == at {
            looked_at.next()
        } else if alike.is_model(at) {
            None
        } else {
            let like = |m: &ThreadLook| Ok(ThreadLook { status: own.status(&m.status), ..m.clone() });
            threads.get(model).and_then(|m| m.as_ref().ok()).map(like)
        };
        let seen = seen.unwrap_or_else(|| thread(&At::of(task, Some(own.tid)), own.tid, namespaces));
        let is_plain = |m: &ThreadLook| m.blockers.is_empty() && own.status(&m.status) == m.status;
        if model == at && !seen.as_ref().is_ok_and(is_plain) {
            alike.part(at);
        }
        threads.push(seen);
    }
    TaskLook { process: look.process, threads, alike: Some(alike) }
}

fn process(at: &At<'_>, namespaces: &Namespaces) -> Result<ProcessLook> {
    let failed = |call: &'static str| move |e: io::Error| Error::os(Phase::Collect, "task", call, e).pid(at.pid);
    let mut blockers = Vec::new();
    namespaces.check_process(at.dir, at.pid, &mut blockers).map_err(failed("reading /proc/PID/ns"))?;
    Ok(ProcessLook {
        mm: mm::Seen::of(at.dir, at.first, at.resident_pages)?,
        identity: identity::read(at.dir).map_err(failed("reading /proc/PID"))?,
        limits: limits::entry(at.dir).map_err(failed("reading /proc/PID/limits"))?,
        timers: posix_timers(at.dir).map_err(failed("reading /proc/PID/timers"))?,
        blockers,
    })
}

fn thread(at: &At<'_>, tid: i32, namespaces: &Namespaces) -> Result<ThreadLook> {
    let object = || format!("thread {tid}");
    let failed = |call: &'static str| move |e: io::Error| Error::os(Phase::Collect, object(), call, e).pid(at.pid);
    let mut blockers = Vec::new();
    let opened;
    let dir = if tid == at.dir.id() {
        at.dir
    } else {
        opened = at.dir.thread(tid).map_err(failed("opening /proc/PID/task"))?;
        &opened
    };
    let status = dir.status().map_err(failed("reading status"))?;
    if tid != at.first {
        namespaces.check_thread(dir, at.pid, &mut blockers).map_err(failed("reading ns"))?;
        for (kobj, what) in [(Kobj::Files, "table of descriptors"), (Kobj::Fs, "working directory")] {
            if kcmp(at.first, tid, kobj).map_err(failed("kcmp"))?.is_ne() {
                let cause = format!("it has a {what} of its own (unshare)");
                blockers.push(Blocker::new(at.pid, object(), cause));
            }
        }
    }
    let cgroups = match dir.read("cgroup") {
        Ok(own) => Some(own),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::os(Phase::Collect, "cgroup", "reading /proc", e).pid(at.pid)),
    };
    let sched = sched::read(tid).map_err(failed("sched_getattr"))?.unwrap_or_else(|cause| {
        blockers.push(Blocker::new(at.pid, object(), cause));
        Sched::default()
    });
    let personality = (tid != at.first).then(|| identity::personality(dir)).transpose();
    let personality = personality.map_err(failed("reading personality"))?;
    Ok(ThreadLook { status, sched, personality, cgroups, blockers })
}
