//! Which descriptions have to be opened together, where, and in which order.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use criu_images::messages::FileEntry;

use super::{RestoreFiles, kind_of};
use crate::error::Result;
use crate::file::FileId;
use crate::file::object::Object;
use crate::numbers::ByNumber;

impl RestoreFiles {
    /// Which tables use an object: by their descriptors, or because it is in a message of something they use.
    pub(super) fn users_of_objects(
        &self,
        descriptors: ByNumber<FileId, BTreeSet<u32>>,
    ) -> Result<ByNumber<Object, BTreeSet<u32>>> {
        let mut users: ByNumber<Object, BTreeSet<u32>> = HashMap::default();
        let mut todo: Vec<(FileId, BTreeSet<u32>)> = descriptors.into_iter().collect();
        while let Some((id, tables)) = todo.pop() {
            let Some(entry) = self.plan.entries.get(&id) else { continue };
            let object = self.object(entry)?;
            let known = users.entry(object).or_default();
            let before = known.len();
            known.extend(&tables);
            if known.len() == before {
                continue;
            }
            let tables = known.clone();
            for member in self.members.get(&object).into_iter().flatten() {
                let needed = self.needs(*member)?;
                todo.extend(needed.iter().map(|&id| (id, tables.clone())));
            }
        }
        Ok(users)
    }

    pub(super) fn needs(&self, id: FileId) -> Result<&[FileId]> {
        let Some(entry) = self.plan.entries.get(&id) else { return Ok(&[]) };
        Ok(self.kinds[kind_of(entry)?].needs(id))
    }

    /// Adds what is needed to complete the objects of a set and is not open yet.
    pub(super) fn with_needs(&self, mut objects: BTreeSet<Object>) -> Result<BTreeSet<Object>> {
        let mut todo: Vec<Object> = objects.iter().copied().collect();
        while let Some(object) = todo.pop() {
            for &member in self.members.get(&object).into_iter().flatten() {
                for needed in self.needs(member)? {
                    let Some(entry) = self.plan.entries.get(needed) else { continue };
                    let object = self.object(entry)?;
                    if !self.opened.contains_key(needed) && objects.insert(object) {
                        todo.push(object);
                    }
                }
            }
        }
        Ok(objects)
    }

    pub(super) fn open_objects(&mut self, objects: &[Object]) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let entries = Rc::clone(&self.plan.entries);
        let mut members: ByNumber<Object, Vec<&FileEntry>> = HashMap::default();
        for &object in objects {
            let ids = self.members.get(&object).into_iter().flatten();
            members.insert(object, ids.filter_map(|id| entries.get(id)).collect());
        }
        for &object in objects {
            let Some(members) = members.get(&object) else { continue };
            let Some(first) = members.first() else { continue };
            let kind = kind_of(first)?;
            let fds = self.kinds[kind].open(&mut self.plan, object, members)?;
            self.opened.extend(members.iter().map(|m| m.id).zip(fds));
        }
        for members in objects.iter().filter_map(|o| members.get(o)) {
            if let Some(first) = members.first() {
                self.kinds[kind_of(first)?].complete(&self.plan, members, &self.opened)?;
            }
        }
        self.kinds.iter_mut().for_each(|k| k.opened());
        Ok(())
    }
}
