//! The system call interface that a task was started with: that of x86-64, or that of i386 (ia32), which a 64-bit kernel offers too.
//!
//! The kernel tells by a task's vDSO what an execve has made of it. Of an ia32 task it keeps some things apart: lists of robust futexes, how
//! handlers of signals are called, segments. Its threads have registers like others.

use criu_compel::arch::{CS_COMPAT, CS_NATIVE};
use criu_compel::ptrace::{robust_list, robust_list_ia32};
use criu_compel::{Memory, Regs, SeizedTask, is_compat_vdso};
use criu_images::messages::VmaEntry;

use crate::mem::vma::status;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    Native,
    Ia32,
}

/// Where addresses of ia32 tasks end.
pub const IA32_END: u64 = 1 << 32;

/// The interface of a stopped task with these areas.
///
/// # Errors
/// Its memory cannot be read.
pub fn of(task: &SeizedTask, vmas: &[VmaEntry]) -> criu_compel::Result<Abi> {
    let vdso = vmas.iter().find(|v| v.status & status::VDSO != 0);
    // All others have theirs far above.
    let Some((vdso, thread)) = vdso.filter(|v| v.end <= IA32_END).zip(task.threads().first()) else {
        return Ok(Abi::Native);
    };
    let mut header = [0; 16];
    Memory::open(task.pid(), thread.tid)?.read(vdso.start, &mut header)?;
    Ok(if is_compat_vdso(&header) { Abi::Ia32 } else { Abi::Native })
}

impl Abi {
    /// What a thread runs that does not go with its process.
    pub fn foreign_code(self, regs: &Regs) -> Option<&'static str> {
        match (self, regs.cs) {
            (Abi::Native, CS_NATIVE) | (Abi::Ia32, CS_COMPAT) => None,
            (Abi::Native, CS_COMPAT) => Some("it runs 32-bit code in a 64-bit process; this cannot be saved"),
            (Abi::Ia32, CS_NATIVE) => Some("it runs 64-bit code in a 32-bit process; this cannot be saved"),
            _ => Some("it runs code in a segment of its own; this cannot be saved"),
        }
    }

    /// Head and length of a thread's list of robust futexes.
    ///
    /// # Errors
    /// As get_robust_list(2).
    pub fn robust_list(self, tid: i32) -> criu_compel::Result<(u64, u64)> {
        match self {
            Abi::Native => robust_list(tid),
            Abi::Ia32 => robust_list_ia32(tid),
        }
    }
}
