//! What is set once the coordinator traces every thread: filters (suspended by then), limits, timers, credentials, signals.

use core::sync::atomic::Ordering;

use crate::abi::{Args, Call, Filter, HAS_CREDS, HAS_SCHED, Limit, SigInfo, Step, Thread};
use crate::report::{check, fail};
use crate::{call, creds, slice, thread, timers, wait, wake};

const SYS_RT_SIGQUEUEINFO: i64 = 129;
const SYS_PRCTL: i64 = 157;
const SYS_SCHED_SETAFFINITY: i64 = 203;
const SYS_IOPRIO_SET: i64 = 251;
const SYS_RT_TGSIGQUEUEINFO: i64 = 297;
const SYS_PRLIMIT64: i64 = 302;
const SYS_SCHED_SETATTR: i64 = 314;
const SYS_SETPRIORITY: i64 = 141;
const PRIO_PROCESS: u64 = 0;
const RLIMIT_SIGPENDING: u64 = 11;
const SCHED_OTHER: u32 = 0;
const SCHED_BATCH: u32 = 3;
const SYS_SECCOMP: i64 = 317;
const PR_SET_PDEATHSIG: u64 = 1;
const PR_SET_DUMPABLE: u64 = 4;
const PR_SET_SECCOMP: u64 = 22;
const PR_SET_TIMERSLACK: u64 = 29;
const PR_SET_NO_NEW_PRIVS: u64 = 38;
const SECCOMP_SET_MODE_FILTER: u64 = 1;
const SECCOMP_FILTER_FLAG_TSYNC: u64 = 1;

/// One thread's part.
pub(crate) fn finish(args: &Args, me: &Thread, index: usize) {
    let leader = index == 0;
    if args.prefix.count != 0 {
        if leader {
            for &f in slice::<u32>(args, args.prefix) {
                install(args, f, SECCOMP_FILTER_FLAG_TSYNC);
            }
            args.prefix_done.store(1, Ordering::SeqCst);
            wake(&args.prefix_done);
        }
        while args.prefix_done.load(Ordering::SeqCst) == 0 {
            wait(&args.prefix_done, 0);
        }
    }
    let chain = slice::<u32>(args, me.chain);
    for (n, &f) in chain.iter().enumerate() {
        thread::create_late(args, index, n);
        install(args, f, 0);
    }
    thread::create_late(args, index, chain.len());
    if me.present & HAS_SCHED != 0 {
        schedule(args, me);
    }
    if me.affinity.count != 0 {
        let ret = call(SYS_SCHED_SETAFFINITY, [0, me.affinity.count * 8, me.affinity.address, 0, 0, 0]);
        check(args, Step::Affinity, ret, me.affinity.count);
    }
    if me.ioprio != 0 {
        check(args, Step::Ioprio, call(SYS_IOPRIO_SET, [1, 0, me.ioprio.into(), 0, 0, 0]), me.ioprio.into());
    }
    if me.timer_slack_ns != 0 {
        let ret = call(SYS_PRCTL, [PR_SET_TIMERSLACK, me.timer_slack_ns, 0, 0, 0, 0]);
        check(args, Step::TimerSlack, ret, me.timer_slack_ns);
    }
    if leader {
        await_late(args);
        for l in slice::<Limit>(args, args.limits) {
            if l.resource == RLIMIT_SIGPENDING { make_room(args, l) } else { limit(args, l) }
        }
        timers::create_all(args, me);
    } else {
        timers::overrun_own(args, me);
    }
    if me.present & HAS_CREDS != 0 {
        creds::set(args, &me.creds);
    }
    if me.no_new_privs != 0 {
        check(args, Step::NoNewPrivs, call(SYS_PRCTL, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0]), 0);
    }
    for s in slice::<Call>(args, me.settings) {
        let [a, b, c] = s.args;
        check(args, Step::Setting, call(s.nr, [a, b, c, 0, 0, 0]), a);
    }
    pending(args, me, leader);
    if me.seccomp_mode == 1 {
        check(args, Step::Strict, call(SYS_PRCTL, [PR_SET_SECCOMP, 1, 0, 0, 0, 0]), 0);
    }
    // A change of credentials clears it. The leader had one of ours, new threads have none.
    if leader || me.pdeath_signal != 0 {
        let ret = call(SYS_PRCTL, [PR_SET_PDEATHSIG, me.pdeath_signal.into(), 0, 0, 0, 0]);
        check(args, Step::DeathSignal, ret, me.pdeath_signal.into());
    }
}

/// Waits until every thread exists: limits and timers must not meet one on its way.
fn await_late(args: &Args) {
    loop {
        let born = args.late_born.load(Ordering::SeqCst);
        if born >= args.late {
            return;
        }
        wait(&args.late_born, born);
    }
}

/// The process's last part, after all its threads.
pub(crate) fn finish_process(args: &Args) {
    timers::start(args);
    // Pending signals are there by now, however many there may be of them.
    for l in slice::<Limit>(args, args.limits).iter().filter(|l| l.resource == RLIMIT_SIGPENDING) {
        limit(args, l);
    }
    // 2 cannot be set, it is what the kernel leaves behind after a change of credentials where suid_dumpable says so.
    if args.dumpable < 2 {
        let ret = call(SYS_PRCTL, [PR_SET_DUMPABLE, args.dumpable.into(), 0, 0, 0, 0]);
        check(args, Step::Dumpable, ret, args.dumpable.into());
    }
}

fn limit(args: &Args, l: &Limit) {
    let ret = call(SYS_PRLIMIT64, [0, l.resource, &raw const l.current as u64, 0, 0, 0]);
    check(args, Step::Limit, ret, l.resource);
}

/// Raises what is to be the limit `l`, as long as the right to do so is there.
fn make_room(args: &Args, l: &Limit) {
    let mut now = [0_u64; 2];
    check(args, Step::Limit, call(SYS_PRLIMIT64, [0, l.resource, 0, now.as_mut_ptr() as u64, 0, 0]), l.resource);
    let maximum = now[1].max(l.maximum);
    limit(args, &Limit { current: maximum, maximum, ..*l });
}

fn install(args: &Args, index: u32, flags: u64) {
    let Some(f) = slice::<Filter>(args, args.filters).get(index as usize) else {
        fail(args, Step::Filter, -22, index.into())
    };
    // struct sock_fprog: u16 length, padding, address.
    let program = [f.instructions.count, f.instructions.address];
    let a = [SECCOMP_SET_MODE_FILTER, f.flags | flags, program.as_ptr() as u64, 0, 0, 0];
    let ret = call(SYS_SECCOMP, a);
    if ret != 0 {
        // With TSYNC a positive value is the thread that could not follow.
        fail(args, Step::Filter, if ret < 0 { ret } else { -3 }, index.into());
    }
}

fn schedule(args: &Args, me: &Thread) {
    // Only the fair policies have a nice value in sched_setattr; under the others it waits.
    if me.sched_policy != SCHED_OTHER && me.sched_policy != SCHED_BATCH {
        let ret = call(SYS_SETPRIORITY, [PRIO_PROCESS, 0, me.sched_nice as u64, 0, 0, 0]);
        check(args, Step::Sched, ret, me.sched_nice as u64);
    }
    // struct sched_attr, version 0: size and policy, flags, nice and priority, three times of deadline scheduling.
    let attr: [u64; 6] = [
        48 | u64::from(me.sched_policy) << 32,
        me.sched_flags.into(),
        u64::from(me.sched_nice as u32) | u64::from(me.sched_priority) << 32,
        me.sched_slice_ns,
        0,
        0,
    ];
    let ret = call(SYS_SCHED_SETATTR, [0, attr.as_ptr() as u64, 0, 0, 0, 0]);
    check(args, Step::Sched, ret, me.sched_policy.into());
}

fn pending(args: &Args, me: &Thread, leader: bool) {
    for s in slice::<SigInfo>(args, me.pending) {
        if timers::ring(args, s) {
            continue;
        }
        let a = [args.pid as u64, me.tid as u64, signo(s), s.0.as_ptr() as u64, 0, 0];
        check(args, Step::Pending, call(SYS_RT_TGSIGQUEUEINFO, a), signo(s));
    }
    if leader {
        for s in slice::<SigInfo>(args, args.pending) {
            if timers::ring(args, s) {
                continue;
            }
            let a = [args.pid as u64, signo(s), s.0.as_ptr() as u64, 0, 0, 0];
            check(args, Step::Pending, call(SYS_RT_SIGQUEUEINFO, a), signo(s));
        }
    }
}

fn signo(s: &SigInfo) -> u64 {
    u64::from(u32::from_ne_bytes([s.0[0], s.0[1], s.0[2], s.0[3]]))
}
