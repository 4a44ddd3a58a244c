//! The coordinator's side while tasks build themselves: it waits for them, notices at once when one fails or dies, and
//! takes everything down when the restore cannot succeed.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, test_kill_process};

use super::failure;
use super::world::{RootParent, World};
use crate::error::{Error, Phase, Result};
use crate::proc::stat_of;
use crate::progress::Operator;
use crate::sys::control::SharedControl;
use crate::sys::spawn;
use crate::sys::tracee::Tracee;

/// How often the coordinator looks for tasks that died without a word.
const GLANCE: Duration = Duration::from_millis(20);
/// How long killed tasks may take to be gone.
const TAKE_DOWN: Duration = Duration::from_secs(10);

/// What the coordinator knows about living tasks.
#[derive(Debug)]
pub(crate) struct Watch {
    /// One for each task, once it was seen.
    pidfds: Vec<Option<OwnedFd>>,
    root: i32,
    /// Threads that are traced: the root from its start, when it is not this process's child.
    traced: Vec<Tracee>,
}

impl Watch {
    pub fn new(world: &World, root: i32, traced_root: Option<Tracee>) -> Watch {
        Watch {
            pidfds: world.control.slots().iter().map(|_| None).collect(),
            root,
            traced: traced_root.into_iter().collect(),
        }
    }

    /// From here on all threads are traced.
    pub fn follow(&mut self, traced: impl Iterator<Item = Tracee>) {
        self.traced = traced.collect();
    }

    /// Waits until `counter` has reached the number of living tasks.
    ///
    /// # Errors
    /// The first failure of a task, a task's death, or the operator's will.
    pub fn wait(
        &mut self,
        world: &World,
        phase: Phase,
        counter: &AtomicU32,
        operator: &mut dyn Operator,
    ) -> Result<()> {
        let control = world.control.get();
        let expected = control.expected.load(Ordering::SeqCst);
        loop {
            let bell = control.bell.load(Ordering::SeqCst);
            if control.failed.load(Ordering::SeqCst) == 2 {
                return Err(failure::read(control));
            }
            let reached = counter.load(Ordering::SeqCst);
            if reached >= expected {
                return Ok(());
            }
            let before = Instant::now();
            SharedControl::wait(&control.bell, bell, GLANCE);
            if before.elapsed() >= GLANCE {
                operator.progress(phase, reached.into(), expected.into());
                operator.check_cancelled(phase)?;
                self.let_traced_go_on();
                self.look(world)?;
            }
        }
    }

    /// Fails when a task that should live is dead.
    fn look(&mut self, world: &World) -> Result<()> {
        let tasks = &world.checked.checkpoint.tasks;
        let mut watched = Vec::new();
        for ((task, slot), pidfd) in tasks.iter().zip(world.control.slots()).zip(&mut self.pidfds) {
            if task.alive().is_none() || slot.born.load(Ordering::SeqCst) == 0 {
                continue;
            }
            if pidfd.is_none() {
                *pidfd = Pid::from_raw(task.pid).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok());
            }
            match pidfd {
                None => return Err(died(world, task.pid)),
                Some(fd) => watched.push((task.pid, &*fd)),
            }
        }
        let mut fds: Vec<PollFd<'_>> = watched.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::IN)).collect();
        if poll(&mut fds, Some(&rustix::time::Timespec::default())).is_ok_and(|n| n > 0)
            && let Some(at) = fds.iter().position(|fd| !fd.revents().is_empty())
        {
            return Err(died(world, watched[at].0));
        }
        // The root itself may have died before it said anything.
        if Pid::from_raw(self.root).is_none_or(|p| test_kill_process(p).is_err()) {
            return Err(died(world, self.root));
        }
        Ok(())
    }

    /// Signals stop a traced process, SIGCONT even when it is blocked and among those that are to wait; none means anything to a task
    /// under construction.
    fn let_traced_go_on(&self) {
        self.traced.iter().for_each(|t| t.swallow_stops());
    }

    /// Kills every task and waits until they are gone. The coordinator has become the parent of orphans before.
    pub fn take_down(&self, world: &World) {
        let slots = world.control.slots();
        let tasks = &world.checked.checkpoint.tasks;
        let born = || tasks.iter().zip(slots).filter(|(_, s)| s.born.load(Ordering::SeqCst) != 0).map(|(t, _)| t.pid);
        let pids = || std::iter::once(self.root).chain(born()).filter_map(Pid::from_raw);
        let until = Instant::now() + TAKE_DOWN;
        loop {
            let mut left = false;
            for pid in pids() {
                if kill_process(pid, Signal::KILL).is_ok() {
                    let number = pid.as_raw_nonzero().get();
                    reap_threads(number);
                    spawn::reap_if_dead(number);
                    // Another's child is dead when it is a zombie, and so is what that child leaves: its parent, or who has its
                    // orphans, collects it.
                    left |= !(world.root_parent != RootParent::Coordinator && is_zombie(number));
                }
            }
            if !left || Instant::now() > until {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A process is not dead for its parent before the tracer of its threads, this process, has waited for each.
fn reap_threads(pid: i32) {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        if let Some(tid) = thread.file_name().to_str().and_then(|n| n.parse().ok()).filter(|tid| *tid != pid) {
            spawn::reap_if_dead(tid);
        }
    }
}

/// The task `pid` is dead: what it has said about that, if anything.
fn died(world: &World, pid: i32) -> Error {
    let control = world.control.get();
    if control.failed.load(Ordering::SeqCst) == 2 {
        return failure::read(control);
    }
    Error::new(Phase::Fork, "task", "it died while it was being restored").pid(pid)
}

fn is_zombie(pid: i32) -> bool {
    stat_of(pid).is_ok_and(|stat| stat.is_dead())
}
