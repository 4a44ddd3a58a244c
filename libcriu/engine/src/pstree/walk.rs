//! Finds the children of a process.

use std::io;

use crate::proc::ProcDir;
use crate::sys::apart;

/// The children of all threads of `dir`'s process, this engine (and the process it works for) left out. A process that is gone has none.
///
/// # Errors
/// Those of reading /proc; ENOENT of `children` means a kernel without CONFIG_PROC_CHILDREN.
pub fn children(dir: &ProcDir) -> io::Result<Vec<i32>> {
    let me = std::process::id() as i32;
    let threads = match dir.threads() {
        Ok(threads) => threads,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut children = dir.children(&threads)?;
    children.retain(|&c| c != me && Some(c) != apart::front());
    Ok(children)
}
