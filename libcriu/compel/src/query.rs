//! Facts that only the task itself can tell: everything about the process in one round trip, everything about its threads
//! in another.

use crate::each_thread::ThreadAnswer;
use crate::error::{Error, Kind, Result};
use crate::infect::Infected;
use criu_pie::abi::parasite::Call;

pub const SIGNALS: usize = 64;

/// A signal's action as the kernel keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigAction {
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: u64,
}

/// Time left and interval, each as whole seconds and a fraction: microseconds in interval timers, nanoseconds in POSIX timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerValue {
    pub interval: (i64, i64),
    pub left: (i64, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PosixTimer {
    pub id: i32,
    pub value: TimerValue,
    pub overrun: i32,
}

/// Facts about the process. `None` = the kernel has no such thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Of the signals 1 to 64.
    pub sigactions: Vec<SigAction>,
    /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    pub itimers: [TimerValue; 3],
    /// Of the ids that were asked for.
    pub posix_timers: Vec<PosixTimer>,
    pub brk: u64,
    pub dumpable: i32,
    pub child_subreaper: bool,
    /// PR_GET_THP_DISABLE.
    pub thp_disable: i32,
    /// PR_GET_MDWE: memory-deny-write-execute.
    pub mdwe: Option<u32>,
    /// PR_GET_MEMORY_MERGE.
    pub memory_merge: Option<bool>,
    /// MEMBARRIER_CMD_GET_REGISTRATIONS.
    pub membarrier: Option<u32>,
    /// Has it a keyring of its own (KEY_SPEC_PROCESS_KEYRING)?
    pub has_keyring: bool,
    /// ARCH_GET_XCOMP_PERM: the xsave components that its threads may use, by bits; all others are refused to them by the kernel.
    pub permitted_xstate: Option<u64>,
    /// Memory protection keys that are allocated: bit n for the key n. Key 0, which always is, is left out, as is the one that the
    /// kernel keeps for areas that can only be executed.
    pub protection_keys: u16,
    /// A child that goes on after a stop, without that this process has fetched the report of it.
    pub continued_child: Option<i32>,
}

/// sigaltstack of a thread; that it is running on it at the moment is not a flag here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    pub sp: u64,
    pub flags: u32,
    pub size_bytes: u64,
}

/// Facts about one thread. `None` = the kernel has no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadFacts {
    pub tid: i32,
    /// clear_child_tid: 0 and futex-woken when the thread ends.
    pub tid_address: Option<u64>,
    pub altstack: AltStack,
    pub pdeath_signal: i32,
    pub securebits: u32,
    pub timer_slack_ns: u64,
    pub no_new_privs: bool,
    /// PR_MCE_KILL_GET.
    pub mce_kill: Option<u32>,
    /// PR_GET_TSC: PR_TSC_ENABLE or PR_TSC_SIGSEGV.
    pub tsc: Option<u32>,
    /// ARCH_GET_CPUID: whether cpuid is allowed.
    pub cpuid: Option<bool>,
    /// PR_GET_IO_FLUSHER; `None` also without CAP_SYS_RESOURCE.
    pub io_flusher: Option<bool>,
    /// get_mempolicy(2); `None` also for the default.
    pub mempolicy: Option<MemPolicy>,
    /// Has it a keyring of its own (KEY_SPEC_THREAD_KEYRING)?
    pub has_keyring: bool,
    /// May it look at this process? What is confined by a security module may not, whatever its rights.
    pub may_look_at_tracer: bool,
}

/// Where a thread gets memory from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemPolicy {
    pub mode: u32,
    /// Bit n of word n / 64 is the node n.
    pub nodes: [u64; 8],
}

const PR_GET_PDEATHSIG: u64 = 2;
const PR_GET_DUMPABLE: u64 = 3;
const PR_GET_TSC: u64 = 25;
const PR_GET_SECUREBITS: u64 = 27;
const PR_GET_TIMERSLACK: u64 = 30;
const PR_MCE_KILL_GET: u64 = 34;
const PR_GET_CHILD_SUBREAPER: u64 = 37;
const PR_GET_NO_NEW_PRIVS: u64 = 39;
const PR_GET_TID_ADDRESS: u64 = 40;
const PR_GET_THP_DISABLE: u64 = 42;
const PR_GET_IO_FLUSHER: u64 = 58;
const PR_GET_MDWE: u64 = 66;
const PR_GET_MEMORY_MERGE: u64 = 68;
const ARCH_GET_CPUID: u64 = 0x1011;
const ARCH_GET_XCOMP_PERM: u64 = 0x1022;
const MEMBARRIER_CMD_GET_REGISTRATIONS: u64 = 1 << 9;
const SS_ONSTACK: u32 = 1;
const MPOL_DEFAULT: u32 = 0;
const KEY_SPEC_THREAD_KEYRING: i64 = -1;
const KEY_SPEC_PROCESS_KEYRING: i64 = -2;
const PROTECTION_KEYS: u64 = 16;
/// In the kernel's half, so nothing of the task can be there. pkey_mprotect looks at the key first.
const NOWHERE: u64 = 0xffff_8000_0000_0000;

fn call(nr: i64, args: &[u64]) -> Call {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    Call { nr: nr as u64, args: all, ret: 0 }
}

fn prctl(option: u64, arg: u64) -> Call {
    call(libc::SYS_prctl, &[option, arg])
}

/// Asks whether it has gone on; the answer is written to `info`, and can be fetched still.
fn has_gone_on(which: libc::idtype_t, id: i32, info: u64) -> Call {
    let options = libc::WCONTINUED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    call(libc::SYS_waitid, &[which.into(), id as u64, info, options as u64, 0])
}

/// Of whom what such a call has written tells.
fn who_has_gone_on(info: &[u8], at: usize) -> Option<i32> {
    const PID_AT: usize = 16;
    Some(half(info, at + PID_AT) as i32).filter(|pid| *pid != 0)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    if let Some(b) = bytes.get(at..at + 8) {
        word.copy_from_slice(b);
    }
    u64::from_le_bytes(word)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    word(bytes, at) as u32
}

fn timer_value(bytes: &[u8], at: usize) -> TimerValue {
    let field = |i: usize| word(bytes, at + 8 * i) as i64;
    TimerValue { interval: (field(0), field(1)), left: (field(2), field(3)) }
}

/// Asks for the id of a keyring; nothing is made when there is none. (Asking for that of the session would make one.)
fn keyring(special: i64) -> Call {
    const KEYCTL_GET_KEYRING_ID: u64 = 0;
    call(libc::SYS_keyctl, &[KEYCTL_GET_KEYRING_ID, special as u64, 0])
}

/// A value that the kernel may not know of.
fn known(ret: i64) -> Option<u32> {
    u32::try_from(ret).ok()
}

/// Layout of the scratch memory for the process' facts.
const SIGACTION_BYTES: usize = 32;
const ITIMERS_AT: usize = SIGNALS * SIGACTION_BYTES;
const TIMER_BYTES: usize = 32;
const SUBREAPER_AT: usize = ITIMERS_AT + 3 * TIMER_BYTES;
const CONTINUED_AT: usize = SUBREAPER_AT + 8;
const SIGINFO_BYTES: usize = 128;
const PERMITTED_AT: usize = CONTINUED_AT + SIGINFO_BYTES;
const PROCESS_BYTES: usize = PERMITTED_AT + 8;
/// Children in one round.
const CHILDREN_PER_ROUND: usize = 100;
/// POSIX timers in one round.
const TIMERS_PER_ROUND: usize = 90;

impl Infected {
    /// Facts of the process and of every thread, in the order of [`crate::SeizedTask::threads`]. `timer_ids`: the POSIX timers that
    /// /proc/PID/timers lists.
    ///
    /// # Errors
    /// When the task died, or a call failed that never fails in a living task.
    pub fn query(&mut self, timer_ids: &[i32]) -> Result<(ProcessFacts, Vec<ThreadFacts>)> {
        Ok((self.query_process(timer_ids)?, self.query_threads(&|_| true)?))
    }

    /// The facts of the process alone.
    ///
    /// # Errors
    /// As [`Infected::query`].
    pub fn query_process(&mut self, timer_ids: &[i32]) -> Result<ProcessFacts> {
        let mut process = self.query_all_but_timers()?;
        for ids in timer_ids.chunks(TIMERS_PER_ROUND) {
            self.query_timers(ids, &mut process.posix_timers)?;
        }
        Ok(process)
    }

    /// The facts of the threads (by their place in [`crate::SeizedTask::threads`]) that are `wanted`, in their order. Other threads are
    /// not touched.
    ///
    /// # Errors
    /// As [`Infected::query`].
    pub fn query_threads(&mut self, wanted: &dyn Fn(usize) -> bool) -> Result<Vec<ThreadFacts>> {
        let answers = self.each_thread(wanted, &thread_calls)?;
        answers.iter().map(|answer| self.thread_facts(answer)).collect()
    }

    fn must(&self, done: &Call, what: &'static str) -> Result<i64> {
        if (-4095..0).contains(&done.ret) { Err(Error::remote(self.host(), what, done.ret)) } else { Ok(done.ret) }
    }

    fn query_all_but_timers(&mut self) -> Result<ProcessFacts> {
        let (scratch, _) = self.scratch();
        let at = |offset: usize| scratch + offset as u64;
        let mut calls = Vec::new();
        for signal in 0..SIGNALS {
            calls.push(call(libc::SYS_rt_sigaction, &[signal as u64 + 1, 0, at(signal * SIGACTION_BYTES), 8]));
        }
        for which in 0..3 {
            calls.push(call(libc::SYS_getitimer, &[which as u64, at(ITIMERS_AT + which * TIMER_BYTES)]));
        }
        calls.push(prctl(PR_GET_CHILD_SUBREAPER, at(SUBREAPER_AT)));
        calls.push(call(libc::SYS_brk, &[0]));
        calls.push(prctl(PR_GET_DUMPABLE, 0));
        calls.push(prctl(PR_GET_THP_DISABLE, 0));
        let must = calls.len();
        calls.push(prctl(PR_GET_MDWE, 0));
        calls.push(prctl(PR_GET_MEMORY_MERGE, 0));
        calls.push(call(libc::SYS_membarrier, &[MEMBARRIER_CMD_GET_REGISTRATIONS, 0, 0]));
        calls.push(keyring(KEY_SPEC_PROCESS_KEYRING));
        calls.push(has_gone_on(libc::P_ALL, 0, at(CONTINUED_AT)));
        calls.push(call(libc::SYS_arch_prctl, &[ARCH_GET_XCOMP_PERM, at(PERMITTED_AT)]));
        let keys = calls.len();
        calls.extend((1..PROTECTION_KEYS).map(|key| call(libc::SYS_pkey_mprotect, &[NOWHERE, 4096, 0, key])));
        self.memory().write(scratch, &[0; PROCESS_BYTES])?;
        self.syscalls(&mut calls)?;
        let mut got = [0; PROCESS_BYTES];
        self.memory().read(scratch, &mut got)?;
        for done in &calls[..must] {
            self.must(done, "asking the task about itself")?;
        }
        let sigaction = |at: usize| SigAction {
            handler: word(&got, at),
            flags: word(&got, at + 8),
            restorer: word(&got, at + 16),
            mask: word(&got, at + 24),
        };
        Ok(ProcessFacts {
            sigactions: (0..SIGNALS).map(|signal| sigaction(signal * SIGACTION_BYTES)).collect(),
            itimers: [0, 1, 2].map(|which| timer_value(&got, ITIMERS_AT + which * TIMER_BYTES)),
            posix_timers: Vec::new(),
            child_subreaper: half(&got, SUBREAPER_AT) != 0,
            brk: calls[must - 3].ret as u64,
            dumpable: calls[must - 2].ret as i32,
            thp_disable: calls[must - 1].ret as i32,
            mdwe: known(calls[must].ret),
            memory_merge: known(calls[must + 1].ret).map(|v| v != 0),
            membarrier: known(calls[must + 2].ret),
            has_keyring: calls[must + 3].ret > 0,
            continued_child: who_has_gone_on(&got, CONTINUED_AT),
            permitted_xstate: (calls[must + 5].ret == 0).then(|| word(&got, PERMITTED_AT)),
            // An allocated key finds no memory, any other is invalid.
            protection_keys: (1..)
                .zip(&calls[keys..])
                .filter(|(_, done)| done.ret == -i64::from(libc::ENOMEM))
                .fold(0, |keys, (key, _)| keys | 1 << key),
        })
    }

    /// Which of these children go on after a stop, without that this process has fetched the report of it.
    ///
    /// # Errors
    /// As [`Infected::query`].
    pub fn query_continued(&mut self, children: &[i32]) -> Result<Vec<i32>> {
        let (scratch, _) = self.scratch();
        let mut found = Vec::new();
        for some in children.chunks(CHILDREN_PER_ROUND) {
            let info = |number: usize| scratch + (number * SIGINFO_BYTES) as u64;
            let asks = |(number, child): (usize, &i32)| has_gone_on(libc::P_PID, *child, info(number));
            let mut calls: Vec<Call> = some.iter().enumerate().map(asks).collect();
            let mut got = vec![0; some.len() * SIGINFO_BYTES];
            self.memory().write(scratch, &got)?;
            self.syscalls(&mut calls)?;
            self.memory().read(scratch, &mut got)?;
            found.extend((0..some.len()).filter_map(|number| who_has_gone_on(&got, number * SIGINFO_BYTES)));
        }
        Ok(found)
    }

    fn query_timers(&mut self, ids: &[i32], timers: &mut Vec<PosixTimer>) -> Result<()> {
        let (scratch, _) = self.scratch();
        let mut calls = Vec::new();
        for (number, &id) in ids.iter().enumerate() {
            let value = scratch + (number * TIMER_BYTES) as u64;
            calls.push(call(libc::SYS_timer_gettime, &[id as u64, value]));
            calls.push(call(libc::SYS_timer_getoverrun, &[id as u64]));
        }
        self.syscalls(&mut calls)?;
        let mut got = vec![0; ids.len() * TIMER_BYTES];
        self.memory().read(scratch, &mut got)?;
        for ((number, &id), done) in ids.iter().enumerate().zip(calls.chunks(2)) {
            self.must(&done[0], "timer_gettime in the task")?;
            let overrun = self.must(&done[1], "timer_getoverrun in the task")? as i32;
            timers.push(PosixTimer { id, value: timer_value(&got, number * TIMER_BYTES), overrun });
        }
        Ok(())
    }

    fn thread_facts(&self, answer: &ThreadAnswer) -> Result<ThreadFacts> {
        let [altstack, pdeath, secure, slack, privs, tid_address, mce, tsc, cpuid, flusher, policy, keyring, look] =
            answer.calls[..]
        else {
            return Err(Error::new(answer.tid, Kind::Unexpected, "asking all threads"));
        };
        for done in [altstack, pdeath, secure, slack, privs] {
            self.must(&done, "asking a thread about itself")?;
        }
        let got = &answer.scratch;
        Ok(ThreadFacts {
            tid: answer.tid,
            tid_address: (tid_address.ret == 0).then(|| word(got, TID_ADDRESS_AT)),
            altstack: AltStack { sp: word(got, 0), flags: half(got, 8) & !SS_ONSTACK, size_bytes: word(got, 16) },
            pdeath_signal: half(got, PDEATH_AT) as i32,
            securebits: secure.ret as u32,
            timer_slack_ns: slack.ret as u64,
            no_new_privs: privs.ret != 0,
            mce_kill: known(mce.ret),
            tsc: (tsc.ret == 0).then(|| half(got, TSC_AT)),
            cpuid: known(cpuid.ret).map(|v| v != 0),
            io_flusher: known(flusher.ret).map(|v| v != 0),
            mempolicy: (policy.ret == 0).then(|| mempolicy(got)).filter(|p| p.mode != MPOL_DEFAULT),
            has_keyring: keyring.ret > 0,
            may_look_at_tracer: look.ret == -i64::from(libc::EFAULT),
        })
    }
}

/// Layout of a thread's scratch memory: `stack_t` first.
const PDEATH_AT: usize = 24;
const TID_ADDRESS_AT: usize = 32;
const TSC_AT: usize = 40;
const POLICY_AT: usize = 48;
const NODES_AT: usize = 56;
const NODES: usize = 512;

fn mempolicy(got: &[u8]) -> MemPolicy {
    MemPolicy { mode: half(got, POLICY_AT), nodes: std::array::from_fn(|n| word(got, NODES_AT + 8 * n)) }
}

fn thread_calls(scratch: u64) -> Vec<Call> {
    let at = |offset: usize| scratch + offset as u64;
    vec![
        call(libc::SYS_sigaltstack, &[0, scratch]),
        prctl(PR_GET_PDEATHSIG, at(PDEATH_AT)),
        prctl(PR_GET_SECUREBITS, 0),
        prctl(PR_GET_TIMERSLACK, 0),
        prctl(PR_GET_NO_NEW_PRIVS, 0),
        prctl(PR_GET_TID_ADDRESS, at(TID_ADDRESS_AT)),
        prctl(PR_MCE_KILL_GET, 0),
        prctl(PR_GET_TSC, at(TSC_AT)),
        call(libc::SYS_arch_prctl, &[ARCH_GET_CPUID, 0]),
        prctl(PR_GET_IO_FLUSHER, 0),
        call(libc::SYS_get_mempolicy, &[at(POLICY_AT), at(NODES_AT), NODES as u64 + 1, 0, 0]),
        keyring(KEY_SPEC_THREAD_KEYRING),
        // Rights come first; then there is no place to write to.
        call(libc::SYS_get_robust_list, &[u64::from(std::process::id()), NOWHERE, NOWHERE]),
    ]
}
