//! Restore: load -> check -> plan -> fork -> files -> memory -> threads -> resume.
//!
//! `Checkpoint::load` reads, `Checkpoint::check` finds every obstacle, `World` holds what all tasks inherit. The root is
//! forked; each task builds itself and forks its children (`task`), and ends up in the restorer. The coordinator traces all
//! threads (`Traced`), lets them finish, gives them their final state (`Ready`) and lets go.

mod check;
pub(crate) mod checkpoint;
mod failure;
mod groups;
mod huge;
mod kin;
mod legacy;
mod load;
mod memory;
mod own;
mod own_exe;
mod place;
mod region;
mod resume;
mod stops;
mod table;
mod task;
mod threads;
mod twin;
mod watch;
mod world;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use criu_images::ImageDir;

use self::check::Checked;
use self::checkpoint::Checkpoint;
use self::resume::Traced;
use self::watch::Watch;
use self::world::{RootParent, World};
use crate::error::{Error, Phase, Result};
use crate::file::RestoreFiles;
use crate::options::Options;
use crate::progress::{Operator, Stage};
use crate::stats::RestoreStats;
use crate::sys::commit_guard::CommitGuard;
use crate::sys::inheritance::put_file_behind_heap;
use crate::sys::spawn;
use crate::sys::tracee::Tracee;

/// From so many tasks on it pays to make this process's memory cheap to inherit.
const MANY_TASKS: usize = 8;

/// What a finished restore tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// The root task's pid in the engine's pid namespace.
    pub pid: i32,
    pub stats: RestoreStats,
}

/// Restores the tree in the images directory. The calling process must be single-threaded.
///
/// # Errors
/// Whatever stood in the way; no task, mount or rule is then left.
pub fn restore(options: &Options, operator: &mut dyn Operator) -> Result<RestoreOutcome> {
    let start = Instant::now();
    operator.stage(Stage::PreRestore, None, None)?;
    operator.progress(Phase::Load, 0, 0);
    let fd = options.images_dir.as_fd().try_clone_to_owned();
    let images = Arc::new(ImageDir::new(fd.map_err(|e| Error::os(Phase::Load, "images directory", "dup", e))?));
    let checked = Checkpoint::load(&images)?.check(options)?;
    huge::check(&images, &checked)?;
    operator.check_cancelled(Phase::Plan)?;

    let tables = tables(&checked);
    let mut files = RestoreFiles::load(&images, options, &tables)?;
    files.assign_locks(|pid| {
        let task = checked.checkpoint.tasks.iter().find(|t| t.pid == pid)?;
        Some(task.alive()?.ids.files_id)
    })?;
    files.set_users(users(&checked));
    files.open_shared()?;
    for master in files.orphans() {
        if !operator.takes_descriptors() {
            let cause = "nobody takes the master of the tree's terminal";
            let hint = "restore over the RPC protocol or by the library, with notifications; or give a terminal with --inherit-fd";
            return Err(Error::new(Phase::Files, "--orphan-pts-master", cause).hint(hint));
        }
        operator.stage(Stage::OrphanPtsMaster, None, Some(master.as_fd()))?;
    }
    let living = checked.checkpoint.tasks.iter().filter_map(|t| t.alive());
    files.open_held(living.flat_map(|a| [a.mm.exe_file_id, a.fs.cwd_id, a.fs.root_id]));
    let mut world = World::new(&images, checked, files, options)?;
    let orphans = Orphans::adopt();
    let outcome = run(&mut world, operator, start);
    drop(orphans);
    world.leave();
    outcome
}

/// The descriptor tables in the order of their first users, each with the number of tasks that use it.
fn tables(checked: &Checked) -> Vec<(u32, usize)> {
    let firsts = &checked.shared.files;
    let tasks = checked.checkpoint.tasks.iter().enumerate().filter(|(i, _)| firsts[*i] == *i);
    tasks.filter_map(|(i, t)| Some((t.alive()?.ids.files_id, 1 + checked.shared.files_members(i).len()))).collect()
}

/// The first task that uses each of the tables.
fn users(checked: &Checked) -> Vec<i32> {
    let firsts = &checked.shared.files;
    let tasks = checked.checkpoint.tasks.iter().enumerate().filter(|(i, t)| firsts[*i] == *i && t.alive().is_some());
    tasks.map(|(_, t)| t.pid).collect()
}

fn run(world: &mut World, operator: &mut dyn Operator, start: Instant) -> Result<RestoreOutcome> {
    let expected = world.checked.checkpoint.tasks.iter().filter(|t| t.alive().is_some()).count();
    world.control.get().expected.store(expected as u32, Ordering::SeqCst);
    operator.progress(Phase::Fork, 0, expected as u64);
    if expected - world.twins.count() >= MANY_TASKS
        && let Err(e) = put_file_behind_heap()
    {
        log::debug!("memory is inherited as it is: {e}");
    }
    log::debug!("forking");
    let forked = Instant::now();
    let forked_ns = spawn::monotonic_ns();
    // Tasks are born with everything blocked, so that nothing reaches them before they are what they were.
    let mask = spawn::block_signals();
    let root = task::fork(world, 0, None);
    spawn::set_signal_mask(mask);
    let root = root?;
    operator.root_forked(root);
    let mut watch = Watch::new(world, root, None);
    let result = drive(world, &mut watch, root, operator);
    if let Err(e) = result {
        watch.take_down(world);
        return Err(e);
    }
    world.files.finished();
    let counts = world.control.counts();
    let count = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::SeqCst);
    let (same, own) = world.twins.pages();
    let stats = RestoreStats {
        pages_compared: count(&counts.pages_compared) + same + own,
        pages_skipped_cow: count(&counts.pages_skipped_cow) + same,
        pages_restored: count(&counts.pages_restored) + own,
        forking_us: (count(&counts.born_ns).saturating_sub(forked_ns) / 1000) as u32,
        restore_us: start.elapsed().as_micros() as u32,
    };
    log::info!("restored pid {root} in {:?}, {:?} since the fork", start.elapsed(), forked.elapsed());
    if let Err(e) = operator.stage(Stage::PostResume, Some(root), None) {
        // The tasks run: nothing is to be undone any more.
        log::warn!("post-resume: {e}");
    }
    Ok(RestoreOutcome { pid: root, stats })
}

/// From the root's birth to the commit point.
fn drive(world: &mut World, watch: &mut Watch, root: i32, operator: &mut dyn Operator) -> Result<()> {
    let traced_root = if world.root_parent != RootParent::Coordinator {
        let tracee =
            Tracee::seize(root, resume::is_confined(world, 0), false).map_err(resume::not_seized(root, root))?;
        *watch = Watch::new(world, root, Some(tracee));
        let counts = world.control.counts();
        counts.root_traced.store(1, Ordering::SeqCst);
        crate::sys::control::SharedControl::wake(&counts.root_traced);
        Some(tracee)
    } else {
        None
    };
    operator.stage(Stage::SetupNamespaces, Some(root), None)?;
    operator.stage(Stage::PostSetupNamespaces, Some(root), None)?;
    let control = world.control.get();
    watch.wait(world, Phase::Memory, &control.ready, operator)?;
    // Every task has its own. An end of a pipe kept here would hide from one task that another is gone.
    world.files.close_all();
    log::debug!("every task is built");
    let traced = Traced::seize(world, traced_root)?;
    log::debug!("every thread is traced");
    traced.finish(world)?;
    watch.follow(traced.threads());
    watch.wait(world, Phase::Threads, &control.done, operator)?;
    log::debug!("every thread has finished");
    operator.stage(Stage::PostRestore, Some(root), None)?;
    operator.check_cancelled(Phase::Resume)?;
    let ready = traced.stop(world)?;
    log::debug!("every thread is stopped and has its registers");
    operator.stage(Stage::PreResume, Some(root), None)?;
    world.ipc.detach()?;
    let guard = ready.guard(world)?;
    world.files.resume()?;
    ready.commit(world, guard.as_ref())?;
    log::debug!("the tasks outlive the restore");
    match world.files.wake() {
        Ok(()) => guard.into_iter().for_each(CommitGuard::dismiss),
        // Nothing is undone any more: the guard does what it can.
        Err(e) => log::error!("{e}"),
    }
    ready.let_go(world);
    world.ipc.keep();
    Ok(())
}

/// Tasks whose parent dies during a restore become children of this process, so that a failed restore can wait for their
/// end.
struct Orphans {
    was_adopting: bool,
}

impl Orphans {
    fn adopt() -> Orphans {
        let was_adopting = rustix::process::child_subreaper().is_ok_and(|v| v.is_some());
        spawn::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).ok();
        Orphans { was_adopting }
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        spawn::prctl(libc::PR_SET_CHILD_SUBREAPER, self.was_adopting.into()).ok();
    }
}
