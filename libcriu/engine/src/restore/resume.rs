//! Resume: every thread waits in the restorer, traced. It gets its final registers, the restorer goes, and then, in one
//! go, all tasks are let live without the coordinator: the commit point.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::checkpoint::{Alive, Task};
use super::world::World;
use super::{failure, region, stops};
use crate::error::{Error, Phase, Result};
use crate::proc::ProcDir;
use crate::sys::commit_guard::CommitGuard;
use crate::sys::control::SharedControl;
use crate::sys::task::sched_setattr;
use crate::sys::tracee::Tracee;
use crate::task::{regs, sched, segments, signals};
use criu_pie::abi::restorer::GO_FINISH;

/// How long a main thread may take to exit.
const EXITS_WITHIN: Duration = Duration::from_secs(5);

/// All threads of all living tasks, traced and running in the restorer.
#[derive(Debug)]
pub(crate) struct Traced {
    /// One for each living task.
    tasks: Vec<TracedTask>,
}

/// Its index, its threads (the leader first), whether filters are suspended.
pub(super) type TracedTask = (usize, Vec<Tracee>, bool);

/// As `Traced`, stopped for good and with their final registers.
#[derive(Debug)]
pub(crate) struct Ready {
    traced: Traced,
}

pub(super) fn failed(pid: i32, tid: i32, call: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |e| Error::os(Phase::Resume, format!("thread {tid}"), call, e).pid(pid)
}

/// Another tracer of all that the engine starts has been faster.
pub(super) fn not_seized(pid: i32, tid: i32) -> impl FnOnce(std::io::Error) -> Error {
    move |e| {
        let failed = failed(pid, tid, "ptrace PTRACE_SEIZE")(e);
        match ProcDir::open(tid).and_then(|d| d.status()).map_or(0, |s| s.tracer_pid) {
            0 => failed,
            tracer => failed
                .hint(format!("pid {tracer} traces it, as all that the engine starts: let it trace the engine alone")),
        }
    }
}

impl Traced {
    /// Traces every thread. `root` is already traced when it is the coordinator's sibling.
    pub fn seize(world: &World, root: Option<Tracee>) -> Result<Traced> {
        let mut tasks = Vec::new();
        for (index, task, alive) in living(world) {
            let (suspend, clones) = (is_confined(world, index), has_late_threads(world, index));
            let mut threads = Vec::with_capacity(alive.threads.len());
            for (at, t) in alive.threads.iter().enumerate() {
                let tracee = match root.filter(|r| r.tid == t.tid) {
                    Some(tracee) => {
                        if clones {
                            tracee.trace_clones(suspend).map_err(failed(
                                task.pid,
                                t.tid,
                                "ptrace PTRACE_SETOPTIONS",
                            ))?;
                        }
                        tracee
                    }
                    // It does not exist yet.
                    None if creator(world, index, at).is_some() => Tracee { tid: t.tid },
                    None => Tracee::seize(t.tid, suspend, clones).map_err(not_seized(task.pid, t.tid))?,
                };
                threads.push(tracee);
            }
            tasks.push((index, threads, suspend));
        }
        Ok(Traced { tasks })
    }

    pub fn threads(&self) -> impl Iterator<Item = Tracee> {
        self.tasks.iter().flat_map(|(_, threads, _)| threads.iter().copied())
    }

    /// Lets the threads put credentials, filters and signals in place.
    ///
    /// # Errors
    /// A thread that was to be born with filters is not there.
    pub fn finish(&self, world: &World) -> Result<()> {
        let control = world.control.get();
        control.go.store(GO_FINISH, Ordering::SeqCst);
        SharedControl::wake(&control.go);
        for (index, threads, _) in self.tasks.iter().filter(|(i, ..)| has_late_threads(world, *i)) {
            let pid = pid(world, *index);
            // A creator stands before those it creates, so each of them runs by the time it is waited for.
            for (at, parent) in threads.iter().enumerate() {
                for _ in (0..threads.len()).filter(|&t| creator(world, *index, t) == Some(at)) {
                    parent.adopt().map_err(|e| match control.failed.load(Ordering::SeqCst) {
                        2 => failure::read(control),
                        _ => failed(pid, parent.tid, "ptrace PTRACE_O_TRACECLONE")(e),
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Stops every thread, gives it its final state, and removes the restorer from every task.
    pub fn stop(mut self, world: &World) -> Result<Ready> {
        let all = || self.tasks.iter().flat_map(|(i, threads, _)| threads.iter().map(move |t| (pid(world, *i), *t)));
        for (pid, t) in all() {
            t.interrupt().map_err(failed(pid, t.tid, "ptrace PTRACE_INTERRUPT"))?;
        }
        for (pid, t) in all() {
            t.wait_stopped().map_err(failed(pid, t.tid, "waitpid"))?;
        }
        for (index, threads, _) in &mut self.tasks {
            let task = &world.checked.checkpoint.tasks[*index];
            let Some(alive) = task.alive() else { continue };
            if let Some(status) = alive.leader_exit {
                // From here on there are the others only.
                let mask = alive.threads.first().map_or(0, |t| signals::restore::mask(&task.core, &t.core, true));
                end_leader(world, *index, threads.remove(0), status, mask)?;
            }
        }
        stops::enter(world, &self.tasks)?;
        let runs = |traced: &&TracedTask| {
            world.checked.checkpoint.tasks[traced.0].alive().is_some_and(|a| a.stopped.is_none())
        };
        remove_restorers(world, &self.tasks.iter().filter(runs).collect::<Vec<_>>())?;
        let mut xstate_len = None;
        for (index, threads, _) in &self.tasks {
            let task = &world.checked.checkpoint.tasks[*index];
            let Some(alive) = task.alive() else { continue };
            give_state(task, alive, threads, &mut xstate_len)?;
        }
        for (index, threads, _) in &self.tasks {
            give_deadlines(&world.checked.checkpoint.tasks[*index], threads)?;
        }
        Ok(Ready { traced: self })
    }
}

impl Ready {
    /// The commit point: the tasks outlive the coordinator.
    ///
    /// # Errors
    /// A task that is gone; none may live then.
    pub fn commit(&self, world: &World, guard: Option<&CommitGuard>) -> Result<()> {
        let tasks = &self.traced.tasks;
        // One thread that dies with the coordinator takes its process along: so the leaders go last.
        for (index, threads, suspend) in tasks {
            for t in threads.iter().skip(1) {
                t.lift_exit_kill(*suspend).map_err(failed(pid(world, *index), t.tid, "ptrace PTRACE_SETOPTIONS"))?;
            }
        }
        for (index, threads, suspend) in tasks {
            if let Some(t) = threads.first() {
                t.lift_exit_kill(*suspend).map_err(failed(pid(world, *index), t.tid, "ptrace PTRACE_SETOPTIONS"))?;
            }
        }
        guard.map_or(Ok(()), |g| g.committed()).map_err(|e| Error::os(Phase::Resume, "the tree", "commit", e))
    }

    /// Until all tasks are free, none is, and nobody outside hears of them.
    ///
    /// # Errors
    /// Those of fork(2), and of what it is to see to.
    pub fn guard(&self, world: &World) -> Result<Option<CommitGuard>> {
        let unfinished = world.files.unfinished()?;
        let pids: Vec<i32> = self.traced.tasks.iter().map(|(index, ..)| pid(world, *index)).collect();
        if unfinished.is_empty() && pids.len() == 1 {
            return Ok(None);
        }
        let guard = CommitGuard::start(&pids, &unfinished).or_else(|e| {
            if e.kind() != std::io::ErrorKind::UnexpectedEof {
                return Err(e);
            }
            log::warn!("the tasks become free one after the other: {} cannot be held on to at once", pids.len());
            CommitGuard::start(&[], &unfinished)
        });
        guard.map(Some).map_err(|e| Error::os(Phase::Resume, "the tree", "fork", e))
    }

    /// Every task runs.
    pub fn let_go(self, world: &World) {
        for (index, threads, _) in &self.traced.tasks {
            let task = &world.checked.checkpoint.tasks[*index];
            for t in threads {
                // Past the commit point: a thread that is gone was killed by somebody else.
                if let Err(e) = t.detach() {
                    log::warn!("pid {} thread {}: ptrace PTRACE_DETACH: {e}", task.pid, t.tid);
                }
            }
        }
    }
}

fn living(world: &World) -> impl Iterator<Item = (usize, &Task, &Alive)> {
    let tasks = &world.checked.checkpoint.tasks;
    tasks.iter().enumerate().filter_map(|(i, t)| Some((i, t, t.alive()?)))
}

pub(super) fn pid(world: &World, index: usize) -> i32 {
    world.checked.checkpoint.tasks[index].pid
}

/// Do filters of this task have to be suspended?
pub(crate) fn is_confined(world: &World, index: usize) -> bool {
    world.checked.prepared[index].as_ref().is_some_and(|p| p.seccomp.is_needed())
}

/// The place of the thread that creates the thread `at`, when that is born with filters.
fn creator(world: &World, index: usize, at: usize) -> Option<usize> {
    let plan = &world.checked.prepared[index].as_ref()?.seccomp;
    plan.threads.get(at)?.creator.map(|c| c.thread)
}

/// Are threads of this task born under ptrace?
fn has_late_threads(world: &World, index: usize) -> bool {
    world.checked.prepared[index].as_ref().is_some_and(|p| p.seccomp.late() > 0)
}

/// In all tasks side by side: a step of one runs while the others are asked for it.
pub(super) fn remove_restorers(world: &World, tasks: &[&TracedTask]) -> Result<()> {
    const SYS_MUNMAP: u64 = libc::SYS_munmap as u64;
    let callers = || tasks.iter().filter_map(|(i, threads, _)| Some((*i, pid(world, *i), *threads.first()?)));
    for (index, pid, t) in callers() {
        let slot = &world.control.slots()[index];
        let (start, len) = (slot.region.load(Ordering::SeqCst), slot.region_len.load(Ordering::SeqCst));
        let instruction = start + region::syscall_offset();
        t.begin_call(instruction, SYS_MUNMAP, [start, len, 0, 0, 0, 0]).map_err(failed(pid, t.tid, "remote munmap"))?;
    }
    for (_, pid, t) in callers() {
        t.enter_call().map_err(failed(pid, t.tid, "remote munmap"))?;
    }
    for (_, pid, t) in callers() {
        let ret = t.end_call().map_err(failed(pid, t.tid, "remote munmap"))?;
        if ret != 0 {
            let e = std::io::Error::from_raw_os_error((-ret) as i32);
            return Err(failed(pid, t.tid, "remote munmap")(e));
        }
    }
    Ok(())
}

/// Lets the main thread exit, as it had in the process that was dumped.
fn end_leader(world: &World, index: usize, leader: Tracee, status: i32, mask: u64) -> Result<()> {
    let pid = pid(world, index);
    let start = world.control.slots()[index].region.load(Ordering::SeqCst);
    let instruction = start + region::syscall_offset();
    leader.exit_at(instruction, status >> 8 & 0xff, mask).map_err(failed(pid, leader.tid, "remote exit"))?;
    let until = Instant::now() + EXITS_WITHIN;
    let is_dead = || ProcDir::open(pid).and_then(|d| d.stat()).map(|s| s.state == b'Z');
    while !is_dead().map_err(failed(pid, leader.tid, "reading /proc/PID/stat"))? {
        if Instant::now() > until {
            return Err(Error::new(Phase::Resume, format!("thread {pid}"), "it does not exit").pid(pid));
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}

fn give_state(task: &Task, alive: &Alive, threads: &[Tracee], xstate_len: &mut Option<usize>) -> Result<()> {
    let Some(leader) = threads.first() else { return Ok(()) };
    // All threads have the same components: no task has asked for more than the others yet.
    let len = match *xstate_len {
        Some(len) => len,
        None => leader.xstate().map_err(failed(task.pid, leader.tid, "ptrace PTRACE_GETREGSET"))?.len(),
    };
    *xstate_len = Some(len);
    let dead = usize::from(alive.leader_exit.is_some());
    for (i, (t, image)) in threads.iter().zip(&alive.threads[dead..]).enumerate() {
        let state = regs::restore::xstate(&image.info.fpregs, len)
            .map_err(|why| Error::new(Phase::Resume, format!("thread {}", t.tid), why).pid(task.pid))?;
        t.set_xstate(&state).map_err(failed(task.pid, t.tid, "ptrace PTRACE_SETREGSET"))?;
        for area in image.info.tls.iter().filter_map(segments::area) {
            t.set_thread_area(&area).map_err(failed(task.pid, t.tid, "ptrace PTRACE_SET_THREAD_AREA"))?;
        }
        let regs = regs::restore::registers(&image.info);
        t.set_registers(&regs).map_err(failed(task.pid, t.tid, "ptrace PTRACE_SETREGS"))?;
        let mask = signals::restore::mask(&task.core, &image.core, i + dead == 0);
        t.set_signal_mask(mask).map_err(failed(task.pid, t.tid, "ptrace PTRACE_SETSIGMASK"))?;
    }
    Ok(())
}

/// Deadline scheduling, for threads that do nothing more before they live.
fn give_deadlines(task: &Task, threads: &[Tracee]) -> Result<()> {
    let images = task.alive().map_or(&[][..], |alive| &alive.threads);
    // Those that are dead are in the images only.
    let wanted = images.iter().filter(|image| threads.iter().any(|t| t.tid == image.tid));
    for (tid, attr) in wanted.filter_map(|image| Some((image.tid, sched::restore::deadline(&image.core)?))) {
        sched_setattr(tid, &attr).map_err(|e| {
            let hint = match e.raw_os_error() {
                Some(libc::EBUSY) => {
                    "end other threads under SCHED_DEADLINE, or let all of them have more time: sysctl kernel.sched_rt_runtime_us"
                }
                Some(libc::EPERM) => {
                    "restore it with CAP_SYS_NICE, and where all CPUs may be used: no taskset, no cpuset of some"
                }
                _ => "this kernel does not take it: see SCHED_DEADLINE in sched(7)",
            };
            let times = format!("{} of {} ns, every {} ns", attr.runtime, attr.deadline, attr.period);
            let error = Error::os(Phase::Resume, format!("thread {tid}"), "sched_setattr SCHED_DEADLINE", e);
            let cause = format!("{} ({times})", error.cause);
            Error { cause, ..error }.pid(task.pid).hint(hint)
        })?;
    }
    Ok(())
}
