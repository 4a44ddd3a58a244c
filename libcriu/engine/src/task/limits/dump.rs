//! Read by prlimit.

use std::io;

use criu_images::messages::{RlimitEntry, TaskRlimitsEntry};

use super::RESOURCES;
use crate::sys::task::rlimit;

/// # Errors
/// Those of prlimit(2).
pub fn entry(pid: i32) -> io::Result<TaskRlimitsEntry> {
    let rlimits =
        (0..RESOURCES).map(|r| rlimit(pid, r).map(|(cur, max)| RlimitEntry { cur, max })).collect::<io::Result<_>>()?;
    Ok(TaskRlimitsEntry { rlimits })
}
