//! ptrace(2) requests that compel has no need for.

use std::io;

const PTRACE_GET_THREAD_AREA: libc::c_uint = 25;

/// Does a stopped thread have a segment in one of its three TLS slots (set_thread_area)?
///
/// # Errors
/// ESRCH when the thread is not stopped by this tracer.
pub fn has_tls_segment(tid: i32) -> io::Result<bool> {
    for slot in 12usize..15 {
        let mut desc = [0u32; 4];
        // SAFETY: `struct user_desc` is four 32-bit words, which the kernel fills.
        let r = unsafe { libc::ptrace(PTRACE_GET_THREAD_AREA, tid, slot, desc.as_mut_ptr()) };
        if r < 0 {
            return Err(io::Error::last_os_error());
        }
        // Base and limit of an empty slot are 0.
        if desc[1] != 0 || desc[2] != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
