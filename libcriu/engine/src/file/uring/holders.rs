//! Who has an instance, and what processes have of instances beside descriptors.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use super::dump::{CLOSE_IT, UNSEEN_HINT};
use crate::error::Blocker;
use crate::file::FileId;
use crate::file::collect::{Collected, Table};
use crate::sys::kernel::{Address, Kernel};

/// An instance that is saved, as far as nobody else has it.
#[derive(Debug)]
pub(crate) struct Held {
    pub id: FileId,
    pub pid: i32,
    /// In whose table its entry's numbers of descriptors are, in the engine's pid namespace.
    pub table_pid: i32,
    pub object: String,
    pub inode: u64,
    /// Of the mappings of its rings and of its requests.
    pub bytes: [u64; 2],
    /// Its `struct file`.
    pub file: Address,
    /// The threads that have used it: `struct task_struct`, and numbers.
    pub users: Vec<(Address, i32)>,
}

/// Whoever looks at a descriptor in /proc has the file for a moment.
const PATIENCE: Duration = Duration::from_millis(200);

/// Looks at tables, messages and threads.
pub(super) fn resolve(common: &mut Collected, blockers: &mut Vec<Blocker>) {
    let threads: Vec<Address> =
        common.uring_users.values().filter_map(|u| u.threads.as_ref().ok()).flatten().map(|t| t.task).collect();
    for uring in &common.urings {
        let tables = common.tables.values().filter(|table| has(table, uring.id)).count();
        let stranger = uring.users.iter().find(|(task, _)| !threads.contains(task));
        let cause = match stranger {
            _ if common.in_messages.contains(&uring.id) => {
                "an io_uring instance that is in a message that was not read yet cannot be saved".into()
            }
            _ if tables != 1 => {
                "an io_uring instance that several processes have (inherited by fork) cannot be saved".into()
            }
            Some((_, tid)) => {
                format!("an io_uring instance that thread {tid} of another process has used cannot be saved")
            }
            None => continue,
        };
        blockers.push(Blocker::new(uring.pid, &*uring.object, cause).hint(CLOSE_IT));
    }
    name_files(common);
    registered(common, blockers);
}

/// Entries name descriptors by their numbers so far. One that was refused has its own blocker.
fn name_files(common: &mut Collected) {
    for uring in &common.urings {
        let Some(table) = common.tables.values().find(|t| t.pid == uring.table_pid && has(t, uring.id)) else {
            continue;
        };
        let entry = common.entries.iter_mut().find(|e| e.id == uring.id).and_then(|e| e.uring.as_mut());
        let Some(entry) = entry else { continue };
        let files = entry.files.iter_mut().flat_map(|files| &mut files.files).map(|file| &mut file.file_id);
        for number in files.chain(entry.eventfd_id.as_mut()) {
            *number = table.fds.iter().find(|fd| fd.fd == *number).map_or(0, |fd| fd.id);
        }
    }
}

fn has(table: &Table, id: FileId) -> bool {
    table.fds.iter().any(|fd| fd.id == id)
}

/// What threads have registered, and have in flight.
fn registered(common: &mut Collected, blockers: &mut Vec<Blocker>) {
    for (pid, users) in &common.uring_users {
        let threads = match &users.threads {
            Ok(threads) => threads,
            Err(why) => {
                let cause = format!("what is in flight only the kernel's memory tells, which cannot be read: {why}");
                blockers.push(Blocker::new(*pid, "threads that work for io_uring", cause).hint(UNSEEN_HINT));
                continue;
            }
        };
        let tables: Vec<&Table> = common.tables.values().filter(|t| t.pid == users.pid).collect();
        let id_of = |file: Address| {
            let uring = common.urings.iter().find(|u| u.file == file)?;
            tables.iter().any(|table| has(table, uring.id)).then_some(uring.id)
        };
        for thread in threads {
            if let Some((cause, hint)) = thread.refusal(|file| id_of(file).is_some()) {
                blockers.push(Blocker::new(*pid, format!("thread {}", thread.tid), cause).hint(hint));
            }
            for (place, file) in &thread.registered {
                let entry = common.entries.iter_mut().find(|e| Some(e.id) == id_of(*file));
                if let Some(uring) = entry.and_then(|e| e.uring.as_mut()) {
                    uring.registered.push(*place as u32);
                }
            }
        }
    }
}

/// Has anybody an instance who is not known? `mappings`: how many there are of each.
pub(crate) fn find_strangers(common: &Collected, mappings: &HashMap<FileId, u64>, blockers: &mut Vec<Blocker>) {
    for uring in &common.urings {
        let known = |e: &criu_images::messages::FileEntry| e.uring.as_ref().map_or(0, |u| u.registered.len() as u64);
        let registered: u64 = common.entries.iter().filter(|e| e.id == uring.id).map(known).sum();
        let fds = common.tables.values().flat_map(|t| &t.fds).filter(|fd| fd.id == uring.id).count() as u64;
        let known = fds + registered + mappings.get(&uring.id).copied().unwrap_or(0);
        let until = Instant::now() + PATIENCE;
        let cause = loop {
            match references(uring.file) {
                Ok(references) if references == known => break None,
                Ok(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                Ok(_) => {
                    break Some(
                        "an io_uring instance that another process has or has mapped, too, cannot be saved".into(),
                    );
                }
                Err(e) => break Some(format!("who else has this io_uring instance cannot be seen: {e}")),
            }
        };
        blockers.extend(cause.map(|cause: String| Blocker::new(uring.pid, &*uring.object, cause).hint(CLOSE_IT)));
    }
}

/// By how much a file is held.
fn references(file: Address) -> io::Result<u64> {
    let kernel = Kernel::open()?;
    // Linux 6.13: one less.
    match kernel.number(file, "file", "f_ref.refcnt.counter") {
        Ok(references) => Ok(references.wrapping_add(1)),
        Err(_) => kernel.number(file, "file", "f_count.counter"),
    }
}
