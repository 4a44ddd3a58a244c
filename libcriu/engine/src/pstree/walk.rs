//! Finds the children of a process.

use std::io;

use crate::proc::ProcDir;
use crate::sys::apart;

/// The children of these threads, all that `dir`'s process has; this engine (and the process it works for) is left out. A process that
/// is gone has none.
///
/// # Errors
/// Those of reading /proc; ENOENT of `children` means a kernel without CONFIG_PROC_CHILDREN.
pub fn children(dir: &ProcDir, threads: impl Iterator<Item = i32>) -> io::Result<Vec<i32>> {
    let me = std::process::id() as i32;
    let mut children = match dir.children(threads) {
        Ok(children) => children,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    children.retain(|&c| c != me && Some(c) != apart::front());
    Ok(children)
}
