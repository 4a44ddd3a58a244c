use std::ptr;
use std::sync::Arc;

use crate::ext::types::criu_error;
use crate::outcome::{Record, last_of_thread};
use crate::state::Target;
use crate::types::criu_opts;

/// How the last operation with these options failed; NULL when it did not. Valid until the next operation with them.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_last_error(opts: *mut criu_opts) -> *const criu_error {
    error(last(opts))
}

/// How the calling thread's last operation failed, whatever options it used; NULL when it did not. Valid until the next
/// operation of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn criu_last_error() -> *const criu_error {
    error(last_of_thread())
}

/// How many things stood in the way of the last operation with these options, or will stand in the way of a dump
/// (criu_local_preflight).
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_blocker_count(opts: *mut criu_opts) -> usize {
    count(last(opts))
}

/// As criu_local_blocker_count, for the calling thread's last operation.
#[unsafe(no_mangle)]
pub extern "C" fn criu_blocker_count() -> usize {
    count(last_of_thread())
}

/// One of them, NULL when there are fewer. Valid until the next operation with these options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_blocker(opts: *mut criu_opts, index: usize) -> *const criu_error {
    blocker(last(opts), index)
}

/// As criu_local_blocker, for the calling thread's last operation.
#[unsafe(no_mangle)]
pub extern "C" fn criu_blocker(index: usize) -> *const criu_error {
    blocker(last_of_thread(), index)
}

// The pointers lead into records that stay in their options or thread, until the next operation replaces them.

fn last(opts: *mut criu_opts) -> Option<Arc<Record>> {
    Target::Local(opts).find().and_then(|opts| opts.last())
}

fn error(record: Option<Arc<Record>>) -> *const criu_error {
    record.map_or(ptr::null(), |r| &raw const r.error.view)
}

fn count(record: Option<Arc<Record>>) -> usize {
    record.map_or(0, |r| r.blockers.len())
}

fn blocker(record: Option<Arc<Record>>, index: usize) -> *const criu_error {
    record.and_then(|r| r.blockers.get(index).map(|b| &raw const b.view)).unwrap_or(ptr::null())
}
