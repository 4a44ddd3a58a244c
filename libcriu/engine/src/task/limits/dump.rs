//! Read from /proc.

use std::io;

use criu_images::messages::{RlimitEntry, TaskRlimitsEntry};

use crate::proc::{ProcDir, limits};

/// # Errors
/// Those of reading /proc.
pub fn entry(dir: &ProcDir) -> io::Result<TaskRlimitsEntry> {
    let rlimits = limits(dir)?.into_iter().map(|(cur, max)| RlimitEntry { cur, max }).collect();
    Ok(TaskRlimitsEntry { rlimits })
}
