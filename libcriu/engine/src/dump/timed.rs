//! Timers go on while their process stands still. One that rings between the look at what signals wait and the question how long it
//! has still to run would be in neither: so signals are looked at once more afterwards, and both are made to fit.

use std::collections::HashMap;
use std::time::Instant;

use criu_compel::ptrace::is_in_group_stop;
use criu_compel::{ProcessFacts, Result};
use criu_images::messages::{SiginfoEntry, SignalQueueEntry};

use super::collect::Living;
use crate::task::signals;
use crate::task::timers::{self, Rung};

/// After a process has told how its timers stand, at `asked` or later: what waits for it now, and timers as they are then.
pub(super) fn settle(pid: i32, living: &mut Living, process: &mut ProcessFacts, asked: Instant) -> Result<()> {
    let tids: Vec<i32> = living.seized.threads().iter().map(|t| t.tid).collect();
    let Some(&first) = tids.first() else { return Ok(()) };
    let earlier = counts(living);
    let before = std::mem::replace(&mut living.pending, signals::queue(first, true)?);
    keep_stop(living, first, before)?;
    if !living.timers.is_empty() {
        for (thread, tid) in living.threads.iter_mut().zip(tids) {
            thread.pending = signals::queue(tid, false)?;
        }
    }
    let mut rung = counts(living);
    rung.retain(|source, count| earlier.get(source).is_none_or(|earlier| earlier < count));
    for (timer, signo) in process.itimers.iter_mut().zip([libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF]) {
        // The first is started again when its signal is delivered, the others by themselves.
        if rung.contains_key(&Source::Interval(signo)) && (signo == libc::SIGALRM || timer.interval == (0, 0)) {
            timer.left = (0, 0);
        }
    }
    if !living.timers.is_empty() {
        let rung = Rung { is: &|id| rung.contains_key(&Source::Posix(id)), since: asked.elapsed() };
        let queues = living.threads.iter_mut().map(|t| &mut t.pending).chain([&mut living.pending]);
        let pending = queues.flat_map(|q| &mut q.signals);
        timers::tell_overruns(pid, &living.timers, &mut process.posix_timers, pending, &rung);
    }
    Ok(())
}

/// SIGSTOP that waited, or came meanwhile, has stopped the process when it made calls: nothing holds it off. It is to wait still.
fn keep_stop(living: &mut Living, first: i32, before: SignalQueueEntry) -> Result<()> {
    let waits = |queue| signals::waits(libc::SIGSTOP, Some(queue));
    let is_new = living.seized.stopped_by().is_none() && is_in_group_stop(first)?;
    if is_new && !waits(&living.pending) && !living.threads.iter().any(|t| waits(&t.pending)) {
        let plain = || SiginfoEntry { siginfo: [&libc::SIGSTOP.to_ne_bytes()[..], &[0; 124]].concat() };
        let signal = before.signals.into_iter().find(|signal| signals::is(signal, libc::SIGSTOP)).unwrap_or_else(plain);
        living.pending.signals.push(signal);
    }
    Ok(())
}

/// The timer that a signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Posix(i32),
    /// Or from somebody else who sends the signal of interval timers.
    Interval(i32),
}

/// How many signals of each timer wait.
fn counts(living: &Living) -> HashMap<Source, usize> {
    let mut counts = HashMap::new();
    let queues = living.threads.iter().map(|t| &t.pending).chain([&living.pending]);
    for signal in queues.flat_map(|q: &SignalQueueEntry| &q.signals) {
        let info = &signal.siginfo;
        let signo = info.get(..4).and_then(|s| s.try_into().ok()).map_or(0, i32::from_ne_bytes);
        let source = timers::of_timer(info).map_or(Source::Interval(signo), |(id, _)| Source::Posix(id));
        *counts.entry(source).or_default() += 1;
    }
    counts
}
