//! Save: writes every image, `inventory.img` last.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use criu_compel::Resume;
use criu_images::messages::{
    CoreEntry, FsEntry, InventoryEntry, Lsmtype, PluginsEntry, SeccompEntry, TimensEntry, Timespec, VmaEntry,
};
use criu_images::{ImageDir, Kind};
use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};

use super::apart::Shelter;
use super::collect::{CollectedTask, Living};
use super::infect::{Informed, InformedTask, Told};
use super::latecomers;
use super::release::{Committed, Stopped};
use super::snapshot::{self, Deferred};
use super::write::{self, Job, Written};
use crate::error::{Error, Phase, Result};
use crate::mem::mm::{Facts, SharedObject};
use crate::mem::pages::{GoOn, PagesIds};
use crate::mem::shmem;
use crate::namespace::{Namespace, ids_entry};
use crate::netlock::Method;
use crate::options::Options;
use crate::progress::Operator;
use crate::pstree::{TaskIds, TaskState};
use crate::stats::DumpStats;
use crate::sys::apart::front_lives;
use crate::task::seccomp::{Filters, ThreadSeccomp};
use crate::task::{core, regs, rseq, stop};

pub(super) fn image(e: criu_images::ImageError) -> Error {
    Error::image(Phase::Save, e)
}

impl Informed {
    /// `shelter` is left when no snapshot is there any more.
    ///
    /// # Errors
    /// An image that cannot be written, memory that cannot be read, a failed callback.
    pub fn save(self, options: &Options, operator: &mut dyn Operator, shelter: Option<Shelter>) -> Result<Committed> {
        let dir = options.images_dir.try_clone().map_err(|e| Error::os(Phase::Save, "images directory", "dup", e))?;
        let mut saver = Saver {
            images: ImageDir::new(dir),
            pages: PagesIds::default(),
            filters: Filters::default(),
            shared: Vec::new(),
            kin: self.tasks.len() > 1,
            deferred: Vec::new(),
            stands_still: snapshot::are_wanted(options, operator),
            stats: DumpStats { freezing_us: micros(self.freezing), ..DumpStats::default() },
        };
        // Dropped before `saver`: snapshots end when the tasks run on.
        let Informed { mut tasks, mut files, ipc, since, .. } = self;
        // Those of an earlier dump must not become a part of this one, nor its inventory make a checkpoint of it.
        saver.images.clear().map_err(image)?;
        let total = tasks.len() as u64;
        for (batch, some) in tasks.chunks_mut(BATCH).enumerate() {
            for at in 0..some.len() {
                operator.progress(Phase::Save, (batch * BATCH + at) as u64, total);
            }
            operator.check_cancelled(Phase::Save)?;
            saver.batch(some, &mut || operator.check_cancelled(Phase::Save))?;
        }
        let sheltered = (shelter.is_none() && files.are_delicate()).then(Shelter::enter);
        let saved = files.save(&saver.images, &mut saver.pages, operator);
        sheltered.map_or(Ok(()), Shelter::leave)?;
        saved?;
        let mut go_on = || operator.check_cancelled(Phase::Save);
        let ipc_id = Namespace::Ipc.engines_id().into();
        saver.stats.shpages_written += ipc.save(&saver.images, ipc_id, &mut saver.pages, &mut go_on)?;
        saver.whole_tree(&tasks)?;
        operator.check_cancelled(Phase::Commit)?;
        if saver.deferred.is_empty() {
            latecomers::keep(&tasks, &saver.images)?;
        }
        let mut stopped =
            Stopped { since, seized: tasks.into_iter().filter_map(|t| t.task.living).map(|l| l.seized).collect() };
        if !saver.deferred.is_empty() {
            // Connections of tasks that go on have to be free before.
            let connections = files.released(false);
            files.close();
            saver.stats.frozen_us = stopped.release(Resume::AsBefore)?;
            connections?;
            saver.deferred_pages(operator)?;
        }
        if let Some(shelter) = shelter {
            shelter.leave()?;
        }
        saver.inventory(files.run_id()?, options)?;
        Ok(Committed { files, tasks: total as usize, stopped, stats: saver.stats })
    }
}

fn micros(d: std::time::Duration) -> u32 {
    u32::try_from(d.as_micros()).unwrap_or(u32::MAX)
}

struct Saver {
    images: ImageDir,
    pages: PagesIds,
    filters: Filters,
    /// Shared anonymous objects that are saved already.
    shared: Vec<(u64, bool)>,
    /// There is more than one task: they may share pages copy-on-write.
    kin: bool,
    /// Pages that are written when the tasks run on.
    deferred: Vec<Deferred>,
    /// The tasks are left running and could go on before their memory is written.
    stands_still: bool,
    stats: DumpStats,
}

/// Tasks that are written at once.
const BATCH: usize = 64;

/// Threads of one task that are.
const MOST_CORES: usize = 1024;

impl Saver {
    fn batch(&mut self, tasks: &mut [InformedTask], go_on: GoOn<'_>) -> Result<()> {
        let begin = Instant::now();
        let jobs = tasks.iter().map(|t| self.job(t)).collect::<Result<Vec<Job>>>()?;
        let all = write::all(&jobs, &self.images)?;
        let mut in_pages: Duration = all.iter().flatten().map(|w| w.took).sum();
        for (job, written) in jobs.iter().zip(&all) {
            if let Some(written) = written.as_ref().filter(|w| w.lacks_pages) {
                let begin = Instant::now();
                job.pages(&self.images, written, go_on)?;
                in_pages += begin.elapsed();
            }
        }
        drop(jobs);
        for (informed, written) in tasks.iter_mut().zip(all) {
            if let Some(written) = written {
                self.written(informed, written, go_on)?;
            }
        }
        self.stats.memwrite_us += micros(in_pages.min(begin.elapsed()));
        self.stats.memdump_us += micros(begin.elapsed());
        Ok(())
    }

    /// What is to be written of a task. It can be looked at only here: threads that do not trace see less.
    fn job<'a>(&mut self, informed: &'a InformedTask) -> Result<Job<'a>> {
        let task = &informed.task;
        let pid = task.item.pid;
        let (Some(living), Some(told)) = (&task.living, &informed.told) else {
            let exit_code = match task.item.state {
                TaskState::Zombie(code) => code,
                _ => 0,
            };
            let core = core::zombie(&task.comm, exit_code, task.exit_signal);
            return Ok(Job { pid, cores: vec![(pid as u64, core)], living: None });
        };
        let cores = self.cores(informed, living, told)?;
        let umask = living.threads.first().map(|t| t.status.umask);
        let p = &told.process;
        let facts = Facts {
            brk: p.brk,
            dumpable: p.dumpable,
            thp_disable: p.thp_disable as u32,
            protection_keys: p.protection_keys,
            mlock_future: told.mlock_future,
            policies: told.policies.clone(),
            memory_merge: p.memory_merge == Some(true),
        };
        let living = write::Living {
            dir: &task.dir,
            ids: ids_entry(living.ids),
            fs: FsEntry { cwd_id: living.cwd, root_id: living.root, umask },
            mm: &living.mm,
            facts,
            runs: told.runs.as_deref(),
            pages_id: self.pages.allocate(),
            is_deferred: told.snapshot.is_some(),
            kin: self.kin,
        };
        Ok(Job { pid, cores, living: Some(living) })
    }

    /// Those of the threads. Of very many all but the last are written: each takes some kilobytes.
    fn cores(&mut self, informed: &InformedTask, living: &Living, told: &Told) -> Result<Vec<(u64, CoreEntry)>> {
        let task = &informed.task;
        let pid = task.item.pid;
        let mut cores = Vec::with_capacity(living.threads.len().min(MOST_CORES + 1));
        // A dead main thread has no filters; so those of the others stand on each of them.
        let dead = usize::from(living.dead_leader.is_some());
        let chains = vec![ThreadSeccomp::default(); dead].into_iter();
        let chains: Vec<_> = chains.chain(living.threads.iter().map(|t| t.seccomp.clone())).collect();
        let placed = self.filters.add_task(&chains).split_off(dead);
        let first = living.threads.first().map_or(pid, |t| t.tid);
        let sections = rseq::sections(first, living.threads.iter().map(|t| t.rseq.as_ref()));
        let sections = sections
            .map_err(|e| Error::os(Phase::Save, "restartable sequences", "reading a thread's area", e).pid(pid))?;
        let stop_reported = matches!(task.item.state, TaskState::Stopped(_))
            && stop::dump::is_reported(living.seized.pidfd()).unwrap_or_else(|e| {
                log::warn!("pid {pid}: a restore tells its parent that it is stopped, once more perhaps ({e})");
                false
            });
        let threads = living.threads.iter().zip(living.seized.threads());
        for (at, (thread, seized)) in threads.enumerate() {
            let xstate = living
                .seized
                .xstate(at)
                .map_err(|e| Error::new(Phase::Save, format!("thread {}", thread.tid), e.to_string()).pid(pid))?;
            let fpregs = regs::fpregs(&xstate).ok_or_else(|| {
                Error::new(Phase::Save, format!("thread {}", thread.tid), "its extended registers are incomplete")
                    .pid(pid)
            })?;
            let facts = told.threads.get(at).copied().filter(|f| f.tid == thread.tid).ok_or_else(|| {
                Error::new(Phase::Save, format!("thread {}", thread.tid), "it has told nothing of itself").pid(pid)
            })?;
            let is_leader = thread.tid == pid;
            let mut core = core::thread(core::Thread {
                tid: thread.tid,
                regs: &seized.regs,
                fpregs,
                sigmask: seized.sigmask,
                status: &thread.status,
                facts,
                sched: thread.sched.clone(),
                personality: thread.personality.filter(|own| *own != living.identity.personality),
                seccomp: placed.get(at).copied().unwrap_or_default(),
                pending: thread.pending.clone(),
                robust_list: thread.robust_list,
                rseq: thread.rseq,
                segments: &thread.segments,
                abi: thread.abi,
                section: sections.get(at).copied().unwrap_or(0),
                is_leader,
            })
            .map_err(|e| {
                Error::os(Phase::Save, format!("thread {}", thread.tid), "reading its rseq section", e).pid(pid)
            })?;
            let process = core::Process {
                state: task.item.state,
                stop_reported,
                continued: informed.continued,
                comm: &task.comm,
                flags: task.flags,
                exit_signal: task.exit_signal,
                identity: &living.identity,
                autogroup_nice: living.autogroup_nice,
                limits: &living.limits,
                pending: &living.pending,
                timers: &living.timers,
                facts: &told.process,
                abi: thread.abi,
            };
            if is_leader {
                core.tc = Some(core::process(&process, seized.sigmask));
            } else if let Some(dead) = living.dead_leader.as_ref().filter(|_| at == 0) {
                let leader = core::dead_leader(&core, &process, &dead.status, dead.exit_code);
                cores.push((pid as u64, leader));
            }
            cores.push((thread.tid as u64, core));
            if cores.len() >= MOST_CORES {
                write::cores(&cores, &self.images)?;
                cores.clear();
            }
        }
        Ok(cores)
    }

    /// Counts what was written of a task, and goes on to what it shares with others.
    fn written(&mut self, informed: &mut InformedTask, written: Written, go_on: GoOn<'_>) -> Result<()> {
        let InformedTask { task, told, .. } = informed;
        let Written { pages_id, runs, totals, .. } = written;
        let Some(living) = &mut task.living else { return Ok(()) };
        let bytes = |v: &VmaEntry| v.end - v.start;
        self.stats.pages_scanned += living.mm.vmas.iter().map(bytes).sum::<u64>() / crate::mem::vma::PAGE_BYTES;
        self.stats.count(totals);
        match told.as_mut().and_then(|told| told.snapshot.take()) {
            Some(snapshot) => {
                self.stats.snapshots += 1;
                let failed = |e| Error::os(Phase::Save, "memory", "reading aio rings", e).pid(task.item.pid);
                let known = living.mm.rings(task.dir.id()).map_err(failed)?;
                let (runs, vmas) = (told.as_mut().and_then(|t| t.runs.take()), std::mem::take(&mut living.mm.vmas));
                self.deferred.push(Deferred { snapshot, pages_id, runs, vmas, known });
            }
            None => self.stats.copied_frozen += u32::from(self.stands_still && snapshot::is_worthwhile(&runs)),
        }
        for object in std::mem::take(&mut living.mm.shared) {
            self.shared_object(task, object, go_on)?;
        }
        Ok(())
    }

    fn deferred_pages(&mut self, operator: &mut dyn Operator) -> Result<()> {
        let begin = Instant::now();
        let mut go_on = || {
            operator.check_cancelled(Phase::Save)?;
            if front_lives() {
                return Ok(());
            }
            Err(Error::new(Phase::Save, "the operation", "the engine was killed").errno(libc::ECANCELED))
        };
        for deferred in std::mem::take(&mut self.deferred) {
            let totals = deferred.write(&self.images, &mut go_on)?;
            self.stats.count(totals);
        }
        self.stats.memwrite_us += micros(begin.elapsed());
        self.stats.memdump_us += micros(begin.elapsed());
        Ok(())
    }

    fn shared_object(&mut self, task: &CollectedTask, object: SharedObject, go_on: GoOn<'_>) -> Result<()> {
        if self.shared.contains(&(object.shmid, object.is_segment)) {
            return Ok(());
        }
        if !self.pages.claim_shared(object.shmid) {
            // Their images would have one name.
            let what = format!("shared memory {}", object.shmid);
            let cause = "a System V segment and an anonymous one have the same number; this cannot be saved";
            return Err(Error::new(Phase::Save, what, cause).pid(task.item.pid));
        }
        self.shared.push((object.shmid, object.is_segment));
        let name = format!("map_files/{:x}-{:x}", object.start, object.end);
        let failed = |call: &'static str| {
            let pid = task.item.pid;
            move |e: std::io::Error| Error::os(Phase::Save, format!("shared memory {}", object.shmid), call, e).pid(pid)
        };
        let file = task.dir.open_at(&name, OFlags::RDONLY).map_err(failed("opening map_files"))?;
        let size = rustix::fs::fstat(&file).map_err(|e| failed("fstat")(e.into()))?.st_size as u64;
        let (images, pages, shmid) = (&self.images, &mut self.pages, object.shmid);
        let dump = if object.is_segment { shmem::dump_whole_pages } else { shmem::dump };
        let totals = dump(images, shmid, file.as_fd(), (size, object.huge_page), pages, go_on)?;
        self.stats.shpages_scanned += size.div_ceil(crate::mem::vma::PAGE_BYTES);
        self.stats.shpages_written += totals.pages;
        Ok(())
    }

    /// What stands once for all tasks.
    fn whole_tree(&mut self, tasks: &[InformedTask]) -> Result<()> {
        let mut pstree = self.images.create(Kind::Pstree, 0).map_err(image)?;
        for (at, informed) in tasks.iter().enumerate() {
            pstree.entry(&informed.task.item.entry(at == 0)).map_err(image)?;
        }
        pstree.finish().map_err(image)?;
        let seccomp: SeccompEntry = std::mem::take(&mut self.filters).into_entry();
        self.images.write_one(Kind::Seccomp, 0, &seccomp).map_err(image)?;
        self.images.write_one(Kind::Timens, 0, &clocks()).map_err(image)
    }

    /// The last image, written under another name until it is whole: with it the directory becomes a checkpoint.
    fn inventory(&self, run_id: &str, options: &Options) -> Result<()> {
        let root = TaskIds::ENGINE;
        let entry = InventoryEntry {
            img_version: 2,
            fdinfo_per_id: Some(true),
            root_ids: Some(ids_entry(root)),
            ns_per_id: Some(true),
            root_cg_set: Some(1),
            lsmtype: Some(Lsmtype::NoLsm as i32),
            tcp_close: Some(true).filter(|_| options.msg.tcp_close()),
            network_lock_method: Some(Method::of(&options.msg)?.number()),
            plugins_entry: Some(PluginsEntry::default()),
            dump_criu_run_id: Some(run_id.into()),
            ..InventoryEntry::default()
        };
        self.images.write_one_atomically(Kind::Inventory, 0, &entry).map_err(|e| Error::image(Phase::Commit, e))
    }
}

/// The clocks of the tasks' time namespace, so that they do not run backwards.
fn clocks() -> TimensEntry {
    let now = |clock| {
        let t = clock_gettime(clock);
        Timespec { tv_sec: t.tv_sec as u64, tv_nsec: t.tv_nsec as u64 }
    };
    TimensEntry { monotonic: now(ClockId::Monotonic), boottime: now(ClockId::Boottime) }
}
