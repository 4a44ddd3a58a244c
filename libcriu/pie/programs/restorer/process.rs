//! What the leader does for the whole process, before there are other threads.

use crate::abi::{Args, Move, Range, SignalAction, Step};
use crate::report::check;
use crate::uring;
use crate::{call, call_ia32, slice};

const E2BIG: i64 = -7;
const ENOEXEC: i64 = -8;
const PAGE_BYTES: u64 = 4096;
const MOST_VDSO_PAGES: usize = 16;
const ARCH_MAP_VDSO_32: u64 = 0x2002;
const SYS_RT_SIGACTION_IA32: u32 = 174;
const SYS_CLOSE: i64 = 3;
const SYS_MUNMAP: i64 = 11;
const SYS_RT_SIGACTION: i64 = 13;
const SYS_MREMAP: i64 = 25;
const SYS_MINCORE: i64 = 27;
const SYS_PERSONALITY: i64 = 135;
const SYS_MLOCKALL: i64 = 151;
const SYS_PRCTL: i64 = 157;
const SYS_ARCH_PRCTL: i64 = 158;
const SYS_RSEQ: i64 = 334;
const RSEQ_FLAG_UNREGISTER: u64 = 1;
const MREMAP_MAYMOVE_FIXED: u64 = 3;
const PR_SET_MM: u64 = 35;
const PR_SET_MM_MAP: u64 = 14;

/// Replaces the address space and sets the signal actions.
pub(crate) fn take_over(args: &Args) {
    if args.old_rseq != 0 {
        // Otherwise the kernel would go on writing to an address that means something else soon.
        let a = [args.old_rseq, args.old_rseq_size.into(), RSEQ_FLAG_UNREGISTER, args.old_rseq_signature.into(), 0, 0];
        check(args, Step::Rseq, call(SYS_RSEQ, a), args.old_rseq);
    }
    unmap(args);
    for m in slice::<Move>(args, args.moves) {
        let ret = call(SYS_MREMAP, [m.from, m.len, m.len, MREMAP_MAYMOVE_FIXED, m.to, 0]);
        check(args, Step::Move, ret, m.to);
    }
    map_ia32_vdso(args);
    uring::map_all(args);
    if args.mlock_future != 0 {
        // What is mapped already is left as it is.
        let ret = call(SYS_MLOCKALL, [args.mlock_future.into(), 0, 0, 0, 0, 0]);
        check(args, Step::LockFuture, ret, args.mlock_future.into());
    }
    set_layout(args);
    for &fd in slice::<i32>(args, args.close) {
        check(args, Step::Close, call(SYS_CLOSE, [fd as u64, 0, 0, 0, 0, 0]), fd as u64);
    }
    let ret = call(SYS_PERSONALITY, [args.personality.into(), 0, 0, 0, 0, 0]);
    check(args, Step::Personality, ret, args.personality.into());
    set_actions(args);
}

/// Unmaps what is not to stay.
pub(crate) fn unmap(args: &Args) {
    for r in slice::<Range>(args, args.unmap) {
        check(args, Step::Unmap, call(SYS_MUNMAP, [r.start, r.len, 0, 0, 0, 0]), r.start);
    }
}

/// Tells the kernel what is where.
pub(crate) fn set_layout(args: &Args) {
    let map = &raw const args.mm_map as u64;
    let size = size_of_val(&args.mm_map) as u64;
    check(args, Step::MmMap, call(SYS_PRCTL, [PR_SET_MM, PR_SET_MM_MAP, map, size, 0, 0]), args.mm_map.brk);
}

pub(crate) fn set_actions(args: &Args) {
    for a in slice::<SignalAction>(args, args.actions) {
        let action = &raw const a.handler as u64;
        let ret = match a.is_ia32 {
            0 => call(SYS_RT_SIGACTION, [a.signo, action, 0, 8, 0, 0]),
            _ => set_ia32_action(a),
        };
        check(args, Step::Action, ret, a.signo);
    }
}

fn set_ia32_action(a: &SignalAction) -> i64 {
    let action = [a.handler as u32, a.flags as u32, a.restorer as u32, a.mask as u32, (a.mask >> 32) as u32];
    call_ia32(SYS_RT_SIGACTION_IA32, [a.signo as u32, action.as_ptr() as u32, 0, 8])
}

/// The kernel has one vDSO for a process: so the one it had must be gone.
fn map_ia32_vdso(args: &Args) {
    let vdso = &args.vdso_ia32;
    if vdso.at == 0 {
        return;
    }
    let ret = call(SYS_ARCH_PRCTL, [ARCH_MAP_VDSO_32, vdso.at, 0, 0, 0, 0]);
    check(args, Step::VdsoIa32, if ret < 0 { ret } else { 0 }, vdso.at);
    let expected = slice::<u64>(args, vdso.expected);
    // The address is a wish to the kernel: what is not mapped must not be read.
    let mut resident = [0_u8; MOST_VDSO_PAGES];
    let bytes = size_of_val(expected) as u64;
    let ret = if bytes > MOST_VDSO_PAGES as u64 * PAGE_BYTES {
        E2BIG
    } else {
        call(SYS_MINCORE, [vdso.code, bytes, resident.as_mut_ptr() as u64, 0, 0, 0])
    };
    check(args, Step::VdsoIa32, ret, vdso.code);
    let now = vdso.code as *const u64;
    // SAFETY: so many bytes are mapped there, by the kernel for everybody to read.
    let is_same = expected.iter().enumerate().all(|(i, word)| unsafe { now.add(i).read_volatile() } == *word);
    check(args, Step::VdsoIa32, if is_same { 0 } else { ENOEXEC }, vdso.code);
}
