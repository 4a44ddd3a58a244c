//! Restartable sequences: a thread that is moved away from the inside of one has to come back to its abort handler, as it
//! would after any preemption.

use crate::error::Result;
use crate::memory::Memory;
use crate::ptrace::{self, Regs};
use crate::seize::SeizedThread;

/// Offset of the pointer to the critical section in `struct rseq`.
const RSEQ_CS: u64 = 8;

/// Sets the instruction pointer to the abort handler if the thread is inside of a critical section: what the kernel would do
/// as soon as the thread runs on.
pub(crate) fn abort_if_inside(memory: &Memory, thread: &mut SeizedThread) -> Result<()> {
    let Ok(rseq) = ptrace::rseq(thread.tid) else { return Ok(()) };
    if rseq.address == 0 {
        return Ok(());
    }
    let section = memory.read_u64(rseq.address + RSEQ_CS)?;
    if section == 0 {
        return Ok(());
    }
    // struct rseq_cs: version, flags, start_ip, post_commit_offset, abort_ip.
    let mut words = [0_u64; 4];
    for (at, word) in words.iter_mut().enumerate() {
        let Ok(value) = memory.read_u64(section.wrapping_add(8 * at as u64)) else { return Ok(()) };
        *word = value;
    }
    let [_, start, length, abort] = words;
    if thread.regs.rip.wrapping_sub(start) < length {
        thread.regs.rip = abort;
    }
    Ok(())
}

/// Whether the system call that the thread is in was made by `int 0x80`.
pub(crate) fn is_int80(memory: &Memory, regs: &Regs) -> bool {
    let mut code = [0; 2];
    memory.read(regs.rip.wrapping_sub(2), &mut code).is_ok() && code == [0xcd, 0x80]
}
