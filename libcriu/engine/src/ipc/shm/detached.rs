//! Segments that no task has attached: the root task makes and fills them, so that whose they are is told by who has made them.

use std::collections::HashSet;

use criu_images::ImageDir;

use super::dump::is_used_outside;
use super::goes_when_detached;
use super::restore::{Saved, in_the_way, left, provide, settle};
use crate::error::{Error, Phase, Result};
use crate::ipc::object::{describe, list};
use crate::sys::ipc::Family;

#[derive(Debug)]
pub(crate) struct Detached {
    segments: Vec<Saved>,
    images: ImageDir,
    /// Those of which nothing is left.
    missing: HashSet<u32>,
    tree: HashSet<i32>,
}

impl Detached {
    /// Looks at what is left of them; `None`: there are none.
    ///
    /// # Errors
    /// A key or id is taken; others have used what is left.
    pub fn check(images: &ImageDir, segments: Vec<Saved>, tree: &HashSet<i32>) -> Result<Option<Detached>> {
        if segments.is_empty() {
            return Ok(None);
        }
        if let Some((entry, _)) = segments.first().filter(|_| goes_when_detached()) {
            let cause =
                "no task has it attached, and such segments are removed by the kernel here (kernel.shm_rmid_forced)";
            return Err(Error::new(Phase::Memory, describe(Family::Shm, &entry.desc), cause)
                .hint("sysctl kernel.shm_rmid_forced=0"));
        }
        let mut missing = HashSet::new();
        for (entry, _) in &segments {
            match left(entry)? {
                None => drop(missing.insert(entry.desc.id)),
                Some(row) if is_used_outside(&row, tree) => {
                    return Err(in_the_way(&entry.desc, format!("process {} has used it", row.get("lpid"))));
                }
                Some(_) => {}
            }
        }
        let fd = images.fd().try_clone_to_owned();
        let fd = fd.map_err(|e| Error::os(Phase::Plan, "images directory", "dup", e))?;
        Ok(Some(Detached { segments, images: ImageDir::new(fd), missing, tree: tree.clone() }))
    }

    /// Makes what is missing and fills all; for the root task.
    ///
    /// # Errors
    /// As [`provide`] and [`settle`].
    pub fn provide(&self) -> Result<()> {
        for (entry, bytes) in &self.segments {
            let is_new = provide(entry)?;
            settle(&self.images, entry, bytes.as_deref(), is_new)?;
        }
        Ok(())
    }

    /// Removes what the root task has made.
    pub fn undo(&self) {
        if self.missing.is_empty() {
            return;
        }
        for row in list(Family::Shm).unwrap_or_default() {
            if self.missing.contains(&row.desc.id)
                && self.tree.contains(&(row.get("cpid") as i32))
                && let Err(e) = Family::Shm.remove(row.desc.id)
            {
                log::debug!("{} {}: {e}", Family::Shm.name(), row.desc.id);
            }
        }
    }
}
