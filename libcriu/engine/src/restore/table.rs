//! A task's descriptors, executable and directories put in place, also where several tasks share one table.

use std::os::fd::{AsFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::checkpoint::Alive;
use super::world::World;
use crate::error::{Error, Phase, Result};
use crate::sys::control::SharedControl;
use crate::sys::spawn;

/// Descriptors that the restorer needs, at numbers that nobody wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub exe: RawFd,
    /// The images directory, for a parent of twins.
    pub images: Option<RawFd>,
}

/// Opens what the task holds without descriptors, then puts its descriptors in place.
pub(super) fn install_files(world: &mut World, index: usize, alive: &Alive) -> Result<Kept> {
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
