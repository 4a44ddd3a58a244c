//! `core-TID.img`: everything about one thread; the leader's also holds what belongs to the process.

use criu_compel::ptrace::ThreadArea;
use criu_compel::{ProcessFacts, ThreadFacts};
use criu_images::messages::{
    CoreEntry, RseqEntry, SeccompMode, SignalQueueEntry, TaskCoreEntry, TaskRlimitsEntry, TaskTimersEntry,
    ThreadCoreEntry, ThreadInfoX86, ThreadSasEntry, UserX86FpregsEntry, core_entry,
};

use super::abi::Abi;
use super::identity::Identity;
use super::sched::Sched;
use super::{creds, regs, rseq, seccomp, segments, sigact, timers};
use crate::proc::{PosixTimer, Status};
use crate::pstree::TaskState;

/// All tasks are in the cgroups of the root.
const CGROUP_SET: u32 = 1;

const PR_TSC_ENABLE: u32 = 1;
const PR_MCE_KILL_DEFAULT: u32 = 2;

/// What is known of one thread.
#[derive(Debug)]
pub struct Thread<'a> {
    pub tid: i32,
    pub regs: &'a criu_compel::Regs,
    pub fpregs: UserX86FpregsEntry,
    pub sigmask: u64,
    pub status: &'a Status,
    pub facts: ThreadFacts,
    pub sched: Sched,
    /// When it is not the process's.
    pub personality: Option<u32>,
    /// Mode, and index of the first filter.
    pub seccomp: (u32, Option<u32>),
    pub pending: SignalQueueEntry,
    pub robust_list: (u64, u64),
    pub rseq: Option<RseqEntry>,
    pub segments: &'a [ThreadArea],
    pub abi: Abi,
    /// Where the critical section is described that it may be in; 0: nowhere.
    pub section: u64,
    pub is_leader: bool,
}

/// What is known of one process.
#[derive(Debug)]
pub struct Process<'a> {
    pub state: TaskState,
    /// Its parent knows that it is stopped.
    pub stop_reported: bool,
    /// It goes on after a stop, which its parent has not heard of.
    pub continued: bool,
    pub comm: &'a [u8],
    /// The kernel's PF_* flags.
    pub flags: u32,
    /// By which its parent is told of its end.
    pub exit_signal: i32,
    pub identity: &'a Identity,
    pub autogroup_nice: i32,
    pub limits: &'a TaskRlimitsEntry,
    pub pending: &'a SignalQueueEntry,
    pub timers: &'a [PosixTimer],
    pub facts: &'a ProcessFacts,
    pub abi: Abi,
}

/// The image of a thread, the part of its process left out.
///
/// # Errors
/// The thread stands in a critical section (rseq) that cannot be read.
pub fn thread(t: Thread<'_>) -> std::io::Result<CoreEntry> {
    let mut gpregs = regs::gpregs(t.regs, t.abi);
    if let Some(call) = regs::call_behind(t.tid, t.regs) {
        (gpregs.ax, gpregs.orig_ax) = (call, call);
    }
    gpregs.ip = rseq::resume_at(t.tid, t.section, gpregs.ip)?;
    let stack = t.facts.altstack;
    let (mode, filter) = t.seccomp;
    Ok(CoreEntry {
        mtype: core_entry::March::X8664 as i32,
        thread_info: Some(ThreadInfoX86 {
            clear_tid_addr: t.facts.tid_address.unwrap_or(0),
            gpregs,
            fpregs: t.fpregs,
            tls: t.segments.iter().map(segments::entry).collect(),
        }),
        thread_core: Some(ThreadCoreEntry {
            futex_rla: t.robust_list.0,
            futex_rla_len: t.robust_list.1 as u32,
            sched_nice: Some(t.sched.nice),
            sched_policy: Some(t.sched.policy),
            sched_prio: t.sched.priority,
            sched_slice_ns: t.sched.slice_ns,
            sched_deadline: t.sched.deadline.map(|promised| *promised),
            personality: t.personality,
            mempolicy: t.facts.mempolicy.map(|p| p.mode),
            mempolicy_nodes: t.facts.mempolicy.map_or_else(Vec::new, |p| trimmed(p.nodes)),
            blk_sigset: (!t.is_leader).then_some(t.sigmask),
            sas: Some(ThreadSasEntry { ss_sp: stack.sp, ss_size: stack.size_bytes, ss_flags: stack.flags }),
            pdeath_sig: (t.facts.pdeath_signal != 0).then_some(t.facts.pdeath_signal as u32),
            signals_p: Some(t.pending),
            creds: Some(creds::entry(t.status, t.facts.securebits)),
            seccomp_mode: SeccompMode::try_from(mode as i32)
                .ok()
                .filter(|m| *m != SeccompMode::Disabled)
                .map(Into::into),
            seccomp_filter: filter,
            comm: Some(t.status.name.clone()),
            rseq_entry: t.rseq,
            cg_set: Some(CGROUP_SET),
            timer_slack_ns: Some(t.facts.timer_slack_ns),
            cpu_affinity: t.sched.affinity,
            ioprio: (t.sched.ioprio != 0).then_some(t.sched.ioprio),
            // Strict seccomp takes the counter away by itself.
            tsc: t.facts.tsc.filter(|tsc| *tsc != PR_TSC_ENABLE && mode != seccomp::mode::STRICT),
            mce_kill: t.facts.mce_kill.filter(|policy| *policy != PR_MCE_KILL_DEFAULT),
            cpuid_denied: (t.facts.cpuid == Some(false)).then_some(true),
            ..ThreadCoreEntry::default()
        }),
        ..CoreEntry::default()
    })
}

fn trimmed(mask: [u64; 8]) -> Vec<u64> {
    let len = mask.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
    mask[..len].to_vec()
}

/// The part of a living process, which stands in its leader's image; `sigmask` is the leader's.
pub fn process(p: &Process<'_>, sigmask: u64) -> TaskCoreEntry {
    let [real, virt, prof] = p.facts.itimers.map(timers::itimer);
    let posix = p.timers.iter().zip(&p.facts.posix_timers).map(|(t, now)| timers::posix(t, now)).collect();
    TaskCoreEntry {
        task_state: p.state.number(),
        exit_code: 0,
        personality: p.identity.personality,
        flags: p.flags,
        blk_sigset: sigmask,
        comm: p.comm.to_vec(),
        timers: Some(TaskTimersEntry { real, virt, prof, posix }),
        rlimits: Some(p.limits.clone()),
        cg_set: None,
        signals_s: Some(p.pending.clone()),
        loginuid: p.identity.loginuid,
        oom_score_adj: Some(p.identity.oom_score_adj),
        sigactions: sigact::entries(&p.facts.sigactions, p.abi),
        child_subreaper: Some(p.facts.child_subreaper),
        exit_signal: unusual(p.exit_signal),
        autogroup_nice: (p.autogroup_nice != 0).then_some(p.autogroup_nice),
        stop_signo: match p.state {
            TaskState::Stopped(signo) => Some(signo as u32),
            _ => None,
        },
        stop_reported: p.stop_reported.then_some(true),
        continued: p.continued.then_some(true),
        membarrier_registration_mask: p.facts.membarrier.filter(|m| *m != 0),
        coredump_filter: p.identity.coredump_filter,
        mdwe: p.facts.mdwe.filter(|m| *m != 0),
        ..TaskCoreEntry::default()
    }
}

/// The image of a main thread that has exited while others go on; `of` is that of one of the others, whose registers it has
/// for a place that they never get to.
pub fn dead_leader(of: &CoreEntry, p: &Process<'_>, status: &Status, exit_code: u32) -> CoreEntry {
    let mut core = of.clone();
    core.tc = Some(TaskCoreEntry { leader_exit_code: Some(exit_code), ..process(p, status.sig_blocked) });
    if let Some(info) = &mut core.thread_info {
        info.clear_tid_addr = 0;
    }
    let creds = creds::entry(status, core.thread_core.as_ref().and_then(|t| t.creds.as_ref()).map_or(0, |c| c.secbits));
    core.thread_core = core.thread_core.map(|t| ThreadCoreEntry {
        futex_rla: 0,
        futex_rla_len: 0,
        blk_sigset: None,
        sas: None,
        pdeath_sig: None,
        signals_p: None,
        creds: Some(creds),
        seccomp_mode: None,
        seccomp_filter: None,
        comm: Some(status.name.clone()),
        rseq_entry: None,
        tsc: None,
        mce_kill: None,
        cpuid_denied: None,
        ..t
    });
    core
}

/// The image of a zombie, whose parent was told of its end by `exit_signal`.
pub fn zombie(comm: &[u8], exit_code: u32, exit_signal: i32) -> CoreEntry {
    CoreEntry {
        mtype: core_entry::March::X8664 as i32,
        tc: Some(TaskCoreEntry {
            task_state: TaskState::Zombie(exit_code).number(),
            exit_code,
            comm: comm.to_vec(),
            exit_signal: unusual(exit_signal),
            ..TaskCoreEntry::default()
        }),
        ..CoreEntry::default()
    }
}

/// An exit signal as images have it: only one that is not everybody's.
fn unusual(exit_signal: i32) -> Option<u32> {
    (exit_signal != libc::SIGCHLD).then_some(exit_signal as u32)
}
