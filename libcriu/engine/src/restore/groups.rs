//! Sessions and process groups, which each task enters by itself: also those whose leader is gone.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::kin::{Group, Session};
use super::task::fork_failed;
use super::world::World;
use crate::error::{Error, Phase, Result};
use crate::sys::control::SharedControl;
use crate::sys::process::group_of;
use crate::sys::spawn::{self, Kinship};
use crate::sys::tty::take_as_controlling;

/// Before there are children: they inherit its session, its terminal, and its group as far as it leads one.
pub(super) fn enter_session(world: &World, index: usize) -> Result<()> {
    if world.checked.kin.sessions[index] == Session::Lead {
        rustix::process::setsid().map_err(|e| Error::os(Phase::Fork, "session", "setsid", e))?;
        if let Some(nice) = world.checked.checkpoint.tasks[index].core.autogroup_nice {
            match std::fs::write("/proc/self/autogroup", nice.to_string()) {
                // A kernel that forms no groups of sessions has no nice values for them.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                wrote => {
                    wrote.map_err(|e| Error::os(Phase::Fork, "autogroup", "writing /proc/self/autogroup", e))?;
                }
            }
        }
        // Before there are children, which inherit it.
        if let Some((terminal, _)) = world.files.controlling(world.checked.checkpoint.tasks[index].pid) {
            take_as_controlling(terminal)
                .map_err(|e| Error::os(Phase::Fork, "controlling terminal", "ioctl TIOCSCTTY", e))?;
        }
    }
    if world.checked.kin.leads(index) {
        if world.checked.kin.sessions[index] != Session::Lead {
            set_group(0).map_err(|e| Error::os(Phase::Fork, "process group", "setpgid", e))?;
        }
        post(&world.control.slots()[index].leads);
    }
    let is_lost = matches!(world.checked.kin.sessions[index], Session::Lost { .. });
    let is_there = match world.checked.kin.groups[index] {
        Group::Lead => true,
        Group::Inherit => !world.checked.kin.any_has_left(),
        _ => false,
    };
    if is_there && !is_lost {
        grouped(world, index);
    }
    Ok(())
}

fn set_group(group: i32) -> std::io::Result<()> {
    Ok(rustix::process::setpgid(None, rustix::process::Pid::from_raw(group))?)
}

fn grouped(world: &World, index: usize) {
    post(&world.control.slots()[index].grouped);
}

pub(super) fn await_group_of(world: &World, other: usize) {
    wait(&world.control.slots()[other].grouped);
}

fn post(word: &AtomicU32) {
    word.store(1, Ordering::SeqCst);
    SharedControl::wake(word);
}

fn wait(word: &AtomicU32) {
    while word.load(Ordering::SeqCst) == 0 {
        SharedControl::wait(word, 0, Duration::from_secs(1));
    }
}

/// As the leader of a session with a terminal: gives the terminal to the group that had it.
pub(super) fn bring_to_foreground(world: &World, index: usize) -> Result<()> {
    let tasks = &world.checked.checkpoint.tasks;
    let task = &tasks[index];
    if world.checked.kin.sessions[index] != Session::Lead {
        return Ok(());
    }
    let Some((terminal, group)) = world.files.controlling(task.pid) else { return Ok(()) };
    let Some(foreground) = rustix::process::Pid::from_raw(group) else { return Ok(()) };
    let set = || {
        rustix::termios::tcsetpgrp(terminal, foreground)
            .map_err(|e| Error::os(Phase::Fork, format!("foreground group {group}"), "ioctl TIOCSPGRP", e))
    };
    // In the background this signal would stop it; it is blocked, as all are.
    match tasks.iter().position(|t| t.pgid == group && t.sid == task.pid) {
        Some(member) => {
            await_group_of(world, member);
            set()
        }
        // The shell has not seen yet that the group has ended.
        None => with_lost_group(group, set),
    }
}

/// Joins the group that it neither leads nor has inherited.
pub(super) fn enter_group(world: &World, index: usize) -> Result<()> {
    let task = &world.checked.checkpoint.tasks[index];
    let holder = if world.checked.kin.has_left(index) { Some(hold_group(world)?) } else { None };
    let there = || group_of(None).is_ok_and(|group| rustix::process::Pid::as_raw(group) == task.pgid);
    let join = |group: i32| {
        if there() { Ok(()) } else { set_group(group) }
            .map_err(|e| Error::os(Phase::Fork, "process group", "setpgid", e))
    };
    match world.checked.kin.groups[index] {
        Group::Inherit if world.checked.kin.any_has_left() => return_to_callers_group(world)?,
        Group::Lead | Group::Inherit => {}
        Group::Join { leader } => {
            wait(&world.control.slots()[leader].leads);
            join(task.pgid)?;
        }
        Group::JoinMember { member, group } => {
            await_group_of(world, member);
            join(group)?;
        }
        Group::Lost { .. } if there() => {}
        Group::Lost { leader } => make_lost_group(leader)?,
    }
    match world.checked.kin.sessions[index] {
        Session::Lost { leader } => detach_from_lost_leader(world, index, leader)?,
        _ => grouped(world, index),
    }
    if let Some(holder) = holder {
        let tasks = world.checked.checkpoint.tasks.iter().enumerate();
        let members = tasks.filter(|(_, t)| t.pgid == task.pid).map(|(member, _)| member);
        // Twins are born into the group of their parent, a member.
        members.filter(|member| !world.twins.contains(*member)).for_each(|member| await_group_of(world, member));
        end(holder);
    }
    Ok(())
}

/// As one whose parent had left the group of who restores this, if only for a moment.
fn return_to_callers_group(world: &World) -> Result<()> {
    let failed = |e: std::io::Error| Error::os(Phase::Fork, "process group", "setpgid", e);
    let callers = group_of(rustix::process::Pid::from_raw(world.coordinator)).map_err(failed)?;
    if group_of(None).map_err(failed)? == callers {
        Ok(())
    } else {
        set_group(rustix::process::Pid::as_raw(callers)).map_err(failed)
    }
}

/// A short-lived child that keeps the group of this process when it leaves it and nobody else is there yet.
fn hold_group(world: &World) -> Result<i32> {
    let checked = &world.checked;
    let tasks = || checked.checkpoint.tasks.iter();
    let threads = tasks().filter_map(|t| t.alive()).flat_map(|a| a.threads.iter().map(|t| t.tid));
    let reserved: HashSet<i32> = tasks().flat_map(|t| [t.pid, t.pgid, t.sid]).chain(threads).collect();
    match spawn::fork_beside(|pid| reserved.contains(&pid)) {
        Ok(0) => sleep_until_killed(),
        Ok(pid) => Ok(pid),
        Err(e) => Err(Error::os(Phase::Fork, "process group", "clone3", e)),
    }
}

/// Ended by its parent, or with it.
fn sleep_until_killed() -> ! {
    loop {
        spawn::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).ok();
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn end(child: i32) {
    if let Some(child) = rustix::process::Pid::from_raw(child) {
        rustix::process::kill_process(child, rustix::process::Signal::KILL).ok();
    }
    spawn::reap(child);
}

/// A short-lived child with the pid of the leader that is gone makes the group.
fn make_lost_group(leader: i32) -> Result<()> {
    let failed = |e: rustix::io::Errno| Error::os(Phase::Fork, format!("process group {leader}"), "setpgid", e);
    with_lost_group(leader, || rustix::process::setpgid(None, rustix::process::Pid::from_raw(leader)).map_err(failed))
}

/// Runs `f` while there is a group whose leader is gone otherwise.
fn with_lost_group(leader: i32, f: impl FnOnce() -> Result<()>) -> Result<()> {
    let failed = |call: &str, e: std::io::Error| Error::os(Phase::Fork, format!("process group {leader}"), call, e);
    match spawn::fork_as(leader, Kinship::default()) {
        Ok(0) => sleep_until_killed(),
        Ok(pid) => {
            let child = rustix::process::Pid::from_raw(pid);
            let result =
                rustix::process::setpgid(child, child).map_err(|e| failed("setpgid", e.into())).and_then(|()| f());
            end(pid);
            result
        }
        Err(e) => Err(fork_failed(leader, e)),
    }
}

/// A child of a leader that ends now gets the parent it had; it must not die with the leader.
fn detach_from_lost_leader(world: &World, index: usize, leader: i32) -> Result<()> {
    let checked = &world.checked;
    let parent = checked.checkpoint.tasks[index].parent.map_or(0, |p| checked.checkpoint.tasks[p].pid);
    spawn::prctl(libc::PR_SET_PDEATHSIG, 0).map_err(|e| Error::os(Phase::Fork, "task", "prctl PR_SET_PDEATHSIG", e))?;
    grouped(world, index);
    let current = || rustix::process::getppid().map_or(0, |p| p.as_raw_nonzero().get());
    while current() == leader {
        std::thread::sleep(Duration::from_micros(100));
    }
    if current() != parent {
        return Err(Error::new(Phase::Fork, "task", format!("its parent became {} instead of {parent}", current())));
    }
    spawn::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)
        .map_err(|e| Error::os(Phase::Fork, "task", "prctl PR_SET_PDEATHSIG", e))
        .map(drop)
}
