//! One task's way from its fork to the restorer, in the task's own process: session, memory, children, group, files, then
//! the jump. Whatever fails is written to the control page, and the coordinator takes everything down.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::checkpoint::{Alive, Body, Checkpoint, Task};
use super::groups::{await_group_of, bring_to_foreground, enter_group, enter_session};
use super::kin::Session;
use super::memory::{Inheritance, Memory};
use super::own::Setting;
use super::region;
use super::table::install_files;
use super::world::{RootParent, World};
use crate::error::{Error, Phase, Result};
use crate::sys::control::SharedControl;
use crate::sys::spawn::{self, Kinship};
use crate::sys::task_heap;

/// Starts the task `index` as a child of this process. Returns in this process only.
pub(crate) fn fork(world: &mut World, index: usize, inheritance: Option<&Inheritance<'_>>) -> Result<i32> {
    let checked = world.checked.clone();
    let task = &checked.checkpoint.tasks[index];
    let shared = &checked.shared;
    let is_root = index == 0;
    let is_sibling = matches!(checked.kin.sessions[index], Session::Sibling { .. });
    let kinship = Kinship {
        as_sibling: is_root && world.root_parent == RootParent::Caller || is_sibling,
        shares_files: shared.files[index] != index,
        shares_fs: shared.fs[index] != index,
        // Whoever starts the root waits for it in the usual way.
        exit_signal: if is_root { libc::SIGCHLD } else { exit_signal(task) },
    };
    let parent = match task.parent.filter(|_| is_sibling) {
        Some(parent) => checked.checkpoint.tasks[parent].pid,
        None => std::process::id() as i32,
    };
    let forked = if is_root && world.root_parent == RootParent::Nobody {
        spawn::fork_orphan_as(task.pid, kinship)
    } else {
        spawn::fork_as(task.pid, kinship)
    };
    match forked {
        Ok(0) => {
            task_heap::begin();
            run(world, index, parent, inheritance)
        }
        Ok(pid) => Ok(pid),
        Err(e) => Err(fork_failed(task.pid, e)),
    }
}

/// By which the parent of a task is told of its end. That of a zombie was told before the dump: what would end or stop the
/// parent is left out.
fn exit_signal(task: &Task) -> i32 {
    let signal = task.core.exit_signal.map_or(libc::SIGCHLD, |signal| signal as i32);
    match task.body {
        Body::Dead { .. } if matches!(signal, libc::SIGKILL | libc::SIGSTOP) || !(0..=64).contains(&signal) => 0,
        _ => signal,
    }
}

pub(crate) fn fork_failed(pid: i32, e: std::io::Error) -> Error {
    let errno = e.raw_os_error().unwrap_or(0);
    let error = Error::os(Phase::Fork, "task", "clone3", e).pid(pid);
    match errno {
        libc::EEXIST => error.errno(errno).hint("the pid is taken: restore when it is free, or inside a pid namespace"),
        libc::EINVAL => error.hint("the pid is beyond this pid namespace's pid_max"),
        libc::EPERM => error.hint("choosing pids needs CAP_CHECKPOINT_RESTORE"),
        _ => error,
    }
}

fn run(world: &mut World, index: usize, parent: i32, inheritance: Option<&Inheritance<'_>>) -> ! {
    let checked = world.checked.clone();
    let task = &checked.checkpoint.tasks[index];
    let result = match &task.body {
        Body::Dead { status } => live_to_die(world, index, parent, *status),
        Body::Alive(alive) => become_task(world, index, parent, alive, inheritance),
    };
    let Err(e) = result;
    fail(&world.control, task.pid, e)
}

/// Says why and ends.
fn fail(control: &SharedControl, pid: i32, e: Error) -> ! {
    control.fail(pid, e.errno, &super::failure::encode(&e));
    spawn::exit_now(1)
}

/// Ties this process's life to its parent's.
fn live_with_parent(world: &World, index: usize, parent: i32) -> Result<()> {
    let counts = world.control.counts();
    if index == 0 && world.root_parent != RootParent::Coordinator {
        while counts.root_traced.load(Ordering::SeqCst) == 0 {
            if fs::metadata(format!("/proc/{}", world.coordinator)).is_err() {
                spawn::exit_now(1);
            }
            SharedControl::wait(&counts.root_traced, 0, Duration::from_millis(100));
        }
        return Ok(());
    }
    spawn::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)
        .map_err(|e| Error::os(Phase::Fork, "task", "prctl PR_SET_PDEATHSIG", e))?;
    // It may have died before.
    if rustix::process::getppid().map(|p| p.as_raw_nonzero().get()) != Some(parent) {
        spawn::exit_now(1);
    }
    Ok(())
}

/// Counts this task in; the last one wakes those who wait for all.
fn born(world: &World, index: usize) {
    let counts = world.control.counts();
    world.control.slots()[index].born.store(1, Ordering::SeqCst);
    if counts.born.fetch_add(1, Ordering::SeqCst) as usize + 1 == world.early_tasks() {
        counts.born_ns.store(spawn::monotonic_ns(), Ordering::SeqCst);
        SharedControl::wake(&counts.born);
    }
}

/// Waits until every task of the tree exists, but those that come last.
fn wait_for_all(world: &World) {
    let counts = world.control.counts();
    let all = world.early_tasks() as u32;
    loop {
        let now = counts.born.load(Ordering::SeqCst);
        if now == all {
            return;
        }
        SharedControl::wait(&counts.born, now, Duration::from_secs(1));
    }
}

/// A zombie: lives just long enough to be in its session and group.
fn live_to_die(world: &mut World, index: usize, parent: i32, status: i32) -> Result<std::convert::Infallible> {
    let checked = world.checked.clone();
    let task = &checked.checkpoint.tasks[index];
    live_with_parent(world, index, parent)?;
    enter_session(world, index)?;
    fork_siblings(world, index)?;
    set_comm(&task.core.comm);
    born(world, index);
    enter_group(world, index)?;
    let signal = status & 0x7f;
    if signal != 0 { spawn::die_by(signal) } else { spawn::exit_now(status >> 8 & 0xff) }
}

fn become_task(
    world: &mut World,
    index: usize,
    parent: i32,
    alive: &Alive,
    inheritance: Option<&Inheritance<'_>>,
) -> Result<std::convert::Infallible> {
    let checked = world.checked.clone();
    let (checkpoint, kin) = (&checked.checkpoint, &checked.kin);
    let task = &checkpoint.tasks[index];
    live_with_parent(world, index, parent)?;
    let is_early = |&&c: &&usize| kin.sessions[c] == Session::BeforeParentLeads;
    for &child in task.children.iter().filter(is_early) {
        fork(world, child, None)?;
    }
    enter_session(world, index)?;
    fork_siblings(world, index)?;
    born(world, index);
    let mut memory = Memory::build(world, alive, inheritance)?;
    let for_children = Inheritance {
        areas: &alive.layout.areas,
        pages: &alive.pages,
        placed: &memory.placed,
        policies: &alive.mm.policies,
    };
    let is_siblings = |c: usize| matches!(kin.sessions[c], Session::Sibling { .. });
    let twins = world.twins.clone();
    for &child in task.children.iter().filter(|&c| !is_early(&c) && !is_siblings(*c) && !twins.contains(*c)) {
        fork_child(world, child, &for_children)?;
    }
    memory.settle(alive)?;
    if index == 0 {
        world.ipc.settle()?;
    }
    enter_group(world, index)?;
    bring_to_foreground(world, index)?;
    bury(checkpoint, task)?;
    wait_for_all(world);
    write_own_proc_files(world, task)?;
    let kept = install_files(world, index, alive)?;
    region::enter(world, index, alive, memory, kept)
}

fn fork_child(world: &mut World, child: usize, inheritance: &Inheritance<'_>) -> Result<()> {
    let Session::Lost { leader } = world.checked.kin.sessions[child] else {
        return fork(world, child, Some(inheritance)).map(drop);
    };
    let checked = world.checked.clone();
    let of_this = |c: &&usize| checked.kin.sessions[**c] == Session::Lost { leader };
    let parent = checked.checkpoint.tasks[child].parent.map(|parent| &checked.checkpoint.tasks[parent]);
    let members: Vec<usize> = parent.iter().flat_map(|p| &p.children).filter(of_this).copied().collect();
    if members.first() != Some(&child) {
        // The first one's leader has made it.
        return Ok(());
    }
    // They are to become this process's when the leader ends.
    spawn::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).map_err(|e| Error::os(Phase::Fork, "session", "prctl", e))?;
    match spawn::fork_as(leader, Kinship::default()) {
        Ok(0) => {
            let outcome = rustix::process::setsid()
                .map_err(|e| Error::os(Phase::Fork, "session", "setsid", e))
                .and_then(|_| members.iter().try_for_each(|&member| fork(world, member, Some(inheritance)).map(drop)));
            match outcome {
                // Until they are ready to be left.
                Ok(()) => members.iter().for_each(|&member| await_group_of(world, member)),
                Err(e) => fail(&world.control, leader, e),
            }
            spawn::exit_now(0)
        }
        Ok(pid) => {
            spawn::reap(pid);
            Ok(())
        }
        Err(e) => Err(fork_failed(leader, e)),
    }
}

/// As the leader of a session: makes its members that have become children of this process's parent.
fn fork_siblings(world: &mut World, index: usize) -> Result<()> {
    let checked = world.checked.clone();
    if checked.kin.sessions[index] != Session::Lead {
        return Ok(());
    }
    let of_this = |way: &Session| *way == Session::Sibling { leader: index };
    for (sibling, _) in checked.kin.sessions.iter().enumerate().filter(|(_, way)| of_this(way)) {
        fork(world, sibling, None)?;
    }
    Ok(())
}

/// Waits for the children that are to be dead; their signals were delivered before the dump.
fn bury(checkpoint: &Checkpoint, task: &Task) -> Result<()> {
    let mut told = 1 << (libc::SIGCHLD - 1);
    for &c in &task.children {
        let child = &checkpoint.tasks[c];
        if matches!(child.body, Body::Dead { .. }) {
            let signal = exit_signal(child);
            told |= if signal > 0 { 1 << (signal - 1) } else { 0 };
            spawn::wait_dead(child.pid).map_err(|e| Error::os(Phase::Fork, "zombie", "waitid", e).pid(child.pid))?;
        }
    }
    spawn::forget_signals(told);
    Ok(())
}

fn set_comm(comm: &[u8]) {
    // A zombie's name is for human readers only.
    if let Ok(name) = std::ffi::CString::new(comm) {
        rustix::thread::set_name(&name).ok();
    }
}

/// What is set by writing to /proc: while the task still sees it.
fn write_own_proc_files(world: &World, task: &Task) -> Result<()> {
    let (settings, tc) = (&world.checked.own.settings, &task.core);
    if let Some(adj) = tc.oom_score_adj {
        settings.write(Setting::OomScoreAdj, &adj.to_string())?;
    }
    if let Some(uid) = tc.loginuid {
        settings.write(Setting::LoginUid, &uid.to_string())?;
    }
    if let Some(filter) = tc.coredump_filter {
        settings.write(Setting::CoredumpFilter, &format!("{filter:08x}"))?;
    }
    Ok(())
}
