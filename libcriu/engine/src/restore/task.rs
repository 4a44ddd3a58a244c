//! One task's way from its fork to the restorer, in the task's own process: session, memory, children, group, files, then
//! the jump. Whatever fails is written to the control page, and the coordinator takes everything down.

use std::fs;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::checkpoint::{Alive, Body, Checkpoint, Task};
use super::kin::{Group, Session};
use super::memory::{Inheritance, Memory};
use super::own::Setting;
use super::region;
use super::world::World;
use crate::error::{Error, Phase, Result};
use crate::sys::control::SharedControl;
use crate::sys::spawn::{self, Kinship};
use crate::sys::task_heap;
use crate::sys::tty::take_as_controlling;

/// Starts the task `index` as a child of this process. Returns in this process only.
pub(crate) fn fork(world: &mut World, index: usize, inheritance: Option<&Inheritance<'_>>) -> Result<i32> {
    let checked = world.checked.clone();
    let task = &checked.checkpoint.tasks[index];
    let shared = &checked.shared;
    let is_sibling = matches!(checked.kin.sessions[index], Session::Sibling { .. });
    let kinship = Kinship {
        as_sibling: index == 0 && world.root_is_sibling || is_sibling,
        shares_files: shared.files[index] != index,
        shares_fs: shared.fs[index] != index,
        // Whoever starts the root waits for it in the usual way.
        exit_signal: task.core.exit_signal.filter(|_| index != 0).map_or(libc::SIGCHLD, |signal| signal as i32),
    };
    let parent = match task.parent.filter(|_| is_sibling) {
        Some(parent) => checked.checkpoint.tasks[parent].pid,
        None => std::process::id() as i32,
    };
    match spawn::fork_as(task.pid, kinship) {
        Ok(0) => {
            task_heap::begin();
            run(world, index, parent, inheritance)
        }
        Ok(pid) => Ok(pid),
        Err(e) => Err(fork_failed(task.pid, e)),
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
    if index == 0 && world.root_is_sibling {
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
    // The child is to become this process's when the leader ends.
    spawn::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).map_err(|e| Error::os(Phase::Fork, "session", "prctl", e))?;
    match spawn::fork_as(leader, Kinship::default()) {
        Ok(0) => {
            let outcome = rustix::process::setsid()
                .map_err(|e| Error::os(Phase::Fork, "session", "setsid", e))
                .and_then(|_| fork(world, child, Some(inheritance)));
            match outcome {
                // Until the child is ready to be left.
                Ok(_) => {
                    while world.control.slots()[child].grouped.load(Ordering::SeqCst) == 0 {
                        SharedControl::wait(&world.control.slots()[child].grouped, 0, Duration::from_secs(1));
                    }
                }
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

fn enter_session(world: &World, index: usize) -> Result<()> {
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
fn bring_to_foreground(world: &World, index: usize) -> Result<()> {
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

fn enter_group(world: &World, index: usize) -> Result<()> {
    let task = &world.checked.checkpoint.tasks[index];
    let wait_for = |other: usize| await_group_of(world, other);
    let there = || rustix::process::getpgrp().as_raw_nonzero().get() == task.pgid;
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

/// Waits for the children that are to be dead; their SIGCHLD was delivered before the dump.
fn bury(checkpoint: &Checkpoint, task: &Task) -> Result<()> {
    for &c in &task.children {
        let child = &checkpoint.tasks[c];
        if matches!(child.body, Body::Dead { .. }) {
            spawn::wait_dead(child.pid).map_err(|e| Error::os(Phase::Fork, "zombie", "waitid", e).pid(child.pid))?;
        }
    }
    spawn::forget_sigchld();
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

/// Descriptors that the restorer needs, at numbers that nobody wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub exe: RawFd,
    /// The images directory, for a parent of twins.
    pub images: Option<RawFd>,
}

/// Opens what the task holds without descriptors, then puts its descriptors in place.
fn install_files(world: &mut World, index: usize, alive: &Alive) -> Result<Kept> {
    let exe = world.files.hold(alive.mm.exe_file_id).map_err(|mut e| {
        e.object = format!("executable ({})", e.object);
        e
    })?;
    let cwd = directory(world, alive.fs.cwd_id, "current directory")?;
    let root = directory(world, alive.fs.root_id, "root directory")?;
    let mut images = None;
    if world.twins.has(index) {
        images = Some(alive.pages.directory()?.into_raw_fd());
    }
    // The log's descriptor goes, too: nothing may be written to whatever takes its number.
    log::set_max_level(log::LevelFilter::Off);
    // From here on they are numbers, moved when a descriptor of the task wants theirs.
    let own = [exe, cwd, root].map(OwnedFd::into_raw_fd);
    let checked = world.checked.clone();
    let (files_first, fs_first) = (checked.shared.files[index], checked.shared.fs[index]);
    if files_first != index || fs_first != index {
        offer(world, index, own);
    }
    let kept = if files_first == index {
        install_for_all(world, index, alive, own, &mut images)?
    } else {
        await_table(world, index)
    };
    let [exe, cwd, root] = kept;
    let (cwd, root) = (spawn::own_descriptor(cwd), spawn::own_descriptor(root));
    if fs_first == index {
        for &member in checked.shared.fs_members(index) {
            await_files(world, member, 1);
        }
        enter_directories(alive, &cwd, &root)?;
    }
    Ok(Kept { exe, images })
}

/// Tells the task whose table or directories this one shares that it is done with paths, and which descriptors it needs.
fn offer(world: &World, index: usize, own: [RawFd; 3]) {
    let slot = &world.control.slots()[index];
    for (to, fd) in slot.kept.iter().zip(own) {
        to.store(fd as u32, Ordering::SeqCst);
    }
    slot.files.store(1, Ordering::SeqCst);
    SharedControl::wake(&slot.files);
}

fn await_files(world: &World, index: usize, state: u32) {
    let slot = &world.control.slots()[index];
    loop {
        let now = slot.files.load(Ordering::SeqCst);
        if now >= state {
            return;
        }
        SharedControl::wait(&slot.files, now, Duration::from_secs(1));
    }
}

/// Waits until the table is in place; the numbers of the descriptors offered.
fn await_table(world: &World, index: usize) -> [RawFd; 3] {
    await_files(world, index, 2);
    world.control.slots()[index].kept.each_ref().map(|n| n.load(Ordering::SeqCst) as RawFd)
}

/// Puts the table in place, for everybody who shares it.
fn install_for_all(
    world: &mut World,
    index: usize,
    alive: &Alive,
    own: [RawFd; 3],
    images: &mut Option<RawFd>,
) -> Result<[RawFd; 3]> {
    let checked = world.checked.clone();
    let members = checked.shared.files_members(index);
    let mut keep = own.to_vec();
    for &m in members {
        await_files(world, m, 1);
        keep.extend(world.control.slots()[m].kept.iter().map(|n| n.load(Ordering::SeqCst) as RawFd));
    }
    keep.extend(*images);
    world.files.install(alive.ids.files_id, &mut keep)?;
    if images.is_some() {
        *images = keep.pop();
    }
    for (m, fds) in members.iter().zip(keep[3..].chunks(3)) {
        let slot = &world.control.slots()[*m];
        for (to, fd) in slot.kept.iter().zip(fds) {
            to.store(*fd as u32, Ordering::SeqCst);
        }
        slot.files.store(2, Ordering::SeqCst);
        SharedControl::wake(&slot.files);
    }
    Ok([keep[0], keep[1], keep[2]])
}

fn directory(world: &mut World, id: u32, what: &str) -> Result<OwnedFd> {
    world.files.hold(id).map_err(|mut e| {
        e.object = format!("{what} ({})", e.object);
        e
    })
}

fn enter_directories(alive: &Alive, cwd: &OwnedFd, root: &OwnedFd) -> Result<()> {
    let failed =
        |what: &'static str, call: &'static str| move |e: rustix::io::Errno| Error::os(Phase::Files, what, call, e);
    let stat = rustix::fs::fstat(root.as_fd()).map_err(failed("root directory", "fstat"))?;
    let now = rustix::fs::stat("/").map_err(failed("root directory", "stat"))?;
    if (stat.st_dev, stat.st_ino) != (now.st_dev, now.st_ino) {
        rustix::process::fchdir(root).map_err(failed("root directory", "fchdir"))?;
        rustix::process::chroot(".").map_err(failed("root directory", "chroot"))?;
    }
    rustix::process::fchdir(cwd).map_err(failed("current directory", "fchdir"))?;
    if let Some(umask) = alive.fs.umask {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
    }
    Ok(())
}
