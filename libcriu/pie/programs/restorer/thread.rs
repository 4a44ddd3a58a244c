//! Creation of threads, and what a thread sets for itself that cannot be in its way.

use core::arch::asm;
use core::sync::atomic::Ordering;

use crate::abi::{Args, HAS_COMM, HAS_RSEQ, HAS_SAS, IS_IA32, Step, Thread};
use crate::report::check;
use crate::{call, call_ia32, run, slice, wake};

const EEXIST: i64 = -17;
const ESRCH: i64 = -3;
/// How long a number that no task has any more may take to become free; the kernel always gets there.
const PATIENCE_MS: u32 = 10_000;
const SYS_KILL: i64 = 62;
const SYS_NANOSLEEP: i64 = 35;
const SYS_PRCTL: i64 = 157;
const SYS_SIGALTSTACK: i64 = 131;
const SYS_SET_TID_ADDRESS: i64 = 218;
const SYS_SET_ROBUST_LIST: i64 = 273;
const SYS_SET_ROBUST_LIST_IA32: u32 = 311;
const SYS_RSEQ: i64 = 334;
const SYS_CLONE3: i64 = 435;
const PR_SET_NAME: u64 = 15;
/// CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, CHILD_CLEARTID: a thread as any C library makes it.
const THREAD_FLAGS: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000 | 0x20_0000;

#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Creates all threads but the leader and those that are to be born with filters, each with its number.
pub(crate) fn create_all(args: &Args) {
    for (i, t) in slice::<Thread>(args, args.threads).iter().enumerate().skip(1) {
        if t.is_late == 0 {
            create(args, i, t);
        }
    }
}

/// Creates the threads that are born with what `creator` has now, `filters` of its own chain.
pub(crate) fn create_late(args: &Args, creator: usize, filters: usize) {
    if args.late == 0 {
        return;
    }
    for (i, t) in slice::<Thread>(args, args.threads).iter().enumerate().skip(1) {
        if t.is_late != 0 && t.creator as usize == creator && t.creator_filters as usize == filters {
            create(args, i, t);
            args.late_born.fetch_add(1, Ordering::SeqCst);
            wake(&args.late_born);
        }
    }
}

fn create(args: &Args, i: usize, t: &Thread) {
    let tid = t.tid;
    let clone = CloneArgs {
        flags: THREAD_FLAGS,
        pidfd: 0,
        // What set_tid_address would set.
        child_tid: t.clear_tid,
        parent_tid: 0,
        exit_signal: 0,
        // The kernel adds the two; the stack's top is all that matters.
        stack: t.stack_top - 64,
        stack_size: 64,
        tls: 0,
        set_tid: &raw const tid as u64,
        set_tid_size: 1,
        cgroup: 0,
    };
    let ret = retry_while_taken(tid, || clone_thread(args, i, &clone));
    check(args, Step::Clone, ret, tid as u64);
}

/// The kernel lets a dead process be reaped before the numbers of its threads are free: then a number is taken that no task
/// has. On a busy machine that takes as long as the dying thread has to wait for a CPU.
pub(crate) fn retry_while_taken(number: i32, create: impl Fn() -> i64) -> i64 {
    let mut tries = 0;
    let mut ret = create();
    while ret == EEXIST && tries < PATIENCE_MS && call(SYS_KILL, [number as u64, 0, 0, 0, 0, 0]) == ESRCH {
        tries += 1;
        let millisecond = [0_u64, 1_000_000];
        call(SYS_NANOSLEEP, [millisecond.as_ptr() as u64, 0, 0, 0, 0, 0]);
        ret = create();
    }
    ret
}

/// What clone3 gives to the calling thread.
fn clone_thread(args: &Args, i: usize, clone: &CloneArgs) -> i64 {
    let ret: i64;
    // SAFETY: the new thread starts on its own stack, takes its arguments from registers and never returns; the old
    // one goes on behind the label.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r12", "mov rsi, r13", "and rsp, -16",
             "call {run}", "ud2", "2:",
             run = sym run, inlateout("rax") SYS_CLONE3 => ret, in("rdi") &raw const *clone,
             in("rsi") size_of::<CloneArgs>(), in("r12") args, in("r13") i, lateout("rcx") _, lateout("r11") _);
    }
    ret
}

/// Sets the name of the calling thread, if it has to. The others begin with the leader's.
pub(crate) fn set_name(args: &Args, index: usize) {
    let Some(me) = slice::<Thread>(args, args.threads).get(index) else { return };
    if me.present & HAS_COMM != 0 {
        check(args, Step::Comm, call(SYS_PRCTL, [PR_SET_NAME, me.comm.as_ptr() as u64, 0, 0, 0, 0]), 0);
    }
}

/// Sets what belongs to this thread alone and binds it in nothing.
pub(crate) fn set_own(args: &Args, me: &Thread, index: usize) {
    if index == 0 {
        call(SYS_SET_TID_ADDRESS, [me.clear_tid, 0, 0, 0, 0, 0]);
    } else {
        set_name(args, index);
    }
    if me.robust_len != 0 {
        let ret = match me.present & IS_IA32 {
            0 => call(SYS_SET_ROBUST_LIST, [me.robust_list, me.robust_len, 0, 0, 0, 0]),
            _ => call_ia32(SYS_SET_ROBUST_LIST_IA32, [me.robust_list as u32, me.robust_len as u32, 0, 0]),
        };
        check(args, Step::RobustList, ret, me.robust_list);
    }
    if me.present & HAS_SAS != 0 {
        let ret = call(SYS_SIGALTSTACK, [me.sas.as_ptr() as u64, 0, 0, 0, 0, 0]);
        check(args, Step::Sas, ret, me.sas[0]);
    }
    if me.present & HAS_RSEQ != 0 {
        let ret = call(SYS_RSEQ, [me.rseq, me.rseq_size.into(), 0, me.rseq_signature.into(), 0, 0]);
        check(args, Step::Rseq, ret, me.rseq);
        if me.rseq_cs != 0 {
            // SAFETY: the kernel has just accepted the area at this address; rseq_cs stands at its offset 8.
            unsafe { ((me.rseq + 8) as *mut u64).write_unaligned(me.rseq_cs) };
        }
    }
}
