//! General registers: interrupted system calls, where a thread goes when it has to find its way by itself.

use criu_pie::abi::parasite::Slot;

use crate::ptrace::Regs;

/// How the kernel is going to continue a system call that the stop has interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The thread was not in a system call, or the call is finished.
    None,
    /// The same call once more (ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND).
    Again,
    /// restart_syscall with what the kernel has kept: a sleep goes on for the remaining time (ERESTART_RESTARTBLOCK).
    Block,
}

/// What the call that the thread is in gave.
fn result(regs: &Regs) -> i64 {
    if is_compat(regs) { i64::from(regs.rax as i32) } else { regs.rax as i64 }
}

pub fn restart_of(regs: &Regs) -> Restart {
    if (regs.orig_rax as i64) < 0 {
        return Restart::None;
    }
    match result(regs) {
        -514..=-512 => Restart::Again,
        -516 => Restart::Block,
        _ => Restart::None,
    }
}

/// Some calls end with EINTR even if nothing but a stop has interrupted them. At an event stop no signal has been handled
/// yet: made to look like ERESTARTNOHAND, such a call is made again unless a handler runs first. A timeout starts anew.
/// Returns whether anything was changed.
pub(crate) fn restart_instead_of_eintr(regs: &mut Regs) -> bool {
    const ERESTARTNOHAND: i64 = 514;
    const X32_BIT: u64 = 0x4000_0000;
    let nr = (regs.orig_rax & !X32_BIT) as i64;
    let concerned = if is_compat(regs) { ends_with_eintr_ia32(nr, regs.rbx) } else { ends_with_eintr(nr) };
    if !concerned || result(regs) != -i64::from(libc::EINTR) || !is_known(regs) {
        return false;
    }
    regs.rax = (-ERESTARTNOHAND) as u64;
    true
}

fn ends_with_eintr(nr: i64) -> bool {
    const SYS_IO_PGETEVENTS: i64 = 333;
    matches!(
        nr,
        libc::SYS_epoll_wait
            | libc::SYS_epoll_pwait
            | libc::SYS_epoll_pwait2
            | libc::SYS_semop
            | libc::SYS_semtimedop
            | libc::SYS_rt_sigtimedwait
            | libc::SYS_io_getevents
            | SYS_IO_PGETEVENTS
            // It has submitted nothing then.
            | libc::SYS_io_uring_enter
    )
}

/// The same calls by their i386 numbers, those of System V by the one that they share (`first` tells which).
fn ends_with_eintr_ia32(nr: i64, first: u64) -> bool {
    const SYS_IPC: i64 = 117;
    const SEMOP: u64 = 1;
    const SEMTIMEDOP: u64 = 4;
    match nr {
        SYS_IPC => matches!(first & 0xffff, SEMOP | SEMTIMEDOP),
        // epoll_wait, epoll_pwait, epoll_pwait2; rt_sigtimedwait, rt_sigtimedwait_time64; io_getevents, io_pgetevents,
        // io_pgetevents_time64; semtimedop_time64.
        256 | 319 | 441 | 177 | 421 | 247 | 385 | 416 | 420 => true,
        _ => false,
    }
}

/// The kernel's code segment for 64-bit code.
pub const CS_NATIVE: u64 = 0x33;
/// The kernel's code segment for code of the i386 ABI.
pub const CS_COMPAT: u64 = 0x23;

/// Runs code of the i386 ABI.
pub fn is_compat(regs: &Regs) -> bool {
    regs.cs == CS_COMPAT
}

/// Runs 64-bit code or code of the i386 ABI, in the segments that the kernel gives for these.
pub(crate) fn is_known(regs: &Regs) -> bool {
    regs.cs == CS_NATIVE || is_compat(regs)
}

/// The registers with which the thread goes on when the kernel does not restart the call for it. `int80`: the call was
/// made by the i386 instruction, which has numbers of its own.
pub(crate) fn home_regs(regs: &Regs, int80: bool) -> Regs {
    const SYSCALL_BYTES: u64 = 2;
    const X32_BIT: u64 = 0x4000_0000;
    let mut home = *regs;
    match restart_of(regs) {
        Restart::None => return home,
        Restart::Again => home.rax = regs.orig_rax,
        Restart::Block if int80 => home.rax = 0,
        Restart::Block => home.rax = libc::SYS_restart_syscall as u64 | regs.orig_rax & X32_BIT,
    }
    home.rip = home.rip.wrapping_sub(SYSCALL_BYTES);
    home
}

/// Those of a thread that never runs in user space.
pub(crate) fn is_nowhere(regs: &Regs) -> bool {
    (regs.rip, regs.rsp) == (0, 0)
}

/// `regs` moved to `rip` with `rbx`, in no system call and in 64-bit code.
pub(crate) fn jump_regs(regs: &Regs, rip: u64, rbx: u64) -> Regs {
    Regs { rip, rbx, rax: 0, orig_rax: u64::MAX, cs: CS_NATIVE, ..*regs }
}

/// `regs` moved to a `syscall` instruction at `rip`, in 64-bit code.
pub(crate) fn call_regs(regs: &Regs, rip: u64, nr: i64, args: [u64; 6]) -> Regs {
    let [rdi, rsi, rdx, r10, r8, r9] = args;
    Regs { rip, rax: nr as u64, orig_rax: u64::MAX, rdi, rsi, rdx, r10, r8, r9, cs: CS_NATIVE, ..*regs }
}

pub(crate) const FLAGS_LOW: u64 = 0xff;
pub(crate) const FLAG_DIRECTION: u64 = 1 << 10;
pub(crate) const FLAG_OVERFLOW: u64 = 1 << 11;

/// Adding 1 to it in a byte sets the overflow flag as it is in `flags`.
pub(crate) fn overflow_seed(flags: u64) -> u8 {
    if flags & FLAG_OVERFLOW != 0 { 0x7f } else { 0 }
}

/// What a thread other than the serving one needs to get home by itself.
pub(crate) fn slot_of(home: &Regs, sigmask: u64) -> Slot {
    Slot {
        sigmask,
        flags_low: (home.eflags & FLAGS_LOW) as u8,
        overflow: overflow_seed(home.eflags),
        direction: u8::from(home.eflags & FLAG_DIRECTION != 0),
        rax: home.rax,
        rbx: home.rbx,
        rdx: home.rdx,
        rsi: home.rsi,
        rdi: home.rdi,
        rbp: home.rbp,
        r8: home.r8,
        r9: home.r9,
        r10: home.r10,
        r12: home.r12,
        r13: home.r13,
        r14: home.r14,
        r15: home.r15,
        rip: home.rip,
        ..Slot::default()
    }
}
