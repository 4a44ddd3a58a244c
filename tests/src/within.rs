//! Subjects inside fresh pid, user, mount, network and IPC namespaces: harness, subject and engine are root there and have no right
//! outside. What takes a right outside is refused by name.

use std::process::Command;

use crate::apart::{self, Job, Surroundings};
use crate::case::{self, Case, Mode};
use crate::layout::Layout;
use crate::subject::Subject;
use crate::suite::{self, wanted};
use crate::verdict::{Outcome, Stop, Summary, Verdict, failed};

/// Before the name of a case.
pub const NAME: &str = "namespaces";

/// What the whole run looks at: some of each kind.
const SAMPLE: [&str; 28] = [
    "pipe.data",
    "tree_sessions",
    "tree_zombies",
    "tree_stopped.threads",
    "threads.names",
    "threads.nice",
    "thread_leader_dead.two",
    "registers.general",
    "signal_pending.process",
    "timers_posix",
    "timers_interval",
    "memory_private",
    "memory_file.private",
    "memory_guard",
    "memory_growth.stack",
    "eventfd",
    "epoll.nested",
    "fifo.ends",
    "file_regular",
    "file_shared",
    "socketpair.stream",
    "unix_messages.descriptors",
    "unix_peers.dead",
    "creds.caps",
    "paths.chroot",
    "attributes.oom",
    "attributes.comm",
    "clocks",
];

/// What nobody can save from inside, and a word of the refusal.
const REFUSED: [(&str, &str); 6] = [
    ("memory_shared", "initial user namespace"),
    ("memory_memfd", "initial user namespace"),
    ("memory_exe_deleted", "initial user namespace"),
    ("seccomp.chains", "CAP_SYS_ADMIN"),
    ("terminal_pty.typed", "CAP_BPF"),
    ("unix_unaccepted.data", "CAP_BPF"),
];

/// The subjects as they are inside.
pub fn subjects(mut all: Vec<Subject>) -> Vec<Subject> {
    all.retain(|s| !s.terminal);
    for subject in &mut all {
        if let Some((_, word)) = REFUSED.iter().find(|r| r.0 == subject.name) {
            subject.refused = Some(vec![vec![word.to_string()]]);
        }
    }
    all
}

/// Without a filter the sample.
pub fn run(layout: &Layout, filters: &[String], at_once: usize) -> Summary {
    let mut summary = Summary::default();
    let mut report = |outcome: Outcome| {
        let verdict = Verdict { name: NAME.into(), outcome };
        suite::show(&verdict);
        summary.add(verdict);
    };
    let all = match suite::subjects(layout) {
        Ok(all) => subjects(all),
        Err(e) => {
            report(Err(failed(e)));
            return summary;
        }
    };
    if let Some(why) = cannot_unshare() {
        report(Err(Stop::Skipped(why)));
        return summary;
    }
    let sampled = |c: &Case| {
        let name = c.subject.name.as_str();
        c.mode != Mode::Bare && (SAMPLE.contains(&name) || REFUSED.iter().any(|r| r.0 == name))
    };
    let cases = all.iter().flat_map(case::all);
    let cases = cases.filter(|c| if filters.is_empty() { sampled(c) } else { wanted(&c.name(), filters) });
    let job = |c: Case| Job { name: format!("{NAME}/{}", c.name()), surroundings: Surroundings::Users };
    apart::run(&cases.map(job).collect::<Vec<_>>(), layout, at_once)
}

/// Why there are no user namespaces here.
fn cannot_unshare() -> Option<String> {
    match Command::new("unshare").args(["--map-root-user", "--pid", "--fork", "true"]).output() {
        Ok(done) if done.status.success() => None,
        Ok(done) => Some(String::from_utf8_lossy(&done.stderr).trim().to_string()),
        Err(e) => Some(format!("unshare: {e}")),
    }
}
