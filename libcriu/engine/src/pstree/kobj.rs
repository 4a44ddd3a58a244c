//! Which tasks share an address space, a table of descriptors, a root and working directory, or signal actions: equal objects get
//! equal ids. The engine itself has the ids 1, as the first task of every set.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io;

use crate::sys::kcmp::{Kobj, kcmp};

/// The ids of one task's objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskIds {
    pub vm: u32,
    pub files: u32,
    pub fs: u32,
    pub sighand: u32,
}

impl TaskIds {
    /// The ids of the engine's own objects.
    pub const ENGINE: TaskIds = TaskIds { vm: 1, files: 1, fs: 1, sighand: 1 };
}

/// Ids given so far.
#[derive(Debug)]
pub struct SharedIds {
    sets: [Sorted; 3],
    /// Of each address space, tasks with distinct signal actions and the ids of these: they are only ever shared along with
    /// the address space (clone takes CLONE_SIGHAND with CLONE_VM only, execve ends both).
    sighands: HashMap<u32, Vec<(i32, u32)>>,
    last_sighand: u32,
    /// Ids by the kernel's addresses of objects, when those of all tasks are known.
    addresses: [HashMap<u64, u32>; 4],
}

/// Tasks with distinct objects, in the kernel's order, each with its object's id.
#[derive(Debug)]
struct Sorted {
    object: Kobj,
    tasks: Vec<(i32, u32)>,
    last: u32,
}

impl Default for SharedIds {
    fn default() -> Self {
        let set = |object| Sorted { object, tasks: Vec::new(), last: TaskIds::ENGINE.vm };
        SharedIds {
            sets: [set(Kobj::Vm), set(Kobj::Files), set(Kobj::Fs)],
            sighands: HashMap::new(),
            last_sighand: TaskIds::ENGINE.sighand,
            addresses: Default::default(),
        }
    }
}

impl SharedIds {
    /// The ids of `pid`'s objects, and which of them it is the first to have.
    ///
    /// # Errors
    /// Those of kcmp(2).
    pub fn of(&mut self, pid: i32) -> io::Result<(TaskIds, FirstOf)> {
        let [vm, files, fs] = &mut self.sets;
        let (vm, files, fs) = (vm.id(pid)?, files.id(pid)?, fs.id(pid)?);
        let sighand = self.sighand(pid, vm.0)?;
        let ids = TaskIds { vm: vm.0, files: files.0, fs: fs.0, sighand: sighand.0 };
        Ok((ids, FirstOf { vm: vm.1, files: files.1, fs: fs.1, sighand: sighand.1 }))
    }

    /// As `of`, by the addresses of a task's address space, table of descriptors, file system context and signal actions. For all
    /// tasks of a tree or for none.
    pub fn at(&mut self, objects: [u64; 4]) -> (TaskIds, FirstOf) {
        let mut next = self.addresses.iter_mut().zip(objects).map(|(known, address)| {
            let new = known.len() as u32 + TaskIds::ENGINE.vm + 1;
            let id = *known.entry(address).or_insert(new);
            (id, id == new)
        });
        let mut next = || next.next().unwrap_or_default();
        let (vm, files, fs, sighand) = (next(), next(), next(), next());
        let ids = TaskIds { vm: vm.0, files: files.0, fs: fs.0, sighand: sighand.0 };
        (ids, FirstOf { vm: vm.1, files: files.1, fs: fs.1, sighand: sighand.1 })
    }
}

impl SharedIds {
    fn sighand(&mut self, pid: i32, vm: u32) -> io::Result<(u32, bool)> {
        let known = self.sighands.entry(vm).or_default();
        for &(other, id) in known.iter() {
            if kcmp(pid, other, Kobj::Sighand)?.is_eq() {
                return Ok((id, false));
            }
        }
        self.last_sighand += 1;
        known.push((pid, self.last_sighand));
        Ok((self.last_sighand, true))
    }
}

/// Whether a task is the first with each of its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstOf {
    pub vm: bool,
    pub files: bool,
    pub fs: bool,
    pub sighand: bool,
}

impl Sorted {
    fn id(&mut self, pid: i32) -> io::Result<(u32, bool)> {
        let (mut low, mut high) = (0, self.tasks.len());
        while low < high {
            let middle = (low + high) / 2;
            let (other, id) = self.tasks[middle];
            match kcmp(pid, other, self.object)? {
                Ordering::Equal => return Ok((id, false)),
                Ordering::Less => high = middle,
                Ordering::Greater => low = middle + 1,
            }
        }
        self.last += 1;
        self.tasks.insert(low, (pid, self.last));
        Ok((self.last, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn seen_first() -> FirstOf {
        FirstOf { vm: true, files: true, fs: true, sighand: true }
    }

    #[test]
    fn distinct_tasks_have_distinct_ids() {
        let start = || Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
        let mut children = [start(), start(), start()];
        let mut ids = SharedIds::default();
        let mut seen = Vec::new();
        for c in &children {
            let (id, first) = ids.of(c.id() as i32).unwrap();
            assert!(first.vm && first.files && first.fs && first.sighand);
            seen.push(id.vm);
        }
        assert_eq!(seen, [2, 3, 4]);
        let mut by_address = SharedIds::default();
        assert_eq!(by_address.at([10, 20, 30, 40]), (TaskIds { vm: 2, files: 2, fs: 2, sighand: 2 }, seen_first()));
        let (shares, first) = by_address.at([11, 20, 31, 40]);
        assert_eq!(shares, TaskIds { vm: 3, files: 2, fs: 3, sighand: 2 });
        assert_eq!(first, FirstOf { vm: true, files: false, fs: true, sighand: false });
        let again = ids.of(children[1].id() as i32).unwrap();
        assert_eq!((again.0.vm, again.0.sighand, again.1), (3, 3, FirstOf::default()));
        for c in &mut children {
            c.kill().unwrap();
            c.wait().unwrap();
        }
    }
}
