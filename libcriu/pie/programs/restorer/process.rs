//! What the leader does for the whole process, before there are other threads.

use crate::abi::{Args, Move, Range, SignalAction, Step};
use crate::report::check;
use crate::{call, slice};

const SYS_CLOSE: i64 = 3;
const SYS_MUNMAP: i64 = 11;
const SYS_RT_SIGACTION: i64 = 13;
const SYS_MREMAP: i64 = 25;
const SYS_PERSONALITY: i64 = 135;
const SYS_MLOCKALL: i64 = 151;
const SYS_PRCTL: i64 = 157;
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
        check(args, Step::Action, call(SYS_RT_SIGACTION, [a.signo, action, 0, 8, 0, 0]), a.signo);
    }
}
