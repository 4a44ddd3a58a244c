//! Threads: what is seen of each, or known by another that it is like.

use std::io;

use criu_compel::ptrace::{THREAD_AREAS, ThreadArea, thread_area};
use criu_images::messages::{RseqEntry, SignalQueueEntry};

use super::super::alike::Own;
use super::super::look::ThreadLook;
use super::{Collector, compel};
use crate::error::{Blocker, Error, Phase, Result};
use crate::proc::{ProcDir, Status, stat_of};
use crate::task::abi::Abi;
use crate::task::sched::Sched;
use crate::task::seccomp::ThreadSeccomp;
use crate::task::{rseq, seccomp, signals};

/// A stopped thread, seen from outside.
#[derive(Debug)]
pub(in crate::dump) struct CollectedThread {
    pub tid: i32,
    pub status: Status,
    pub sched: Sched,
    pub personality: Option<u32>,
    pub seccomp: ThreadSeccomp,
    pub pending: SignalQueueEntry,
    pub robust_list: (u64, u64),
    pub rseq: Option<RseqEntry>,
    /// Its segments of set_thread_area(2).
    pub segments: Vec<ThreadArea>,
    pub abi: Abi,
}

impl Collector<'_> {
    pub(super) fn thread(
        &mut self,
        pid: i32,
        tid: i32,
        regs: &criu_compel::Regs,
        abi: Abi,
        look: ThreadLook,
    ) -> Result<CollectedThread> {
        let object = || format!("thread {tid}");
        let failed = |call: &'static str| move |e: io::Error| Error::os(Phase::Collect, object(), call, e).pid(pid);
        let ThreadLook { status, sched, personality, cgroups, blockers } = look;
        self.blockers.extend(blockers);
        self.check_cgroups(pid, tid, cgroups);
        for cause in unsupported(tid, &status, regs, abi).map_err(failed("ptrace or reading stat"))? {
            self.blockers.push(Blocker::new(pid, object(), cause));
        }
        Ok(CollectedThread {
            tid,
            sched,
            personality,
            seccomp: self.seccomp(pid, tid, &status)?,
            pending: signals::queue(tid, false).map_err(compel(pid))?,
            robust_list: abi.robust_list(tid).map_err(compel(pid))?,
            rseq: rseq::entry(tid).map_err(compel(pid))?,
            segments: THREAD_AREAS
                .map(|entry| thread_area(tid, entry))
                .collect::<Result<_, _>>()
                .map_err(compel(pid))?,
            abi,
            status,
        })
    }

    /// A thread that is like `model`.
    pub(super) fn like(
        &mut self,
        pid: i32,
        own: &Own,
        model: &CollectedThread,
        regs: &criu_compel::Regs,
        look: ThreadLook,
    ) -> Result<CollectedThread> {
        if let Some(cause) = model.abi.foreign_code(regs) {
            self.blockers.push(Blocker::new(pid, format!("thread {}", own.tid), cause));
        }
        Ok(CollectedThread {
            tid: own.tid,
            status: look.status,
            sched: look.sched,
            personality: look.personality,
            seccomp: model.seccomp.clone(),
            pending: if own.has_pending {
                signals::queue(own.tid, false).map_err(compel(pid))?
            } else {
                SignalQueueEntry::default()
            },
            robust_list: (own.robust_list, model.robust_list.1),
            rseq: own.rseq(),
            segments: model.segments.clone(),
            abi: model.abi,
        })
    }

    pub(super) fn check_label(&mut self, pid: i32, dir: &ProcDir) {
        if self.no_labels {
            return;
        }
        let label = match dir.text("attr/current") {
            Ok(label) => label,
            // Without a security module the file cannot be read.
            Err(e) => {
                self.no_labels |= e.raw_os_error() == Some(libc::EINVAL);
                return;
            }
        };
        let label = label.trim_end_matches('\0');
        if !label.is_empty() && label != "unconfined" {
            let cause = format!("it is {label}; labels of security modules cannot be saved yet");
            self.blockers.push(Blocker::new(pid, "security label", cause));
        }
    }

    fn seccomp(&mut self, pid: i32, tid: i32, status: &Status) -> Result<ThreadSeccomp> {
        seccomp::read(tid, status).or_else(|e| {
            let cause = match e.errno() {
                libc::EACCES => "its seccomp filters cannot be read",
                libc::EMEDIUMTYPE => "a seccomp filter that is not classic BPF cannot be saved",
                _ => return Err(compel(pid)(e)),
            };
            self.blockers.push(
                Blocker::new(pid, format!("thread {tid}"), cause)
                    .hint("that takes CAP_SYS_ADMIN and an engine without filters of its own"),
            );
            Ok(ThreadSeccomp::default())
        })
    }

    /// A restore puts all tasks into the cgroups of whoever restores them; so all have to be in the same.
    fn check_cgroups(&mut self, pid: i32, tid: i32, own: Option<Vec<u8>>) {
        match (&self.cgroups, own) {
            (_, None) => {}
            (None, own) => self.cgroups = own,
            (Some(roots), Some(own)) if *roots == own => {}
            (Some(_), Some(_)) => {
                let cause = "it is in other cgroups than the root of the tree; these cannot be saved yet";
                self.blockers.push(Blocker::new(pid, format!("cgroups of thread {tid}"), cause));
            }
        }
    }
}

/// Does its record tell what it was seen to be?
pub(super) fn is_as_told(thread: &CollectedThread, own: &Own) -> bool {
    let has_pending = thread.pending != SignalQueueEntry::default();
    // What a record tells of robust lists is that of 64-bit calls.
    thread.abi == Abi::Native
        && (thread.robust_list.0, thread.rseq, has_pending) == (own.robust_list, own.rseq(), own.has_pending)
}

/// In the kernel's flags of a thread that it has made for io_uring (Linux 5.12).
const PF_IO_WORKER: u32 = 0x10;

/// State of a thread that no image has a place for.
fn unsupported(tid: i32, status: &Status, regs: &criu_compel::Regs, abi: Abi) -> io::Result<Vec<&'static str>> {
    let mut causes: Vec<&'static str> = abi.foreign_code(regs).into_iter().collect();
    if !status.x86_features.is_empty() {
        causes.push("it has a shadow stack; this cannot be saved");
    }
    if status.untag_mask.is_some_and(|m| m != u64::MAX) {
        causes.push("it has linear address masking on; this cannot be saved");
    }
    // Where such threads can be told by their registers they are not among those of the task.
    if status.name.starts_with(b"iou-") && stat_of(tid)?.flags & PF_IO_WORKER != 0 {
        causes.push("it works for io_uring; this cannot be saved");
    }
    match criu_compel::ptrace::syscall_user_dispatch(tid) {
        Ok(d) if d.mode != 0 => causes.push("it has its system calls dispatched to itself; this cannot be saved"),
        _ => {}
    }
    Ok(causes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(status: &Status) -> Vec<&'static str> {
        // SAFETY: the structure is plain integers, for which zeros are values.
        let mut regs: criu_compel::Regs = unsafe { std::mem::zeroed() };
        regs.cs = criu_compel::arch::CS_NATIVE;
        unsupported(std::process::id() as i32, status, &regs, Abi::Native).unwrap()
    }

    #[test]
    fn shadow_stacks_and_masked_addresses_are_refused() {
        assert_eq!(causes(&Status::default()), [""; 0]);
        for features in ["shstk", "shstk wrss"] {
            let status = Status { x86_features: features.into(), ..Status::default() };
            assert_eq!(causes(&status), ["it has a shadow stack; this cannot be saved"]);
        }
        let masked = Status { untag_mask: Some(u64::MAX >> 7), ..Status::default() };
        assert_eq!(causes(&masked), ["it has linear address masking on; this cannot be saved"]);
    }
}
