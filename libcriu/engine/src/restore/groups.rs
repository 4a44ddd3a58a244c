//! Sessions and process groups, which each task enters by itself: also those whose leader is gone.

use std::sync::atomic::Ordering;
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
    if world.checked.kin.groups[index] == Group::Lead && world.checked.kin.sessions[index] != Session::Lead {
        set_group(0).map_err(|e| Error::os(Phase::Fork, "process group", "setpgid", e))?;
    }
    let is_lost = matches!(world.checked.kin.sessions[index], Session::Lost { .. });
    if matches!(world.checked.kin.groups[index], Group::Lead | Group::Inherit) && !is_lost {
        grouped(world, index);
    }
    Ok(())
}

fn set_group(group: i32) -> std::io::Result<()> {
    Ok(rustix::process::setpgid(None, rustix::process::Pid::from_raw(group))?)
}

fn grouped(world: &World, index: usize) {
    let slot = &world.control.slots()[index];
    slot.grouped.store(1, Ordering::SeqCst);
    SharedControl::wake(&slot.grouped);
}

fn await_group_of(world: &World, other: usize) {
    let slot = &world.control.slots()[other];
    while slot.grouped.load(Ordering::SeqCst) == 0 {
        SharedControl::wait(&slot.grouped, 0, Duration::from_secs(1));
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
    let wait_for = |other: usize| await_group_of(world, other);
    let there = || group_of(None).is_ok_and(|group| rustix::process::Pid::as_raw(group) == task.pgid);
    let join = |group: i32| {
        if there() { Ok(()) } else { set_group(group) }
            .map_err(|e| Error::os(Phase::Fork, "process group", "setpgid", e))
    };
    match world.checked.kin.groups[index] {
        Group::Lead | Group::Inherit => {}
        Group::Join { leader } => {
            wait_for(leader);
            join(task.pgid)?;
        }
        Group::JoinMember { member, group } => {
            wait_for(member);
            join(group)?;
        }
        Group::Lost { .. } if there() => {}
        Group::Lost { leader } => make_lost_group(leader)?,
    }
    match world.checked.kin.sessions[index] {
        Session::Lost { leader } => detach_from_lost_leader(world, index, leader),
        _ => {
            grouped(world, index);
            Ok(())
        }
    }
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
        Ok(0) => loop {
            // Ended by its parent, or with it.
            spawn::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).ok();
            std::thread::sleep(Duration::from_secs(1));
        },
        Ok(pid) => {
            let child = rustix::process::Pid::from_raw(pid);
            let result =
                rustix::process::setpgid(child, child).map_err(|e| failed("setpgid", e.into())).and_then(|()| f());
            if let Some(child) = child {
                rustix::process::kill_process(child, rustix::process::Signal::KILL).ok();
            }
            spawn::reap(pid);
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
