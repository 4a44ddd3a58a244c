//! The probes, by what they are about. Each answers for this process: what it lacks the right to is absent for it.

pub(super) mod file;
pub(super) mod memory;
mod netlink;
pub(super) mod network;
pub(super) mod task;

use std::io;

use super::Probe;

/// A call that has to succeed.
fn works(call: &str, result: Result<(), impl Into<io::Error>>) -> Probe {
    match result {
        Ok(()) => Probe::Present,
        Err(e) => Probe::Absent(format!("{call}: {}", e.into())),
    }
}

/// A call that cannot succeed, and tells by its error that the kernel knows it.
fn fails_with(call: &str, error: &io::Error, known_by: i32) -> Probe {
    if error.raw_os_error() == Some(known_by) { Probe::Present } else { Probe::Absent(format!("{call}: {error}")) }
}

fn absent(why: impl Into<String>) -> Probe {
    Probe::Absent(why.into())
}

/// What the kernel may have, but the engine does not use yet.
pub(super) fn not_yet(what: &str, kernel: Probe) -> Probe {
    match kernel {
        Probe::Present => Probe::Absent(format!("{what} is not there yet in this version")),
        missing => missing,
    }
}
