//! Freeze: stops every thread of every task of the tree, and looks for new ones until there are none.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use criu_compel::{Kind, SeizedTask, Seizing, TracerRights};

use super::alike::Alike;
use crate::error::{Error, Phase, Result};
use crate::namespace::Namespaces;
use crate::options::Options;
use crate::proc::{ProcDir, Stat, ancestry, stat_of};
use crate::progress::Operator;
use crate::pstree::{self, TaskState};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A task of the frozen tree.
#[derive(Debug)]
pub(super) struct FrozenTask {
    pub pid: i32,
    /// Of its first living thread.
    pub dir: ProcDir,
    pub stat: Stat,
    pub state: TaskState,
    /// `None` for a zombie.
    pub seized: Option<SeizedTask>,
    /// Of its many threads, as they were when it was last looked for their children.
    pub alike: Option<Alike>,
}

/// The whole tree, stopped. The root stands first, every task behind its parent.
#[derive(Debug)]
pub(super) struct Frozen {
    pub tasks: Vec<FrozenTask>,
    /// The engine's own, with which those of the tasks are compared.
    pub namespaces: io::Result<Namespaces>,
    pub since: Instant,
    pub freezing: Duration,
}

impl Frozen {
    /// Stops the tree below `options.pid`.
    ///
    /// # Errors
    /// ESRCH when there is no such process; a task that is traced, in uninterruptible sleep for too long, or not to be touched.
    pub fn freeze(options: &Options, operator: &mut dyn Operator) -> Result<Frozen> {
        let since = Instant::now();
        let timeout =
            options.msg.timeout.filter(|t| *t != 0).map_or(DEFAULT_TIMEOUT, |t| Duration::from_secs(t.into()));
        let mut walk = Walk {
            root: options.pid,
            above: Vec::new(),
            known: HashSet::new(),
            tasks: Vec::new(),
            rights: TracerRights::own(),
            deadline: since + timeout,
        };
        let root = walk.check_root()?;
        let told = walk.tell(&[options.pid])?;
        // While the root comes to a stop.
        let namespaces = Namespaces::of_engine();
        walk.above = ancestry(std::process::id() as i32, root.start_time);
        walk.wait(told, operator)?;
        // Children of a stopped task can be no more than reparented to it; that takes a running descendant, so when a look
        // at all of them finds nobody new, nobody is left.
        let mut fresh = 0;
        loop {
            let mut found = walk.children(fresh)?;
            if found.is_empty() && fresh > 0 {
                found = walk.children(0)?;
            }
            if found.is_empty() {
                break;
            }
            fresh = walk.tasks.len();
            let told = walk.tell(&found)?;
            walk.wait(told, operator)?;
        }
        let freezing = since.elapsed();
        log::info!("Froze {} tasks in {} us", walk.tasks.len(), freezing.as_micros());
        Ok(Frozen { tasks: walk.tasks, namespaces, since, freezing })
    }
}

struct Walk {
    root: i32,
    /// The engine and its ancestors, as far as they can be below the root.
    above: Vec<i32>,
    known: HashSet<i32>,
    tasks: Vec<FrozenTask>,
    rights: TracerRights,
    deadline: Instant,
}

impl Walk {
    fn check_root(&self) -> Result<Stat> {
        let no_such =
            || Error::new(Phase::Freeze, "task", "there is no such process").pid(self.root).errno(libc::ESRCH);
        if self.root <= 0 {
            return Err(no_such());
        }
        if self.root == std::process::id() as i32 {
            return Err(Error::new(Phase::Freeze, "task", "the engine cannot dump itself").pid(self.root));
        }
        let stat = stat_of(self.root).map_err(|_| no_such())?;
        match stat.state {
            b'Z' if stat.threads <= 1 => {
                Err(Error::new(Phase::Freeze, "task", "it is a zombie").pid(self.root).errno(libc::ESRCH))
            }
            _ => Ok(stat),
        }
    }

    /// Why the root has no pidfd: /proc also shows what has the number of a thread.
    fn thread_of_another(&self) -> Option<Error> {
        let leader = ProcDir::open(self.root).and_then(|d| d.status()).ok()?.tgid;
        (leader != self.root).then(|| {
            Error::new(Phase::Freeze, "task", format!("this is a thread of process {leader}"))
                .pid(self.root)
                .errno(libc::ESRCH)
                .hint(format!("dump process {leader}"))
        })
    }

    /// Children not known yet of the tasks from index `first` on.
    fn children(&mut self, first: usize) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        for task in &mut self.tasks[first..] {
            let Some(seized) = &task.seized else { continue };
            if !seized.leader_is_dead() {
                task.alike = Alike::of(task.pid, seized.threads());
            }
            let tids: Vec<i32> = match &task.alike {
                Some(alike) => alike.threads.iter().filter(|t| t.has_children).map(|t| t.tid).collect(),
                None => seized.threads().iter().map(|t| t.tid).collect(),
            };
            let children = pstree::children(&task.dir, tids.into_iter())
                .map_err(|e| Error::os(Phase::Freeze, "children", "reading /proc", e).pid(task.pid))?;
            for child in children {
                if let Some(at) = self.above.iter().position(|a| *a == child) {
                    // The engine itself is left out by `children`; what stands between it and the tree cannot be.
                    debug_assert!(at > 0);
                    return Err(Error::new(Phase::Freeze, "task", "the engine is a descendant of this task")
                        .pid(child)
                        .hint("start the engine outside the tree that it dumps"));
                }
                if self.known.insert(child) {
                    found.push(child);
                }
            }
        }
        Ok(found)
    }

    /// Tells tasks to stop, all of them before any is waited for.
    fn tell(&mut self, pids: &[i32]) -> Result<Vec<(i32, Started)>> {
        self.known.extend(pids);
        pids.iter().map(|&pid| Ok((pid, self.start(pid)?))).collect()
    }

    fn wait(&mut self, told: Vec<(i32, Started)>, operator: &mut dyn Operator) -> Result<()> {
        for (pid, started) in told {
            operator.check_cancelled(Phase::Freeze)?;
            match started {
                Started::Gone => {}
                Started::Zombie => self.add(pid, None)?,
                Started::Told(seizing) => match self.finish(pid, seizing)? {
                    Some(seized) => self.add(pid, Some(seized))?,
                    None => self.add_dead(pid)?,
                },
            }
        }
        Ok(())
    }

    fn start(&self, pid: i32) -> Result<Started> {
        match Seizing::start(pid, self.rights) {
            Ok(seizing) => Ok(Started::Told(seizing)),
            Err(e) if e.kind == Kind::Zombie => Ok(Started::Zombie),
            Err(e) if e.kind == Kind::Gone && pid != self.root => Ok(Started::Gone),
            Err(e) if pid == self.root => Err(self.thread_of_another().unwrap_or_else(|| refusal(pid, e))),
            Err(e) => Err(refusal(pid, e)),
        }
    }

    /// `None` when the task has died meanwhile.
    fn finish(&self, pid: i32, seizing: Seizing) -> Result<Option<SeizedTask>> {
        let mut outcome = seizing.finish();
        loop {
            match outcome {
                Ok(seized) => return Ok(Some(seized)),
                Err(e) if matches!(e.kind, Kind::Gone | Kind::Zombie) && pid != self.root => return Ok(None),
                // It goes on as soon as its child has called execve or ended.
                Err(e) if e.kind == Kind::InVfork && Instant::now() < self.deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                    outcome = SeizedTask::seize(pid);
                }
                Err(e) => return Err(refusal(pid, e)),
            }
        }
    }

    fn add_dead(&mut self, pid: i32) -> Result<()> {
        match ProcDir::open(pid).and_then(|d| d.stat()) {
            Ok(stat) if stat.state == b'Z' => self.add(pid, None),
            // Its parent has waited for it before it was stopped.
            _ => Ok(()),
        }
    }

    fn add(&mut self, pid: i32, seized: Option<SeizedTask>) -> Result<()> {
        let failed = |e| Error::os(Phase::Freeze, "task", "reading /proc/PID/stat", e).pid(pid);
        let mut dir = ProcDir::open(pid).map_err(failed)?;
        let mut stat = dir.stat().map_err(failed)?;
        // With a dead main thread went what /proc/PID shows of the process: another thread has it.
        if let Some(thread) = seized.as_ref().filter(|s| s.leader_is_dead()).and_then(|s| s.threads().first()) {
            let leader = stat;
            dir = ProcDir::open(thread.tid).map_err(failed)?;
            stat = dir.stat().map_err(failed)?;
            (stat.comm, stat.flags, stat.exit_code) = (leader.comm, leader.flags, leader.exit_code);
            stat.exit_signal = leader.exit_signal;
        }
        let state = match &seized {
            None => TaskState::Zombie(stat.exit_code),
            Some(s) => s.stopped_by().map_or(TaskState::Alive, TaskState::Stopped),
        };
        self.tasks.push(FrozenTask { pid, dir, stat, state, seized, alike: None });
        Ok(())
    }
}

enum Started {
    Told(Seizing),
    Zombie,
    Gone,
}

/// Says which right is missing, or that there is none to be had.
fn not_permitted(pid: i32, error: Error) -> Error {
    const PF_KTHREAD: u32 = 0x0020_0000;
    if ProcDir::open(pid).and_then(|dir| dir.stat()).is_ok_and(|stat| stat.flags & PF_KTHREAD != 0) {
        let cause = "it is a thread of the kernel, without a program that could be saved";
        return Error::new(Phase::Freeze, "task", cause).pid(pid).hint("name a process that runs a program");
    }
    if may_trace() {
        error.hint(
            "the kernel lets nobody trace it, or a security module or another user namespace keeps this engine from it",
        )
    } else {
        error.hint("run the engine as root or with CAP_SYS_PTRACE")
    }
}

fn may_trace() -> bool {
    const CAP_SYS_PTRACE: u32 = 19;
    let status = ProcDir::open(std::process::id() as i32).and_then(|dir| dir.status());
    status.is_ok_and(|status| status.cap_eff >> CAP_SYS_PTRACE & 1 != 0)
}

fn refusal(pid: i32, e: criu_compel::Error) -> Error {
    let error = Error::new(Phase::Freeze, "task", e.to_string()).pid(pid);
    match e.kind {
        Kind::Gone | Kind::Zombie => error.errno(libc::ESRCH),
        Kind::Traced { tracer } => error.hint(format!("detach process {tracer} from it first")),
        Kind::NotPermitted => not_permitted(pid, error).errno(libc::EPERM),
        Kind::InVfork | Kind::Unresponsive => error.hint("try again later, or allow more time with --timeout"),
        _ => error,
    }
}
