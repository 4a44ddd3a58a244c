//! Puts processes into the stops they were in, each before its parent: whose call fetches the report, as it had.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use super::checkpoint::Task;
use super::region;
use super::resume::{TracedTask, failed, pid, remove_restorers};
use super::world::World;
use crate::error::Result;
use crate::sys::tracee::Tracee;
use crate::task::{signals, stop};

const P_PID: u64 = 1;

/// Stops those that were; their restorers are removed then. Whoever goes on without that its parent has heard of it does so now. All
/// threads are in event stops before and afterwards.
pub(super) fn enter(world: &World, tasks: &[TracedTask]) -> Result<()> {
    let all = &world.checked.checkpoint.tasks;
    let stopped = |index: usize| all[index].alive().and_then(|alive| alive.stopped);
    let concerned = |(index, threads, _): &&TracedTask| {
        !threads.is_empty() && (stopped(*index).is_some() || all[*index].core.continued())
    };
    let mut stops: Vec<&TracedTask> = tasks.iter().filter(concerned).collect();
    stops.sort_by_key(|traced| Reverse(depth(all, traced.0)));
    for traced in stops {
        let (index, threads, _) = traced;
        let task = &all[*index];
        let parent = task.parent.and_then(|parent| tasks.iter().find(|(index, ..)| *index == parent));
        let parent = parent.and_then(|(index, threads, _)| Some((*index, *threads.first()?)));
        match stopped(*index) {
            Some(signo) => {
                remove_restorers(world, std::slice::from_ref(&traced))?;
                stop(task, threads, stop::restore::signal(&task.core, signo))?;
            }
            // There is nobody to be told.
            None if parent.is_none() => continue,
            None => {
                stop(task, threads, libc::SIGSTOP)?;
                go_on(task, threads[0], instruction(world, *index))?;
            }
        }
        if let Some((parent, caller)) = parent {
            tell(&all[parent], caller, instruction(world, parent), task).map_err(failed(
                pid(world, parent),
                caller.tid,
                "waitid",
            ))?;
        }
    }
    Ok(())
}

/// Where the task's restorer has a system call.
fn instruction(world: &World, index: usize) -> u64 {
    world.control.slots()[index].region.load(Ordering::SeqCst) + region::syscall_offset()
}

fn stop(task: &Task, threads: &[Tracee], signo: i32) -> Result<()> {
    let (leader, others) = (threads[0], &threads[1..]);
    leader.enter_group_stop(signo).map_err(failed(task.pid, leader.tid, "the signal that stops it"))?;
    for t in others {
        t.join_group_stop().map_err(failed(task.pid, t.tid, "stopping along"))?;
    }
    Ok(())
}

/// Ends the stop it is in. On its way to a call it tells its parent.
fn go_on(task: &Task, caller: Tracee, instruction: u64) -> Result<()> {
    let process = rustix::process::Pid::from_raw(task.pid).ok_or(std::io::ErrorKind::InvalidInput.into());
    let sent = process.and_then(|pid| Ok(rustix::process::kill_process(pid, rustix::process::Signal::CONT)?));
    sent.map_err(failed(task.pid, caller.tid, "kill SIGCONT"))?;
    let mut called = caller.take_signal(instruction, libc::SIGCONT);
    // The stop has taken those away that waited.
    let threads = task.alive().map_or(&[][..], |alive| &alive.threads);
    let of_threads = threads.iter().map(|t| (Some(t.tid), t.core.signals_p.as_ref()));
    for (tid, queue) in of_threads.chain([(None, task.core.signals_s.as_ref())]) {
        for info in stop::restore::waiting(libc::SIGCONT, queue) {
            called = called.and_then(|()| caller.send(instruction, task.pid, tid, &info));
        }
    }
    called.map_err(failed(task.pid, caller.tid, "going on after a stop"))
}

/// What the parent has heard of the stop, and nothing else.
fn tell(parent: &Task, caller: Tracee, instruction: u64, child: &Task) -> std::io::Result<()> {
    if child.core.stop_reported() {
        let options = libc::WSTOPPED | libc::WNOHANG | libc::__WALL;
        let args = [P_PID, child.pid as u64, 0, options as u64, 0, 0];
        let ret = caller.call(instruction, libc::SYS_waitid as u64, args)?;
        if ret != 0 {
            log::warn!("pid {}: it will be told again that {} is stopped (waitid: {ret})", parent.pid, child.pid);
        }
    }
    // One that waits already has swallowed it. All signals are blocked: it has not been delivered.
    let own = parent.alive().and_then(|alive| alive.threads.iter().find(|t| t.tid == caller.tid));
    let queues = [parent.core.signals_s.as_ref(), own.and_then(|t| t.core.signals_p.as_ref())];
    if !queues.into_iter().any(|queue| signals::waits(libc::SIGCHLD, queue)) {
        caller.take_signal(instruction, libc::SIGCHLD)?;
    }
    Ok(())
}

/// How many ancestors it has here.
fn depth(tasks: &[Task], index: usize) -> usize {
    std::iter::successors(tasks[index].parent, |&at| tasks[at].parent).count()
}
