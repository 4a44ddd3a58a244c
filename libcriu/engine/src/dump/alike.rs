//! Processes with many threads: most of them differ in little. The kernel's own records of all threads are read at once; of threads
//! with the same credentials, filters, scheduling ... only the first is looked at closely, and asked by the parasite. The others have
//! what it has, but for what the records tell of each.
//!
//! Only that words are the same counts for most of a record: what flags mean is no interface. Of the words that are understood, those of the
//! first must say what it was seen to be, or the others are looked at as well.

use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;

use criu_compel::{AltStack, SeizedThread, ThreadFacts};
use criu_images::messages::RseqEntry;

use crate::proc::Status;
use crate::sys::cpu;
use crate::sys::kernel::{Each, Iterator, Layouts, Word};

/// From here on it is worth the time that the records take to come by.
const MANY: usize = 64;

/// What threads of one process share, and is compared with the rest.
const SHARED: [Word; 8] = [
    Word::At("mm"),
    Word::At("signal"),
    Word::At("sighand"),
    Word::At("files"),
    Word::At("fs"),
    Word::At("cred"),
    Word::At("real_cred"),
    Word::At("tgid"),
];

/// What is the same in threads that are alike, those of different processes among them.
pub(super) const SAME: [Word; 37] = [
    Word::At("nsproxy"),
    Word::At("cgroups"),
    Word::At("flags"),
    Word::At("atomic_flags"),
    Word::At("thread_info.flags"),
    Word::At("thread_info.syscall_work"),
    Word::At("seccomp.mode"),
    Word::At("seccomp.filter"),
    Word::Perhaps("thread.features"),
    Word::At("thread.tls_array"),
    Word::Part("thread.tls_array", 8),
    Word::Part("thread.tls_array", 16),
    Word::At("policy"),
    Word::At("static_prio"),
    Word::Perhaps("se.slice"),
    Word::At("rt_priority"),
    Word::Bit("sched_reset_on_fork"),
    Word::Behind("io_context", "io_context", "ioprio"),
    Word::At("nr_cpus_allowed"),
    Word::At("cpus_mask"),
    Word::Part("cpus_mask", 8),
    Word::Part("cpus_mask", 16),
    Word::Part("cpus_mask", 24),
    Word::Part("cpus_mask", 32),
    Word::Part("cpus_mask", 40),
    Word::Part("cpus_mask", 48),
    Word::Part("cpus_mask", 56),
    Word::At("exit_state"),
    Word::Behind("thread_pid", "pid", "level"),
    Word::Perhaps("mempolicy"),
    Word::Perhaps("uclamp_req"),
    Word::At("personality"),
    Word::At("dl.dl_runtime"),
    Word::At("dl.dl_deadline"),
    Word::At("dl.dl_period"),
    Word::At("dl.flags"),
    Word::At("ptrace"),
];
/// CPUs in the words of the mask above.
const MOST_CPUS: usize = 512;

pub(super) const OWN: [Word; 17] = [
    Word::Address,
    Word::At("pid"),
    Word::At("blocked"),
    Word::At("comm"),
    Word::Part("comm", 8),
    Word::At("clear_child_tid"),
    Word::At("sas_ss_sp"),
    Word::At("sas_ss_size"),
    Word::At("sas_ss_flags"),
    Word::At("pdeath_signal"),
    Word::At("timer_slack_ns"),
    Word::At("robust_list"),
    Word::At("rseq"),
    Word::At("rseq_len"),
    Word::At("rseq_sig"),
    Word::At("pending.list.next"),
    Word::At("children.next"),
];
const WORDS: usize = OWN.len() + SHARED.len() + SAME.len();

const SS_DISABLE: u64 = 2;
const SS_AUTODISARM: u64 = 1 << 31;

/// What its record tells of a thread alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub tid: i32,
    blocked: u64,
    comm: [u64; 2],
    clear_child_tid: u64,
    altstack: AltStack,
    pdeath_signal: i32,
    timer_slack_ns: u64,
    pub robust_list: u64,
    rseq: (u64, u32, u32),
    pub has_pending: bool,
    pub has_children: bool,
}

/// The threads of a process, in the order of the seized ones.
#[derive(Clone, Debug)]
pub(super) struct Alike {
    pub threads: Vec<Own>,
    /// For each the first one that it is like: perhaps itself.
    pub models: Vec<usize>,
}

/// Where lists of a thread start, which lead there when they are empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lists {
    pending: u64,
    children: u64,
}

/// How to get at records.
struct Records {
    iterator: Iterator,
    lists: Lists,
}

impl Records {
    fn load() -> io::Result<Records> {
        let layouts = Layouts::of_this_kernel()?;
        let words: Vec<Word> = OWN.iter().chain(&SHARED).chain(&SAME).copied().collect();
        Ok(Records { iterator: Iterator::load(layouts, Each::Thread, &words)?, lists: Lists::of(layouts)? })
    }
}

/// Do the words of a record hold the CPUs of a thread?
pub(super) fn hold_all_cpus() -> bool {
    cpu::possible().is_some_and(|n| n <= MOST_CPUS)
}

impl Lists {
    /// # Errors
    /// ENOENT: the kernel has no such lists.
    pub(super) fn of(layouts: &Layouts) -> io::Result<Lists> {
        let place = |path| Ok::<_, io::Error>(layouts.member("task_struct", path)?.offset as u64);
        Ok(Lists { pending: place("pending.list")?, children: place("children")? })
    }

    pub(super) fn own(&self, words: &[u64; OWN.len()]) -> Own {
        let [address, tid, blocked, name, more_name, tid_address, words @ ..] = *words;
        let [sp, size, flags, pdeath, slack, robust_list, rseq, rseq_bytes, signature, pending, children] = words;
        let disabled = if size == 0 { SS_DISABLE } else { 0 };
        Own {
            tid: tid as i32,
            blocked,
            comm: [name, more_name],
            clear_child_tid: tid_address,
            altstack: AltStack { sp, flags: (disabled | flags & SS_AUTODISARM) as u32, size_bytes: size },
            pdeath_signal: pdeath as i32,
            timer_slack_ns: slack,
            robust_list,
            rseq: (rseq, rseq_bytes as u32, signature as u32),
            has_pending: pending != address.wrapping_add(self.pending),
            has_children: children != address.wrapping_add(self.children),
        }
    }
}

impl Alike {
    /// Of a process whose threads, all that it has, stand still. `None` when they are few, or there are no records of just these.
    pub fn of(pid: i32, threads: &[SeizedThread]) -> Option<Alike> {
        static RECORDS: OnceLock<Option<Records>> = OnceLock::new();
        if threads.len() < MANY || !hold_all_cpus() {
            return None;
        }
        let told = |e: &io::Error| log::debug!("the kernel's records of threads cannot be read: {e}");
        let records = RECORDS.get_or_init(|| Records::load().inspect_err(told).ok()).as_ref()?;
        let words = records.iterator.read(pid).inspect_err(told).ok()?;
        let (found, _) = words.as_chunks::<WORDS>();
        let mut classes: HashMap<&[u64], usize> = HashMap::new();
        let by_tid: HashMap<i32, (Own, &[u64])> = found
            .iter()
            .filter_map(|record| {
                let (own, same) = record.split_first_chunk::<{ OWN.len() }>()?;
                let own = records.lists.own(own);
                Some((own.tid, (own, same)))
            })
            .collect();
        if by_tid.len() != threads.len() {
            return None;
        }
        let mut alike = Alike { threads: Vec::with_capacity(threads.len()), models: Vec::with_capacity(threads.len()) };
        for (at, thread) in threads.iter().enumerate() {
            // Other numbers: the engine is in a pid namespace of its own.
            let (own, same) = by_tid.get(&thread.tid)?;
            alike.threads.push(*own);
            alike.models.push(*classes.entry(same).or_insert(at));
        }
        log::debug!("pid {pid}: {} threads of {} kinds", threads.len(), classes.len());
        Some(alike)
    }

    /// Threads that are looked at themselves.
    pub fn is_model(&self, at: usize) -> bool {
        self.models.get(at) == Some(&at)
    }

    /// Those that are like `model` are no longer taken for that.
    pub fn part(&mut self, model: usize) {
        for (at, m) in self.models.iter_mut().enumerate().filter(|(_, m)| **m == model) {
            *m = at;
        }
    }
}

impl Own {
    fn name(&self) -> Vec<u8> {
        let bytes = self.comm.map(u64::to_le_bytes).concat();
        bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec()
    }

    /// The status of a thread that is like one with this.
    pub fn status(&self, model: &Status) -> Status {
        Status { name: self.name(), sig_blocked: self.blocked, ns_pids: vec![self.tid], ..model.clone() }
    }

    pub fn rseq(&self) -> Option<RseqEntry> {
        let (rseq_abi_pointer, rseq_abi_size, signature) = self.rseq;
        (rseq_abi_pointer != 0).then_some(RseqEntry {
            rseq_abi_pointer,
            rseq_abi_size,
            signature,
            rseq_cs_pointer: None,
        })
    }

    /// What a thread would say that is like one that has said this.
    pub fn facts(&self, model: &ThreadFacts) -> ThreadFacts {
        ThreadFacts {
            tid: self.tid,
            tid_address: model.tid_address.map(|_| self.clear_child_tid),
            altstack: self.altstack,
            pdeath_signal: self.pdeath_signal,
            timer_slack_ns: self.timer_slack_ns,
            ..*model
        }
    }
}
