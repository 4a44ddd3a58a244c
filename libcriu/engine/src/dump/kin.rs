//! Trees of many processes: most of them are forks of each other that differ in little. As with threads (`alike`), the kernel's own
//! records tell which: of processes with the same credentials, namespaces, limits, signal actions ... only the first is looked at
//! closely, and infected. The others have what it has, but for what their records tell of each.
//!
//! Memory, descriptors and directories are looked at in each process. One with several threads, with timers, or with anything else that
//! records do not tell is looked at itself. So are all that are like one whose record does not tell what it was seen to be.

use std::collections::{HashMap, HashSet};
use std::io;

use criu_compel::{ProcessFacts, ThreadFacts, TimerValue};

use super::alike::{self, Lists, OWN, SAME, hold_all_cpus};
use super::freeze::FrozenTask;
use crate::proc::Status;
use crate::sys::kcmp::{Kobj, kcmp};
use crate::sys::kernel::{Each, Iterator, Layouts, Word};

/// From here on it is worth the time that the records take to come by.
const MANY: usize = 8;

/// What a record tells of a process alone, beside what it tells of its thread.
const OF_PROCESS: [Word; 10] = [
    Word::At("tgid"),
    Word::Behind("thread_pid", "pid", "level"),
    Word::At("cred"),
    Word::At("real_cred"),
    Word::At("signal"),
    Word::Behind("signal", "signal_struct", "nr_threads"),
    Word::Behind("signal", "signal_struct", "shared_pending.list.next"),
    Word::Behind("signal", "signal_struct", "posix_timers"),
    Word::Behind("signal", "signal_struct", "real_timer.node.node.__rb_parent_color"),
    Word::Behind("mm", "mm_struct", "brk"),
];

/// What it holds, by address: at the same one it is the same.
const HELD: [Word; 11] = [
    Word::At("mm"),
    Word::At("files"),
    Word::At("fs"),
    Word::At("sighand"),
    Word::Behind("mm", "mm_struct", "exe_file"),
    Word::Behind("fs", "fs_struct", "pwd.mnt"),
    Word::Behind("fs", "fs_struct", "pwd.dentry"),
    Word::Behind("fs", "fs_struct", "root.mnt"),
    Word::Behind("fs", "fs_struct", "root.dentry"),
    Word::Behind("files", "files_struct", "fdt"),
    Word::Behind("files", "files_struct", "close_on_exec_init"),
];
/// A table that is small is a part of its owner.
const TABLE: Word = Word::Block("files", "files_struct", "fd_array");
const TABLE_WORDS: usize = 64;

/// What is the same in processes that are alike, beside what is in threads that are.
const ALSO_SAME: [Word; 36] = [
    Word::Perhaps("loginuid"),
    Word::Behind("fs", "fs_struct", "umask"),
    Word::Behind("cred", "cred", "uid"),
    Word::Behind("cred", "cred", "gid"),
    Word::Behind("cred", "cred", "suid"),
    Word::Behind("cred", "cred", "sgid"),
    Word::Behind("cred", "cred", "euid"),
    Word::Behind("cred", "cred", "egid"),
    Word::Behind("cred", "cred", "fsuid"),
    Word::Behind("cred", "cred", "fsgid"),
    Word::Behind("cred", "cred", "securebits"),
    Word::Behind("cred", "cred", "cap_inheritable"),
    Word::Behind("cred", "cred", "cap_permitted"),
    Word::Behind("cred", "cred", "cap_effective"),
    Word::Behind("cred", "cred", "cap_bset"),
    Word::Behind("cred", "cred", "cap_ambient"),
    Word::Behind("cred", "cred", "user_ns"),
    Word::Behind("cred", "cred", "group_info"),
    Word::PerhapsBehind("cred", "cred", "process_keyring"),
    Word::PerhapsBehind("cred", "cred", "thread_keyring"),
    Word::Behind("signal", "signal_struct", "is_child_subreaper"),
    Word::Behind("signal", "signal_struct", "oom_score_adj"),
    Word::Behind("signal", "signal_struct", "oom_score_adj_min"),
    Word::Behind("signal", "signal_struct", "it_real_incr"),
    Word::Block("signal", "signal_struct", "it"),
    Word::Block("signal", "signal_struct", "rlim"),
    Word::Block("sighand", "sighand_struct", "action"),
    Word::Behind("mm", "mm_struct", "flags"),
    Word::Behind("mm", "mm_struct", "def_flags"),
    Word::Behind("mm", "mm_struct", "locked_vm"),
    Word::PerhapsBehind("mm", "mm_struct", "membarrier_state"),
    Word::PerhapsBehind("mm", "mm_struct", "context.ldt"),
    Word::PerhapsBehind("mm", "mm_struct", "context.pkey_allocation_map"),
    Word::PerhapsBehind("mm", "mm_struct", "context.execute_only_pkey"),
    Word::PerhapsBehind("mm", "mm_struct", "context.untag_mask"),
    Word::Block("mm", "mm_struct", "saved_auxv"),
];

/// What its record tells of a process alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub thread: alike::Own,
    pub has_pending: bool,
    brk: u64,
    /// Address space, table of descriptors, directories and umask, signal actions.
    pub objects: [u64; 4],
    pub exe: u64,
    pub cwd: [u64; 2],
    pub root: [u64; 2],
}

/// A small table of descriptors: which of them an execve closes, and what each leads to, by address.
#[derive(Debug)]
struct Table {
    close_on_exec: u64,
    files: Vec<u64>,
}

/// The processes of a tree, by their place in the list of its tasks.
#[derive(Debug)]
pub(super) struct Kin {
    records: Vec<Option<Own>>,
    /// For each the first one that it is like: perhaps itself.
    models: Vec<usize>,
    tables: Vec<Option<Table>>,
}

/// How to get at records.
struct Records {
    iterator: Iterator,
    lists: Lists,
    /// Where lists of a process start, and its timer, in what its threads share.
    pending: u64,
    timers: u64,
    real_timer: u64,
    /// Where a small table is in what has it.
    table: u64,
}

impl Records {
    fn load() -> io::Result<Records> {
        let layouts = Layouts::of_this_kernel()?;
        let own = OWN.iter().chain(&OF_PROCESS).chain(&HELD).chain([&TABLE]);
        let words: Vec<Word> = own.chain(&SAME).chain(&ALSO_SAME).copied().collect();
        if layouts.member("files_struct", "fd_array")?.bytes != 8 * TABLE_WORDS {
            return Err(io::Error::from_raw_os_error(libc::ENOTSUP));
        }
        let place = |path| Ok::<_, io::Error>(layouts.member("signal_struct", path)?.offset as u64);
        Ok(Records {
            iterator: Iterator::load(layouts, Each::Thread, &words)?,
            lists: Lists::of(layouts)?,
            pending: place("shared_pending.list")?,
            timers: place("posix_timers")?,
            real_timer: place("real_timer.node.node")?,
            table: layouts.member("files_struct", "fdtab")?.offset as u64,
        })
    }

    /// What is its own in the record of a process that has just the thread `pid`, and what is compared; `None` when there is more to it.
    fn split<'a>(&self, record: &'a [u64], pid: i32) -> Option<(Own, Option<Table>, &'a [u64])> {
        let (thread, rest) = record.split_first_chunk::<{ OWN.len() }>()?;
        let (process, rest) = rest.split_first_chunk::<{ OF_PROCESS.len() }>()?;
        let (held, rest) = rest.split_first_chunk::<{ HELD.len() }>()?;
        let (files, same) = rest.split_first_chunk::<TABLE_WORDS>()?;
        let [tgid, level, cred, real_cred, signal, threads, pending, timers, real_timer, brk] = *process;
        let at = |offset: u64| signal.wrapping_add(offset);
        // Numbers are others in a pid namespace of the engine's own.
        let is_known = (tgid as i32, level as i32, threads as i32) == (pid, 0, 1);
        let is_plain =
            cred == real_cred && (timers == 0 || timers == at(self.timers)) && real_timer == at(self.real_timer);
        let [mm, fds, fs, sighand, exe, cwd_mount, cwd, root_mount, root, table, close_on_exec] = *held;
        let own = Own {
            thread: self.lists.own(thread),
            has_pending: pending != at(self.pending),
            brk,
            objects: [mm, fds, fs, sighand],
            exe,
            cwd: [cwd_mount, cwd],
            root: [root_mount, root],
        };
        let is_small = table == fds.wrapping_add(self.table);
        let table = is_small.then(|| Table { close_on_exec, files: files.to_vec() });
        (is_known && is_plain && own.thread.tid == pid).then_some((own, table, same))
    }
}

impl Kin {
    /// Of tasks all of which stand still.
    pub fn of(tasks: &[FrozenTask]) -> Kin {
        let tables = tasks.iter().map(|_| None).collect();
        let none = Kin { records: vec![None; tasks.len()], models: (0..tasks.len()).collect(), tables };
        let single = |t: &FrozenTask| t.seized.as_ref().is_some_and(|s| s.threads().len() == 1 && !s.leader_is_dead());
        if tasks.iter().filter(|t| single(t)).count() < MANY || !hold_all_cpus() {
            return none;
        }
        let told = |e: &io::Error| log::debug!("the kernel's records of processes cannot be read: {e}");
        let found = Records::load().and_then(|records| Kin::read(tasks, &records, single));
        found.inspect_err(told).unwrap_or(none)
    }

    fn read(tasks: &[FrozenTask], records: &Records, has_record: impl Fn(&FrozenTask) -> bool) -> io::Result<Kin> {
        let mut kin = Kin { records: Vec::new(), models: Vec::new(), tables: Vec::new() };
        let mut classes: HashMap<Vec<u64>, usize> = HashMap::new();
        for (at, task) in tasks.iter().enumerate() {
            let record = if has_record(task) { records.iterator.read(task.pid)? } else { Vec::new() };
            let (mut own, mut table, mut model) = (None, None, at);
            if record.len() == records.iterator.words()
                && let Some((its_own, its_table, same)) = records.split(&record, task.pid)
            {
                (own, table) = (Some(its_own), its_table);
                match classes.get(same) {
                    Some(first) => model = *first,
                    None => drop(classes.insert(same.to_vec(), at)),
                }
            }
            kin.records.push(own);
            kin.tables.push(table);
            kin.models.push(model);
        }
        log::debug!("{} tasks, of which {} kinds have records", tasks.len(), classes.len());
        Ok(kin)
    }

    /// What its own record tells of a task, and which one it is like, if that is another. Who has children is asked about them.
    pub fn like(&self, at: usize) -> Option<(Own, usize)> {
        let model = *self.models.get(at)?;
        let own = (*self.records.get(at)?)?;
        (model != at && !own.thread.has_children).then_some((own, model))
    }

    /// The objects of tasks by their addresses, if they are known of all of `tasks` but the zombies, and kcmp says the same of some.
    pub fn objects(&self, tasks: &[FrozenTask]) -> Vec<Option<[u64; 4]>> {
        const KINDS: [Kobj; 3] = [Kobj::Vm, Kobj::Files, Kobj::Fs];
        const SOME: usize = 8;
        type Placed = (i32, [u64; 4]);
        let all = tasks.iter().zip(&self.records).all(|(t, own)| t.seized.is_none() || own.is_some());
        let own: Vec<Placed> =
            tasks.iter().zip(&self.records).filter_map(|(t, own)| Some((t.pid, own.as_ref()?.objects))).collect();
        let is_told = |((a, at_a), (b, at_b)): (&Placed, &Placed)| {
            let places = KINDS.iter().zip(at_a.iter().zip(at_b));
            places.into_iter().all(|(kind, (x, y))| kcmp(*a, *b, *kind).is_ok_and(|order| order.is_eq() == (x == y)))
        };
        let are_told = all && own.iter().zip(own.iter().skip(1)).take(SOME).all(is_told);
        self.records.iter().map(|own| own.filter(|_| are_told).map(|own| own.objects)).collect()
    }

    /// Those that others are like.
    pub fn models(&self) -> HashSet<usize> {
        let others = self.models.iter().enumerate().filter(|(at, model)| at != *model);
        others.map(|(_, model)| *model).collect()
    }

    /// The record of a task.
    pub fn own(&self, at: usize) -> Option<Own> {
        *self.records.get(at)?
    }

    /// The table of a task, if it has the same descriptors as the one that it is like: numbers, what they lead to, and whether
    /// an execve closes them.
    pub fn shared_table(&self, at: usize) -> Option<Vec<(u32, u64, bool)>> {
        let table = |at: usize| self.tables.get(at)?.as_ref();
        let (own, model) = (table(at)?, table(*self.models.get(at)?)?);
        let is_same = (own.close_on_exec, &own.files) == (model.close_on_exec, &model.files);
        let files = own.files.iter().copied().enumerate().filter(|(_, file)| *file != 0);
        is_same.then(|| files.map(|(fd, file)| (fd as u32, file, own.close_on_exec >> fd & 1 != 0)).collect())
    }

    /// Those that are like `model` are no longer taken for that.
    pub fn part(&mut self, model: usize) {
        for (at, m) in self.models.iter_mut().enumerate().filter(|(_, m)| **m == model) {
            *m = at;
        }
    }
}

impl Own {
    /// The status of the only thread of a process that is like one with this.
    pub fn status(&self, model: &Status) -> Status {
        Status { tgid: self.thread.tid, ..self.thread.status(model) }
    }

    /// What a process would say of itself that is like one that has said this.
    pub fn process_facts(&self, model: &ProcessFacts) -> ProcessFacts {
        // None that has children is like another.
        ProcessFacts { brk: self.brk, continued_child: None, ..model.clone() }
    }

    /// Is this what the process would say by its record, and is all there that is told of others like it?
    pub fn is_told_by(&self, process: &ProcessFacts, threads: &[ThreadFacts]) -> bool {
        let has_timers = !process.posix_timers.is_empty() || process.itimers != [TimerValue::default(); 3];
        let [thread] = threads else { return false };
        !has_timers && self.process_facts(process) == *process && self.thread.facts(thread) == *thread
    }
}
