//! What the restorer is told of each thread: no more than what differs from how threads begin.

use criu_images::messages::{ThreadCoreEntry, UserX86RegsMode};
use criu_pie::abi::restorer::{
    Call, HAS_COMM, HAS_CREDS, HAS_RSEQ, HAS_SAS, HAS_SCHED, IS_FINISHED, IS_IA32, THREAD_STACK_BYTES, Thread,
};

use super::checkpoint;
use super::region::Facts;
use crate::sys::arena::Arena;
use crate::task::sched;

impl Facts<'_> {
    /// That of the `i`th thread; the threads' stacks are at `stacks`.
    pub(super) fn thread(&self, arena: &mut Arena, stacks: u64, i: usize) -> Thread {
        let checkpoint::Thread { tid, info, core } = &self.alive.threads[i];
        let prepared = &self.prepared.threads[i];
        let seccomp = &self.prepared.seccomp.threads[i];
        let creator = seccomp.creator.unwrap_or_default();
        let mut creds = prepared.creds;
        creds.groups = arena.push(core.creds.as_ref().map_or(&[][..], |c| &c.groups));
        let sas = core.sas.as_ref();
        let rseq = core.rseq_entry.as_ref().filter(|r| r.rseq_abi_pointer != 0);
        let comm = core.comm.as_deref().unwrap_or(&self.task.core.comm);
        let mut name = [0; 16];
        let len = comm.len().min(15);
        name[..len].copy_from_slice(&comm[..len]);
        let own = &self.world.checked.own;
        let (leader, is_late) = (i == 0, seccomp.creator.is_some());
        let has_leaders_name = !leader && !is_late && comm == self.leaders_name();
        // A new thread has no alternate stack.
        let is_without_sas = sas.is_none_or(|s| !leader && s.ss_flags & SS_DISABLE != 0);
        let slack = core.timer_slack_ns.filter(|&ns| !own.has_timer_slack(ns)).unwrap_or(0);
        let mut present = 0;
        present |= if rseq.is_some() { HAS_RSEQ } else { 0 };
        present |= if core.sched_policy.is_some() && !own.has_sched(core) { HAS_SCHED } else { 0 };
        present |= if is_without_sas { 0 } else { HAS_SAS };
        present |= if prepared.has_creds { 0 } else { HAS_CREDS };
        present |= if has_leaders_name { 0 } else { HAS_COMM };
        let mut settings = settings(core);
        if let Some((mode, nodes)) = &prepared.mempolicy {
            let mask = arena.push(nodes);
            // The kernel takes one node less than it is told.
            let args = [(*mode).into(), mask.address, mask.count * 64 + 1];
            settings.push(Call { nr: libc::SYS_set_mempolicy, args });
        }
        let settings = arena.push(&settings);
        present |= if info.gpregs.mode() == UserX86RegsMode::Compat { IS_IA32 } else { 0 };
        let mut thread = Thread {
            tid: *tid,
            present,
            stack_top: stacks + (i as u64 + 1) * THREAD_STACK_BYTES,
            clear_tid: info.clear_tid_addr,
            robust_list: core.futex_rla,
            robust_len: core.futex_rla_len.into(),
            // Being on it is told by the stack pointer, not by a flag.
            sas: sas.map_or([0; 3], |s| [s.ss_sp, u64::from(s.ss_flags) & !1, s.ss_size]),
            rseq: rseq.map_or(0, |r| r.rseq_abi_pointer),
            rseq_size: rseq.map_or(0, |r| r.rseq_abi_size),
            rseq_signature: rseq.map_or(0, |r| r.signature),
            rseq_cs: rseq.map_or(0, |r| r.rseq_cs_pointer()),
            comm: name,
            affinity: arena.push(&prepared.affinity),
            ioprio: core.ioprio(),
            sched_flags: if core.sched_policy() & sched::RESET_ON_FORK != 0 {
                sched::FLAG_RESET_ON_FORK as u32
            } else {
                0
            },
            sched_policy: prepared.sched_policy,
            sched_nice: core.sched_nice(),
            sched_priority: core.sched_prio(),
            sched_slice_ns: core.sched_slice_ns(),
            pdeath_signal: core.pdeath_sig(),
            timer_slack_ns: slack,
            no_new_privs: core.creds.as_ref().map_or(0, |c| c.no_new_privs()),
            settings,
            seccomp_mode: seccomp.mode,
            chain: arena.push(&seccomp.chain),
            is_late: is_late.into(),
            creator: creator.thread as u32,
            creator_filters: creator.filters as u32,
            pending: arena.push(&prepared.pending),
            creds,
        };
        let overruns = || self.prepared.timers.iter().any(|t| t.overrun != 0 && t.notify_tid == *tid);
        if !leader && !self.prepared.seccomp.is_needed() && is_finished(&thread) && !overruns() {
            thread.present |= IS_FINISHED;
        }
        thread
    }

    fn leaders_name(&self) -> &[u8] {
        let leader = self.alive.threads.first().and_then(|t| t.core.comm.as_deref());
        leader.unwrap_or(&self.task.core.comm)
    }
}

const SS_DISABLE: u32 = 2;

/// What differs from how every thread begins.
fn settings(core: &ThreadCoreEntry) -> Vec<Call> {
    const PR_MCE_KILL_SET: u64 = 1;
    const ARCH_SET_CPUID: u64 = 0x1012;
    let mut calls = Vec::new();
    let mut add = |nr, a: u64, b: u64, c: u64| calls.push(Call { nr, args: [a, b, c] });
    if let Some(tsc) = core.tsc {
        add(libc::SYS_prctl, libc::PR_SET_TSC as u64, tsc.into(), 0);
    }
    if let Some(policy) = core.mce_kill {
        add(libc::SYS_prctl, libc::PR_MCE_KILL as u64, PR_MCE_KILL_SET, policy.into());
    }
    if let Some(personality) = core.personality {
        add(libc::SYS_personality, personality.into(), 0, 0);
    }
    if core.cpuid_denied() {
        add(libc::SYS_arch_prctl, ARCH_SET_CPUID, 0, 0);
    }
    calls
}

/// Is a thread without filters complete once it has set what binds it in nothing?
fn is_finished(t: &Thread) -> bool {
    t.present & (HAS_SCHED | HAS_CREDS) == 0
        && t.seccomp_mode == 0
        && t.affinity.count == 0
        && t.ioprio == 0
        && t.timer_slack_ns == 0
        && t.no_new_privs == 0
        && t.settings.count == 0
        && t.pending.count == 0
        && t.pdeath_signal == 0
}
