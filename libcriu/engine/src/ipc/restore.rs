//! The objects of a checkpoint, provided by the coordinator before any task is forked.

use std::collections::{BTreeSet, HashMap, HashSet};

use criu_images::ImageDir;

use super::object::existing;
use super::shm::detached::Detached;
use super::{msg, sem, shm};
use crate::error::{Error, Phase, Result};
use crate::sys::ipc::{Family, shm_attach, shm_detach};
use crate::sys::mapping::Mapped;

/// A segment as an area shows it: its id, and whether it was attached for writing.
pub(crate) type Attachment = (u32, bool);

/// The namespace's objects, and what has to be undone when the restore fails.
#[derive(Debug, Default)]
pub(crate) struct RestoreIpc {
    mapped: HashMap<Attachment, Mapped>,
    sets: Vec<sem::restore::Saved>,
    queues: Vec<msg::Saved>,
    made: Vec<(Family, u32)>,
    detached: Option<Detached>,
    /// Only this process undoes anything: tasks inherit a copy.
    owner: u32,
}

impl RestoreIpc {
    /// Provides all objects of the namespace `id`. `wanted` are the attachments of all areas, each with the bytes it reaches to.
    ///
    /// # Errors
    /// What is wrong with the images; an object whose key or id is taken.
    pub fn provide(
        images: &ImageDir,
        id: u64,
        wanted: &BTreeSet<(Attachment, u64)>,
        tree: &HashSet<i32>,
    ) -> Result<RestoreIpc> {
        let segments = shm::restore::load(images, id)?;
        let sets = sem::restore::load(images, id)?;
        let queues = msg::restore::load(images, id)?;
        let mut ipc = RestoreIpc::default();
        ipc.owner = std::process::id();
        let is_wanted = |id: u32| wanted.iter().any(|((wanted, _), _)| *wanted == id);
        let (segments, detached): (Vec<_>, Vec<_>) =
            segments.into_iter().partition(|(entry, _)| is_wanted(entry.desc.id));
        ipc.detached = Detached::check(images, detached, tree)?;
        for (entry, bytes) in &segments {
            let is_new = shm::restore::provide(entry)?;
            if is_new {
                ipc.made.push((Family::Shm, entry.desc.id));
            }
            // Before it is filled: the kernel may remove what nobody has attached any more.
            for &(attachment, reach) in wanted.iter().filter(|((id, _), _)| *id == entry.desc.id) {
                ipc.attach(attachment, reach, shm::restore::mapped_bytes(entry))?;
            }
            shm::restore::settle(images, entry, bytes.as_deref(), is_new)?;
            shm::restore::doom(entry)?;
        }
        for set in &sets {
            sem::restore::provide(set, tree, &mut ipc.made)?;
        }
        for queue in &queues {
            msg::restore::provide(queue, tree, &mut ipc.made)?;
        }
        (ipc.sets, ipc.queues) = (sets, queues);
        match wanted.iter().find(|(attachment, _)| !ipc.mapped.contains_key(attachment)) {
            Some(((id, _), _)) => Err(Error::new(Phase::Load, segment(*id), "it is not in the image")),
            None => Ok(ipc),
        }
    }

    fn attach(&mut self, attachment: Attachment, reach: u64, size: u64) -> Result<()> {
        let (id, writable) = attachment;
        if reach > size {
            let cause = format!("a mapping reaches to {reach:#x}, it has {size:#x} bytes");
            return Err(Error::new(Phase::Load, segment(id), cause));
        }
        if let std::collections::hash_map::Entry::Vacant(place) = self.mapped.entry(attachment) {
            let failed = |e| Error::os(Phase::Memory, segment(id), "shmat", e);
            place.insert(shm_attach(id, size, writable).map_err(failed)?);
        }
        Ok(())
    }

    pub fn mapped(&self, attachment: Attachment) -> Option<&Mapped> {
        self.mapped.get(&attachment)
    }

    /// Segments that no task has attached, values and messages, made and set by the root task: so their maker and their last user are
    /// one of the tree.
    ///
    /// # Errors
    /// Those of the calls; pages that cannot be read.
    pub fn settle(&self) -> Result<()> {
        self.detached.iter().try_for_each(Detached::provide)?;
        self.sets.iter().try_for_each(sem::restore::settle)?;
        self.queues.iter().try_for_each(msg::restore::settle)
    }

    /// The coordinator lets go of the segments: the tasks have them.
    ///
    /// # Errors
    /// None that is known of.
    pub fn detach(&mut self) -> Result<()> {
        for ((id, _), mapped) in self.mapped.drain() {
            shm_detach(mapped).map_err(|e| Error::os(Phase::Memory, segment(id), "shmdt", e))?;
        }
        Ok(())
    }

    /// The restore has succeeded: the objects stay.
    pub fn keep(&mut self) {
        self.made.clear();
        self.detached = None;
    }
}

/// Name, size and size of pages of the segments of huge pages that are to be made.
///
/// # Errors
/// What is wrong with the images; an id or key that is taken.
pub(crate) fn huge_segments(images: &ImageDir, namespace: u64) -> Result<Vec<(String, u64, u64)>> {
    let mut found = Vec::new();
    for (entry, _) in shm::restore::load(images, namespace)? {
        if let Some(page_bytes) = shm::restore::huge_page(&entry).flatten()
            && existing(Family::Shm, &entry.desc)?.is_none()
        {
            found.push((segment(entry.desc.id), entry.size, page_bytes));
        }
    }
    Ok(found)
}

fn segment(id: u32) -> String {
    format!("{} {id}", Family::Shm.name())
}

impl Drop for RestoreIpc {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        for (family, id) in &self.made {
            // A segment that was doomed is gone with its last user.
            if let Err(e) = family.remove(*id) {
                log::debug!("{} {id}: {e}", family.name());
            }
        }
        self.detached.iter().for_each(Detached::undo);
        for mapped in self.mapped.values() {
            if let Err(e) = shm_detach(*mapped) {
                log::debug!("shmdt: {e}");
            }
        }
    }
}
