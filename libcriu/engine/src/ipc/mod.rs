//! System V IPC in the IPC namespace that the tree shares with the engine: shared memory, semaphores, message queues.
//!
//! Such objects outlive processes, as files do. A dump saves those that are the tree's own: segments that only tasks of the tree
//! have attached, or that one of them has made and nobody has attached; semaphores and queues that only they have worked with. A
//! restore makes them anew under the same key and id, or takes what is still there and has been used by nobody else, and sets
//! contents, owner and permissions.
//!
//! Limits: times and the pids of creator and last user are those of the restore's work. Adjustments at exit (SEM_UNDO) cannot be
//! seen from outside: a process that may have some is refused, unless it has threads, of which it cannot be told. A segment that
//! nobody has attached and whose maker has ended, and objects that were never used, are nobody's; they stay where they are.

mod dump;
pub(crate) mod msg;
mod object;
pub(crate) mod restore;
pub(crate) mod sem;
pub(crate) mod shm;
#[cfg(test)]
mod tests;

pub(crate) use dump::DumpIpc;

/// For [`crate::parsers`].
pub(crate) fn table_text(text: &str) {
    let _ = object::parse(text);
}
