//! Puts processes into the stops they were in, each before its parent: whose call fetches the report, as it had.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use super::checkpoint::Task;
use super::region;
use super::resume::{TracedTask, failed, pid, remove_restorers};
use super::world::World;
use crate::error::Result;
use crate::sys::tracee::Tracee;
use crate::task::stop;

const P_PID: u64 = 1;

/// Stops those that were; their restorers are removed then. All threads are in event stops before and afterwards.
pub(super) fn enter(world: &World, tasks: &[TracedTask]) -> Result<()> {
    let all = &world.checked.checkpoint.tasks;
    let mut stops: Vec<(&TracedTask, i32)> = tasks
        .iter()
        .filter_map(|traced| Some((traced, all[traced.0].alive()?.stopped?)))
        .filter(|(traced, _)| !traced.1.is_empty())
        .collect();
    stops.sort_by_key(|(traced, _)| Reverse(depth(all, traced.0)));
    for (traced, signo) in stops {
        let (index, threads, _) = traced;
        let task = &all[*index];
        remove_restorers(world, std::slice::from_ref(&traced))?;
        let signo = stop::restore::signal(&task.core, signo);
        let (leader, others) = (threads[0], &threads[1..]);
        leader.enter_group_stop(signo).map_err(failed(task.pid, leader.tid, "the signal that stops it"))?;
        for t in others {
            t.join_group_stop().map_err(failed(task.pid, t.tid, "stopping along"))?;
        }
        let parent = task.parent.and_then(|parent| tasks.iter().find(|(index, ..)| *index == parent));
        if let Some((parent, threads, _)) = parent
            && let Some(caller) = threads.first()
        {
            let instruction = world.control.slots()[*parent].region.load(Ordering::SeqCst) + region::syscall_offset();
            tell(&all[*parent], *caller, instruction, task).map_err(failed(
                pid(world, *parent),
                caller.tid,
                "waitid",
            ))?;
        }
    }
    Ok(())
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
    if !stop::restore::has_sigchld(queues) {
        caller.take_signal(instruction, libc::SIGCHLD)?;
    }
    Ok(())
}

/// How many ancestors it has here.
fn depth(tasks: &[Task], index: usize) -> usize {
    std::iter::successors(tasks[index].parent, |&at| tasks[at].parent).count()
}
