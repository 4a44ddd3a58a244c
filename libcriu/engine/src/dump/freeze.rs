//! Freeze: stops every thread of every task of the tree, and looks for new ones until there are none.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use criu_compel::{Kind, SeizedTask, Seizing};

use crate::error::{Error, Phase, Result};
use crate::options::Options;
use crate::proc::{ProcDir, Stat};
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
}

/// The whole tree, stopped. The root stands first, every task behind its parent.
#[derive(Debug)]
pub(super) struct Frozen {
    pub tasks: Vec<FrozenTask>,
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
            above: ancestors(),
            known: HashSet::new(),
            tasks: Vec::new(),
            deadline: since + timeout,
        };
        walk.check_root()?;
        walk.take(&[options.pid], operator)?;
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
            walk.take(&found, operator)?;
        }
        let freezing = since.elapsed();
        log::info!("Froze {} tasks in {} us", walk.tasks.len(), freezing.as_micros());
        Ok(Frozen { tasks: walk.tasks, since, freezing })
    }
}

struct Walk {
    root: i32,
    /// The engine and its ancestors.
    above: Vec<i32>,
    known: HashSet<i32>,
    tasks: Vec<FrozenTask>,
    deadline: Instant,
}

impl Walk {
    fn check_root(&self) -> Result<()> {
        let no_such =
            || Error::new(Phase::Freeze, "task", "there is no such process").pid(self.root).errno(libc::ESRCH);
        if self.root <= 0 {
            return Err(no_such());
        }
        if self.above.first() == Some(&self.root) {
            return Err(Error::new(Phase::Freeze, "task", "the engine cannot dump itself").pid(self.root));
        }
        let dir = ProcDir::open(self.root).map_err(|_| no_such())?;
        let stat = dir.stat().map_err(|_| no_such())?;
        // /proc also opens the number of a thread.
        let leader = dir.status().map_err(|_| no_such())?.tgid;
        if leader != self.root {
            return Err(Error::new(Phase::Freeze, "task", format!("this is a thread of process {leader}"))
                .pid(self.root)
                .errno(libc::ESRCH)
                .hint(format!("dump process {leader}")));
        }
        match stat.state {
            b'Z' if stat.threads <= 1 => {
                Err(Error::new(Phase::Freeze, "task", "it is a zombie").pid(self.root).errno(libc::ESRCH))
            }
            _ => Ok(()),
        }
    }

    /// Children not known yet of the tasks from index `first` on.
    fn children(&mut self, first: usize) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        for task in &self.tasks[first..] {
            if task.seized.is_none() {
                continue;
            }
            let children = pstree::children(&task.dir)
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

    /// Stops tasks: tells all of them first, then waits for each.
    fn take(&mut self, pids: &[i32], operator: &mut dyn Operator) -> Result<()> {
        self.known.extend(pids);
        let mut told = Vec::with_capacity(pids.len());
        for &pid in pids {
            told.push((pid, self.start(pid)?));
        }
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
        match Seizing::start(pid) {
            Ok(seizing) => Ok(Started::Told(seizing)),
            Err(e) if e.kind == Kind::Zombie => Ok(Started::Zombie),
            Err(e) if e.kind == Kind::Gone && pid != self.root => Ok(Started::Gone),
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
        }
        let state = match &seized {
            None => TaskState::Zombie(stat.exit_code),
            Some(s) => s.stopped_by().map_or(TaskState::Alive, TaskState::Stopped),
        };
        self.tasks.push(FrozenTask { pid, dir, stat, state, seized });
        Ok(())
    }
}

enum Started {
    Told(Seizing),
    Zombie,
    Gone,
}

fn refusal(pid: i32, e: criu_compel::Error) -> Error {
    let error = Error::new(Phase::Freeze, "task", e.to_string()).pid(pid);
    match e.kind {
        Kind::Gone | Kind::Zombie => error.errno(libc::ESRCH),
        Kind::Traced { tracer } => error.hint(format!("detach process {tracer} from it first")),
        Kind::NotPermitted => error.errno(libc::EPERM).hint("run the engine as root or with CAP_SYS_PTRACE"),
        Kind::InVfork | Kind::Unresponsive => error.hint("try again later, or allow more time with --timeout"),
        _ => error,
    }
}

/// The engine and its ancestors, itself first.
fn ancestors() -> Vec<i32> {
    let mut above = vec![std::process::id() as i32];
    while let Some(&last) = above.last() {
        match ProcDir::open(last).and_then(|d| d.stat()) {
            Ok(stat) if stat.ppid > 0 && !above.contains(&stat.ppid) => above.push(stat.ppid),
            _ => break,
        }
    }
    above
}
