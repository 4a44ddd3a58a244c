//! The only unsafe code of this crate: the spawn of a worker and the few calls that have no safe wrapper.

mod process;
mod spawn;

pub(crate) use process::{
    allow_tracer, environment, fork_worker, has_ended, is_child, kill, lent, reap, wait_blocking,
};
pub(crate) use spawn::{Exec, Launch, Relation, spawn};
