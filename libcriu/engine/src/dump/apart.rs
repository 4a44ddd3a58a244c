//! Dumps of tasks under seccomp, or with connections, are done by a copy of the engine, while the process that was called waits
//! for it.
//!
//! A filter is suspended for as long as the thread is traced. When the tracer dies while a thread makes calls for it that
//! the filter answers with death, nothing can save the task. So the tracer is a process that nobody knows of: whoever kills
//! the engine kills the one that waits. Outside of an infection the copy dies along with it, as tasks are safe then;
//! during an infection it goes on until they are cured, and ends afterwards.
//!
//! The same holds while connections are in repair mode, which their tasks must not get to see, and from the tasks' death until
//! the connections have vanished and the network lock lasts.
//!
//! What is left is the death of both at once (the machine's, a cgroup's, an out-of-memory killer that finds the copy): then
//! the limit stands that ARCHITECTURE.md names.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process, setpgid};

use super::DumpOutcome;
use super::verdict;
use crate::error::{Error, Phase, Result};
use crate::sys::apart::{self, Side};
use crate::sys::process::group_of;
use crate::sys::{signal, spawn};

/// How often the waiting process looks for signals of its own.
const GLANCE: Duration = Duration::from_millis(50);
/// How often reading or writing a verdict may fail.
const TRIES: usize = 64;

/// Runs `work` in a copy of this process. `None` when there can be no copy: this process has other threads.
///
/// # Errors
/// Those of `work`; the copy's end without a word.
pub(super) fn run(work: impl FnOnce() -> Result<DumpOutcome>) -> Option<Result<DumpOutcome>> {
    let failed = |call: &'static str| move |e: std::io::Error| Error::os(Phase::Freeze, "engine", call, e);
    let (from, into) = match pipe_with(PipeFlags::CLOEXEC) {
        Ok(ends) => ends,
        Err(e) => return Some(Err(failed("pipe2")(e.into()))),
    };
    match apart::fork() {
        Err(e) if e.raw_os_error() == Some(libc::EDEADLK) => None,
        Err(e) => Some(Err(failed("fork")(e))),
        Ok(Side::Copy) => {
            drop(from);
            // Nothing of the callers' frames must run twice.
            if let Ok(result) = catch_unwind(AssertUnwindSafe(work)) {
                tell(&into, &verdict::encode(&result));
            }
            spawn::exit_now(0)
        }
        Ok(Side::Front(copy)) => {
            drop(into);
            Some(await_verdict(copy, File::from(from)))
        }
    }
}

/// What is done may be done for good: a call that fails once does not make it a failure.
fn tell(pipe: &OwnedFd, mut bytes: &[u8]) {
    let mut failures = 0;
    while !bytes.is_empty() && failures < TRIES {
        match rustix::io::write(pipe, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(_) => failures += 1,
        }
    }
}

fn await_verdict(copy: i32, mut pipe: File) -> Result<DumpOutcome> {
    let mut told = false;
    let glance = Timespec { tv_sec: 0, tv_nsec: GLANCE.as_nanos() as i64 };
    while !poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&glance)).is_ok_and(|n| n > 0) {
        if signal::terminated() && !told {
            told = true;
            if let Some(copy) = Pid::from_raw(copy) {
                // Gone already: the pipe will tell.
                let _ = kill_process(copy, Signal::TERM);
            }
        }
    }
    let mut bytes = Vec::new();
    let mut read = pipe.read_to_end(&mut bytes);
    // What was read before an error is there.
    for _ in 0..TRIES {
        if read.is_err() {
            read = pipe.read_to_end(&mut bytes);
        }
    }
    spawn::reap(copy);
    read.map_err(|e| Error::os(Phase::Freeze, "engine", "read", e))?;
    verdict::decode(&bytes).unwrap_or_else(|| Err(Error::new(Phase::Freeze, "engine", "its copy ended without a word")))
}

/// A time in which the copy must not die with the front, nor with the front's process group.
#[derive(Debug)]
pub(super) struct Shelter {
    group: Option<Pid>,
}

impl Shelter {
    pub fn enter() -> Shelter {
        if apart::front().is_none() {
            return Shelter { group: None };
        }
        let group = group_of(None).ok().flatten();
        let has_left = setpgid(None, None).is_ok();
        let shelter = Shelter { group: group.filter(|_| has_left) };
        if let Err(e) = apart::die_with_front(false) {
            log::warn!("prctl PR_SET_PDEATHSIG: {e}");
        }
        shelter
    }

    /// # Errors
    /// The front died meanwhile: the operation is over.
    pub fn leave(self) -> Result<()> {
        if apart::front().is_none() {
            return Ok(());
        }
        // The group may be gone with the front.
        if let Some(group) = self.group {
            let _ = setpgid(None, Some(group));
        }
        if apart::die_with_front(true).is_err() || !apart::front_lives() {
            return Err(Error::new(Phase::Infect, "the operation", "the engine was killed").errno(libc::ECANCELED));
        }
        Ok(())
    }
}
