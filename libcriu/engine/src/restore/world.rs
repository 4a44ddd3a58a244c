//! What the coordinator prepares and every task inherits by being forked.

use std::collections::HashMap;
use std::os::fd::AsFd;

use criu_images::ImageDir;

use super::check::Checked;
use super::checkpoint::Alive;
use super::twin::Twins;
use crate::error::{Error, Phase, Result};
use crate::file::RestoreFiles;
use crate::ipc::restore::RestoreIpc;
use crate::mem::shmem;
use crate::mem::vma::placement::{Space, own_mappings};
use crate::mem::vma::restore::Backing;
use crate::options::Options;
use crate::sys::control::SharedControl;
use crate::sys::mapping::Mapped;
use crate::sys::spawn;

/// Whose child the root is while it is restored. Only one of the coordinator's dies with it before it is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootParent {
    Coordinator,
    /// Of the process that started this one.
    Caller,
    /// Of whoever adopts orphans here. A root that is signalled when its parent dies (PR_SET_PDEATHSIG) is not to be told of the
    /// coordinator's end, which comes as soon as all is done.
    Nobody,
}

impl RootParent {
    fn of(options: &Options, checked: &Checked) -> RootParent {
        let root = checked.checkpoint.tasks.first().and_then(|t| t.alive());
        let is_told = |a: &Alive| a.threads.iter().any(|t| t.core.pdeath_sig() != 0);
        match (options.restore_sibling, options.restore_detached && root.is_some_and(is_told)) {
            (true, _) => RootParent::Caller,
            (false, true) => RootParent::Nobody,
            (false, false) => RootParent::Coordinator,
        }
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub checked: std::rc::Rc<Checked>,
    pub twins: std::rc::Rc<Twins>,
    pub control: SharedControl,
    pub files: RestoreFiles,
    /// Shared anonymous segments by their number.
    pub segments: HashMap<u64, Mapped>,
    pub ipc: RestoreIpc,
    /// Where this process had something when all of the above was there. What is mapped later is found out when it is in
    /// the way.
    pub space: Space,
    pub coordinator: i32,
    pub root_parent: RootParent,
}

impl World {
    /// How many tasks are forked before files are opened.
    pub fn early_tasks(&self) -> usize {
        self.checked.checkpoint.tasks.len() - self.twins.count()
    }

    /// There is nothing more to do, and the process ends soon: what was read is not given back piece by piece.
    pub fn leave(self) {
        std::mem::forget(self.checked);
        self.files.leave();
    }

    pub fn new(images: &ImageDir, checked: Checked, files: RestoreFiles, options: &Options) -> Result<World> {
        let root_parent = RootParent::of(options, &checked);
        let control = SharedControl::new(checked.checkpoint.tasks.len())
            .map_err(|e| Error::os(Phase::Plan, "control pages", "mmap", e))?;
        let segments = segments(images, &checked)?;
        let ipc = ipc(images, &checked)?;
        let coordinator = std::process::id() as i32;
        let mappings = own_mappings().map_err(|e| Error::os(Phase::Plan, "/proc/self/maps", "read", e))?;
        let space = Space::of_this_process(&mappings);
        let twins = std::rc::Rc::new(Twins::find(&checked, &files)?);
        let checked = std::rc::Rc::new(checked);
        Ok(World { checked, twins, control, files, segments, ipc, space, coordinator, root_parent })
    }
}

/// Provides the System V objects of the checkpoint.
fn ipc(images: &ImageDir, checked: &Checked) -> Result<RestoreIpc> {
    let tasks = &checked.checkpoint.tasks;
    let areas = tasks.iter().filter_map(|t| t.alive()).flat_map(|a| &a.layout.areas);
    let wanted = areas.filter_map(|a| match a.backing {
        Backing::SysV { id, writable } => Some(((id, writable), a.offset + a.len())),
        _ => None,
    });
    let namespace = tasks.first().and_then(|t| t.alive()).and_then(|a| a.ids.ipc_ns_id);
    let tree = tasks.iter().map(|t| t.pid).collect();
    RestoreIpc::provide(images, namespace.unwrap_or_default().into(), &wanted.collect(), &tree)
}

/// Creates the segments that areas show, each as long as the furthest area reaches, and fills them.
fn segments(images: &ImageDir, checked: &Checked) -> Result<HashMap<u64, Mapped>> {
    let mut lengths: HashMap<u64, (u64, i32)> = HashMap::new();
    for area in checked.checkpoint.tasks.iter().filter_map(|t| t.alive()).flat_map(|a| &a.layout.areas) {
        if let Backing::SharedAnonymous { shmid } = area.backing {
            let len = lengths.entry(shmid).or_insert((0, area.flags));
            len.0 = len.0.max(area.offset + area.len());
        }
    }
    let mut segments = HashMap::new();
    for (shmid, (len, flags)) in lengths {
        let object = format!("shared memory segment {shmid}");
        let (segment, fd) = spawn::shared_segment(len, flags & !libc::MAP_GROWSDOWN)
            .map_err(|e| Error::os(Phase::Memory, &object, "mmap", e))?;
        if flags & libc::MAP_HUGETLB == 0 {
            shmem::fill(images, shmid, fd.as_fd(), len)?;
        } else {
            // Such a file cannot be written to.
            shmem::fill_mapped(images, shmid, &segment)?;
        }
        segments.insert(shmid, segment);
    }
    Ok(segments)
}
