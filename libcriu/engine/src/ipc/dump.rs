//! Finds the objects that are the tree's own, and saves them.

use std::collections::{HashMap, HashSet};

use criu_images::ImageDir;
use criu_images::messages::IpcSemEntry;

use super::{msg, sem, shm};
use crate::error::{Blocker, Result};
use crate::mem::mm::Segment;
use crate::mem::pages::{GoOn, PagesIds};

/// The System V objects of a tree.
#[derive(Debug, Default)]
pub(crate) struct DumpIpc {
    attached: HashMap<u32, Attached>,
    segments: shm::dump::Segments,
    sets: Vec<(IpcSemEntry, Vec<u16>)>,
    queues: Vec<msg::Saved>,
}

/// Who has a segment attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    /// How often tasks have.
    pub times: u64,
    /// One that has.
    pub pid: i32,
    /// The size of its pages, if these are huge.
    pub huge_page: Option<u64>,
}

impl DumpIpc {
    /// A task has the segment attached.
    pub fn attach(&mut self, (id, huge_page): Segment, pid: i32) {
        self.attached.entry(id).or_insert(Attached { times: 0, pid, huge_page }).times += 1;
    }

    /// Looks at all objects of the namespace, once every task is known. `living` are the tasks, with the numbers of their
    /// threads.
    ///
    /// # Errors
    /// Those of reading them.
    pub fn resolve(
        &mut self,
        tree: &HashSet<i32>,
        living: &HashMap<i32, usize>,
        blockers: &mut Vec<Blocker>,
    ) -> Result<()> {
        self.segments = shm::dump::resolve(&self.attached, tree, blockers)?;
        self.sets = sem::dump::resolve(tree, living, blockers)?;
        self.queues = msg::dump::resolve(tree)?;
        Ok(())
    }

    /// Writes the images of the namespace `id`; those of kinds that there are none of are left out. Gives the number of pages of
    /// segments that no task has attached.
    ///
    /// # Errors
    /// A file that cannot be written, a segment that may not be read, or what `go_on` says.
    pub fn save(&self, images: &ImageDir, id: u64, ids: &mut PagesIds, go_on: GoOn<'_>) -> Result<u64> {
        let pages = shm::dump::save(images, id, &self.segments, ids, go_on)?;
        sem::dump::save(images, id, &self.sets)?;
        msg::dump::save(images, id, &self.queues)?;
        Ok(pages)
    }
}
