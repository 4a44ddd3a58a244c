//! Collect: everything that can be learned from outside. Only reads; whatever cannot be saved becomes a blocker.

mod thread;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use criu_compel::SeizedTask;
use criu_images::messages::{SignalQueueEntry, TaskRlimitsEntry};

pub(super) use self::thread::CollectedThread;
use self::thread::is_as_told;
use super::ahead::resident_pages;
use super::alike::{Alike, Own};
use super::freeze::{Frozen, FrozenTask};
use super::kin::{self, Kin};
use super::look::{self, ProcessLook, TaskLook};
use super::snapshot::WORTHWHILE_PAGES;
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::{DumpFiles, DumpTask, FileId, Link};
use crate::ipc::DumpIpc;
use crate::mem::aio::dump::{self as aio, Contexts};
use crate::mem::mm;
use crate::options::Options;
use crate::proc::{PosixTimer, ProcDir, Status};
use crate::progress::Operator;
use crate::pstree::{FirstOf, Item, SharedIds, TaskIds, session_blockers};
use crate::task::abi;
use crate::task::creds::landlock;
use crate::task::identity::{Identity, autogroup_nice};
use crate::task::{limits, seccomp, signals, timers as posix};

/// What a living task has beside its place in the tree.
#[derive(Debug)]
pub(super) struct Living {
    pub seized: SeizedTask,
    pub ids: TaskIds,
    pub mm: mm::Collected,
    pub identity: Identity,
    /// Of the leader of a session.
    pub autogroup_nice: i32,
    pub limits: TaskRlimitsEntry,
    pub timers: Vec<PosixTimer>,
    pub pending: SignalQueueEntry,
    pub cwd: FileId,
    pub root: FileId,
    /// The living ones.
    pub threads: Vec<CollectedThread>,
    /// Which of them need not be asked.
    pub alike: Option<Alike>,
    /// The main thread, when it has exited while others go on.
    pub dead_leader: Option<DeadLeader>,
}

/// What is left of a main thread.
#[derive(Debug)]
pub(super) struct DeadLeader {
    pub status: Status,
    /// As waitpid gives it.
    pub exit_code: u32,
}

#[derive(Debug)]
pub(super) struct CollectedTask {
    pub item: Item,
    pub dir: ProcDir,
    pub comm: Vec<u8>,
    /// The kernel's PF_* flags.
    pub flags: u32,
    /// By which its parent is told of its end; 0 for none.
    pub exit_signal: i32,
    /// `None` for a zombie.
    pub living: Option<Living>,
}

#[derive(Debug)]
pub(super) struct Collected {
    pub tasks: Vec<CollectedTask>,
    /// Which of them need not be asked.
    pub kin: Kin,
    pub files: DumpFiles,
    pub ipc: DumpIpc,
    pub blockers: Vec<Blocker>,
    pub since: Instant,
    pub freezing: Duration,
}

impl Frozen {
    /// # Errors
    /// What kept it from looking. Obstacles to a dump are not errors here: they are all in `blockers`.
    pub fn collect(mut self, options: &Options, operator: &mut dyn Operator) -> Result<Collected> {
        let mut blockers = Vec::new();
        let io = |call: &'static str| move |e: io::Error| Error::os(Phase::Collect, "engine", call, e);
        let mut collector = Collector {
            mm: mm::Collector::new().map_err(io("memfd_create"))?,
            ids: SharedIds::default(),
            files: DumpFiles::new(options),
            ipc: DumpIpc::default(),
            contexts: HashMap::new(),
            cgroups: None,
            no_labels: false,
            blockers: &mut blockers,
        };
        let total = self.tasks.len() as u64;
        let mut tasks = Vec::with_capacity(self.tasks.len());
        operator.check_cancelled(Phase::Collect)?;
        operator.progress(Phase::Collect, 0, total);
        let namespaces = self.namespaces.map_err(io("reading /proc/self/ns"))?;
        let mut kin = Kin::of(&self.tasks);
        let objects = kin.objects(&self.tasks);
        let looks = look::at_all(&mut self.tasks, &mut kin, &namespaces);
        // Whatever completes may be seen in any task: before the next look at any.
        collector.contexts = contexts(&self.tasks, &looks)?;
        for (done, (task, look)) in self.tasks.into_iter().zip(looks).enumerate() {
            operator.check_cancelled(Phase::Collect)?;
            operator.progress(Phase::Collect, done as u64, total);
            let (complaints, model) = (collector.blockers.len(), Model::of(&kin, done, &tasks));
            let (is_like, task) = (model.is_some(), collector.task(task, look, model, objects[done])?);
            let is_plain = |own| collector.blockers.len() == complaints && task.is_as_told(&own);
            if !is_like && kin.own(done).is_some_and(|own| !is_plain(own)) {
                kin.part(done);
            }
            tasks.push(task);
        }
        let (mut files, mut ipc) = (collector.files, collector.ipc);
        files.resolve(operator, &mut blockers)?;
        let mut mapped = HashMap::new();
        for (pid, living) in tasks.iter_mut().filter_map(|t| Some((t.item.pid, t.living.as_mut()?))) {
            living.mm.resolve_sockets(pid, |inode| files.mappable_socket(inode), &mut blockers);
            let files_id = living.ids.files;
            let id_of = |inode| files.mappable_uring(inode, files_id);
            for id in living.mm.resolve_urings(pid, id_of, &mut blockers) {
                *mapped.entry(id).or_insert(0) += 1;
            }
        }
        files.find_strangers(&mapped, &mut blockers);
        let living = tasks.iter().filter(|t| t.living.is_some()).map(|t| (t.item.pid, t.item.threads.len())).collect();
        ipc.resolve(&tasks.iter().map(|t| t.item.pid).collect(), &living, &mut blockers)?;
        let items: Vec<Item> = tasks.iter().map(|t: &CollectedTask| t.item.clone()).collect();
        sharing_blockers(&tasks, &mut blockers);
        confined_blockers(&tasks, &mut blockers);
        let exists = |pid: i32| std::fs::metadata(format!("/proc/{pid}")).is_ok();
        session_blockers(&items, options.msg.shell_job(), exists, &mut blockers);
        operator.progress(Phase::Collect, total, total);
        Ok(Collected { tasks, kin, files, ipc, blockers, since: self.since, freezing: self.freezing })
    }
}

impl Collected {
    /// Is a thread under seccomp?
    fn is_confined(&self) -> bool {
        let mut threads = self.tasks.iter().filter_map(|t| t.living.as_ref()).flat_map(|l| &l.threads);
        threads.any(|t| t.seccomp.mode != seccomp::mode::NONE)
    }

    /// Must some steps of the dump not be left halfway, not even by a killed engine?
    pub fn is_delicate(&self) -> bool {
        let is_tight = |l: &Living| limits::are_tight(&l.limits, l.used(&self.files));
        self.is_confined()
            || self.files.are_delicate()
            || self.tasks.iter().filter_map(|t| t.living.as_ref()).any(is_tight)
    }

    /// Is any task so large that a snapshot of it may pay?
    pub fn is_large(&self) -> bool {
        self.tasks.iter().any(|t| resident_pages(&t.dir) >= WORTHWHILE_PAGES)
    }
}

/// What is known of a task before its memory and files are looked at.
struct Looked<'a> {
    look: TaskLook,
    ids: (TaskIds, FirstOf),
    model: Option<Model<'a>>,
}

/// Another task that one is like, what the records tell of both, and the table if both have the same.
struct Model<'a> {
    own: kin::Own,
    models: kin::Own,
    living: &'a Living,
    table: Option<Vec<(u32, u64, bool)>>,
}

impl<'a> Model<'a> {
    /// Of the task `at`.
    fn of(kin: &Kin, at: usize, tasks: &'a [CollectedTask]) -> Option<Model<'a>> {
        let (own, model) = kin.like(at)?;
        let living = tasks.get(model)?.living.as_ref()?;
        Some(Model { own, models: kin.own(model)?, living, table: kin.shared_table(at) })
    }

    fn exe(&self) -> Option<FileId> {
        (self.own.exe == self.models.exe).then(|| self.living.mm.exe())
    }

    fn cwd(&self) -> Option<FileId> {
        (self.own.cwd == self.models.cwd).then_some(self.living.cwd)
    }

    fn root(&self) -> Option<FileId> {
        (self.own.root == self.models.root).then_some(self.living.root)
    }
}

impl Living {
    /// What it has of what limits hold.
    pub fn used(&self, files: &DumpFiles) -> limits::Used {
        let locked_kb = self.threads.first().map_or(0, |t| t.status.locked_kb);
        limits::Used { descriptors: files.count(self.ids.files), locked_bytes: locked_kb << 10 }
    }
}

impl CollectedTask {
    /// Does its record tell what it was seen to be?
    fn is_as_told(&self, own: &kin::Own) -> bool {
        let Some(living) = &self.living else { return false };
        let has_pending = living.pending != SignalQueueEntry::default();
        matches!(&living.threads[..], [thread] if is_as_told(thread, &own.thread)) && has_pending == own.has_pending
    }
}

/// Who is confined by Landlock.
fn confined_blockers(tasks: &[CollectedTask], blockers: &mut Vec<Blocker>) {
    let living = tasks.iter().filter_map(|t| Some((t.item.pid, t.living.as_ref()?)));
    let all = living.flat_map(|(pid, l)| {
        // Threads that are alike have the same credentials.
        let is_model = |at: usize| l.alike.as_ref().is_none_or(|a| a.models.get(at).is_none_or(|model| *model == at));
        let asked = l.threads.iter().enumerate().filter(move |(at, t)| t.status.no_new_privs && is_model(*at));
        asked.map(move |(_, t)| (pid, t.tid))
    });
    let all: Vec<(i32, i32)> = all.collect();
    complain_of_confined(&all, blockers);
}

/// Which of these threads, each with its process, are confined by Landlock.
pub(super) fn complain_of_confined(all: &[(i32, i32)], blockers: &mut Vec<Blocker>) {
    let tids: Vec<i32> = all.iter().map(|(_, tid)| *tid).collect();
    match landlock::confined(&tids) {
        Ok(confined) => {
            for (pid, tid) in all.iter().filter(|(_, tid)| confined.contains(tid)) {
                let cause = "it is confined by Landlock (landlock_restrict_self); this cannot be saved";
                blockers.push(Blocker::new(*pid, format!("thread {tid}"), cause));
            }
        }
        Err(e) => log::debug!("whether tasks are confined by Landlock cannot be found out: {e}"),
    }
}

/// A child can be started with its parent's descriptors or directories; others cannot be made to share them.
fn sharing_blockers(tasks: &[CollectedTask], blockers: &mut Vec<Blocker>) {
    let ids = |pid: i32| tasks.iter().find(|t| t.item.pid == pid).and_then(|t| t.living.as_ref()).map(|l| l.ids);
    let mut seen = (HashSet::new(), HashSet::new());
    for t in tasks {
        let Some(living) = &t.living else { continue };
        let (own, parents) = (living.ids, ids(t.item.ppid));
        let mut check = |is_new: bool, parents: Option<u32>, own: u32, object: &str, how: &str| {
            if !is_new && parents != Some(own) {
                let cause = format!("it is shared with another process ({how}), but not with its parent");
                blockers.push(Blocker::new(t.item.pid, object, cause));
            }
        };
        check(seen.0.insert(own.files), parents.map(|p| p.files), own.files, "table of descriptors", "CLONE_FILES");
        let object = "root, working directory and umask";
        check(seen.1.insert(own.fs), parents.map(|p| p.fs), own.fs, object, "CLONE_FS");
    }
}

struct Collector<'a> {
    mm: mm::Collector,
    ids: SharedIds,
    files: DumpFiles,
    ipc: DumpIpc,
    /// Contexts of asynchronous I/O of the tasks that have any.
    contexts: HashMap<i32, Contexts>,
    /// Those of the root, with which all others are compared.
    cgroups: Option<Vec<u8>>,
    /// There is no security module that gives labels to tasks.
    no_labels: bool,
    blockers: &'a mut Vec<Blocker>,
}

impl Collector<'_> {
    /// `model`: another that it is like. `objects`: where those are that tasks may share.
    fn task(
        &mut self,
        task: FrozenTask,
        look: Option<TaskLook>,
        model: Option<Model<'_>>,
        objects: Option<[u64; 4]>,
    ) -> Result<CollectedTask> {
        let FrozenTask { pid, dir, stat, state, seized, .. } = task;
        let mut item = Item { pid, ppid: stat.ppid, pgid: stat.pgid, sid: stat.sid, threads: vec![pid], state };
        let living = match (seized, look) {
            (None, _) => None,
            (Some(seized), look) => {
                let look = look.filter(|l| l.threads.len() == seized.threads().len());
                let unseen = || Error::new(Phase::Collect, "task", "not all of its threads were looked at").pid(pid);
                let look = look.ok_or_else(unseen)?;
                item.threads.extend(seized.threads().iter().map(|t| t.tid).filter(|t| *t != pid));
                let alive = seized.threads().first().map_or(pid, |t| t.tid);
                let failed = |e| Error::os(Phase::Collect, "task", "kcmp", e).pid(pid);
                let ids = match objects {
                    Some(objects) => self.ids.at(objects),
                    None => self.ids.of(alive).map_err(failed)?,
                };
                self.living(pid, &dir, &stat, seized, Looked { look, ids, model })?
            }
        };
        let exit_signal = stat.exit_signal;
        Ok(CollectedTask { item, dir, comm: stat.comm, flags: stat.flags, exit_signal, living })
    }

    fn living(
        &mut self,
        pid: i32,
        dir: &ProcDir,
        stat: &crate::proc::Stat,
        seized: SeizedTask,
        Looked { look, ids: (ids, first), model }: Looked<'_>,
    ) -> Result<Option<Living>> {
        let failed = |call: &'static str| move |e: io::Error| Error::os(Phase::Collect, "task", call, e).pid(pid);
        let dead_leader = match seized.leader_is_dead() {
            true => Some(self.dead_leader(pid, stat)?),
            false => None,
        };
        // A thread by which the process can be looked at.
        let alive = seized.threads().first().map_or(pid, |t| t.tid);
        self.check_label(pid, dir);
        let ProcessLook { mm: mut seen, identity, limits, timers, blockers } = look.process?;
        self.blockers.extend(blockers);
        seen.contexts = self.contexts.remove(&pid);
        for (_, object, how) in
            [(first.vm, "address space", "CLONE_VM"), (first.sighand, "signal actions", "CLONE_SIGHAND")]
                .iter()
                .filter(|(is_first, ..)| !is_first)
        {
            let cause = format!("it is shared with another process ({how}); this cannot be saved");
            self.blockers.push(Blocker::new(pid, *object, cause));
        }
        let of_thread = pidfd_of_thread(&seized).map_err(failed("pidfd_open"))?;
        let pidfd = of_thread.as_ref().map_or(seized.pidfd(), AsFd::as_fd);
        let task = DumpTask { pid: alive, vpid: pid, pidfd };
        let model = model.as_ref();
        seen.exe = model.and_then(Model::exe);
        let mm = self.mm.collect(&task, dir, seen, stat, &mut self.files, self.blockers)?;
        for segment in &mm.segments {
            self.ipc.attach(*segment, pid);
        }
        if first.files {
            let table = model.and_then(|m| Some((m.living.ids.files, m.table.as_deref()?)));
            if !table.is_some_and(|(models, fds)| self.files.copy_fds(&task, ids.files, models, fds)) {
                self.files.collect_fds(&task, ids.files, self.blockers)?;
            }
        }
        if !seized.workers().is_empty() || self.files.has_urings(ids.files) {
            self.files.look_at_uring_users(&task);
        }
        let cwd = match model.and_then(Model::cwd) {
            Some(cwd) => cwd,
            None => self.files.collect_link(&task, Link::Cwd, self.blockers)?.unwrap_or(0),
        };
        let root = match model.and_then(Model::root) {
            Some(root) => root,
            None => self.files.collect_link(&task, Link::Root, self.blockers)?.unwrap_or(0),
        };
        let tids: Vec<i32> = seized.threads().iter().map(|t| t.tid).collect();
        for t in &timers {
            if let Some(cause) = posix::unsupported_clock(t, pid, &tids) {
                self.blockers.push(Blocker::new(pid, format!("POSIX timer {} (clock {})", t.id, t.clock), cause));
            }
        }
        let pending = match model {
            Some(model) if !model.own.has_pending => SignalQueueEntry::default(),
            _ => signals::queue(alive, true).map_err(compel(pid))?,
        };
        let abi = abi::of(&seized, &mm.vmas).map_err(compel(pid))?;
        let kin = model.and_then(|m| Some((m.own.thread, m.living.threads.first()?)));
        let mut alike = look.alike;
        let mut threads: Vec<CollectedThread> = Vec::with_capacity(seized.threads().len());
        for (at, (t, look)) in seized.threads().iter().zip(look.threads).enumerate() {
            let known = alike.as_ref().map(|a| (a.threads[at], a.models[at]));
            let known = known.map(|(own, model)| (own, threads.get(model)));
            let thread = match known.or(kin.map(|(own, model)| (own, Some(model)))) {
                Some((own, Some(model))) => self.like(pid, &own, model, &t.regs, look?)?,
                _ => {
                    let complaints = self.blockers.len();
                    let thread = self.thread(pid, t.tid, &t.regs, abi, look?)?;
                    let is_plain = |own: Own| self.blockers.len() == complaints && is_as_told(&thread, &own);
                    if let Some(alike) = alike.as_mut().filter(|a| !is_plain(a.threads[at])) {
                        alike.part(at);
                    }
                    thread
                }
            };
            threads.push(thread);
        }
        let autogroup_nice = if stat.sid == pid { autogroup_nice(dir) } else { 0 };
        Ok(Some(Living {
            ids,
            mm,
            identity,
            autogroup_nice,
            limits,
            timers,
            pending,
            cwd,
            root,
            threads,
            alike,
            dead_leader,
            seized,
        }))
    }

    fn dead_leader(&mut self, pid: i32, stat: &crate::proc::Stat) -> Result<DeadLeader> {
        let failed = |e| Error::os(Phase::Collect, format!("thread {pid}"), "reading /proc/PID/status", e).pid(pid);
        let status = ProcDir::open(pid).and_then(|d| d.status()).map_err(failed)?;
        if stat.exit_code & 0x7f != 0 {
            let cause = "the main thread was killed while others go on; this cannot be saved";
            self.blockers.push(Blocker::new(pid, format!("thread {pid}"), cause));
        }
        Ok(DeadLeader { status, exit_code: stat.exit_code })
    }
}

/// The contexts of asynchronous I/O of those tasks that have any.
fn contexts(tasks: &[FrozenTask], looks: &[Option<TaskLook>]) -> Result<HashMap<i32, Contexts>> {
    let has_any = |look: &TaskLook| look.process.as_ref().is_ok_and(|p| p.mm.has_aio_rings());
    let mut found = Vec::new();
    for (task, look) in tasks.iter().zip(looks) {
        if let Some(seized) = task.seized.as_ref().filter(|_| look.as_ref().is_some_and(has_any)) {
            let failed = |e| Error::os(Phase::Collect, "task", "pidfd_open", e).pid(task.pid);
            found.push((task.pid, seized.pidfd(), pidfd_of_thread(seized).map_err(failed)?));
        }
    }
    let pidfds: Vec<_> =
        found.iter().map(|(pid, pidfd, thread)| (*pid, thread.as_ref().map_or(*pidfd, AsFd::as_fd))).collect();
    Ok(aio::settled(&pidfds))
}

/// A pidfd of its first thread, when the leader is dead (Linux 6.9).
fn pidfd_of_thread(seized: &SeizedTask) -> io::Result<Option<OwnedFd>> {
    const PIDFD_THREAD: u32 = libc::O_EXCL as u32;
    let Some(first) = seized.threads().first().filter(|t| t.tid != seized.pid()) else { return Ok(None) };
    let pid = rustix::process::Pid::from_raw(first.tid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Some(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::from_bits_retain(PIDFD_THREAD))?))
}

pub(super) fn compel(pid: i32) -> impl Fn(criu_compel::Error) -> Error {
    move |e| Error::new(Phase::Collect, "task", e.to_string()).pid(pid)
}
