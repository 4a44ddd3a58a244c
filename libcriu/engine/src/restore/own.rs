//! What this process is and every task inherits by being forked, read once: what a task is to have the same need not be set
//! anew in each of its threads.

use std::fs;

use criu_images::messages::{CredsEntry, ThreadCoreEntry};
use criu_pie::abi::restorer::{Creds, SignalAction};
use rustix::process::{Resource, Rlimit, getrlimit};

use crate::error::{Error, Phase, Result};
use crate::proc::Status;
use crate::sys::signal;
use crate::sys::spawn;
use crate::sys::task::{SchedAttr, cpu_affinity, sched_getattr};
use crate::task::limits::restore::RESOURCES;
use crate::task::{creds, sched};

#[derive(Debug)]
pub(crate) struct Own {
    pub actions: Vec<SignalAction>,
    /// In the order of `RESOURCES`.
    pub limits: Vec<Rlimit>,
    /// Words of the mask of CPUs this process may use.
    pub affinity: Vec<u64>,
    creds: Option<(Creds, Vec<u32>)>,
    sched: Option<SchedAttr>,
    timer_slack_ns: Option<u64>,
    /// The main thread's area of restartable sequences, which every task has at the same place.
    pub rseq: Option<(u64, u32, u32)>,
    pub settings: Settings,
}

impl Own {
    /// Whatever cannot be read is set in every thread.
    pub fn find(last_cap: u32) -> Own {
        let limits = RESOURCES.map(|(resource, _): (Resource, _)| getrlimit(resource)).to_vec();
        Own {
            actions: signal::actions(),
            limits,
            affinity: cpu_affinity(0).unwrap_or_default(),
            creds: own_creds(last_cap),
            sched: sched_getattr(0).ok(),
            timer_slack_ns: spawn::prctl(libc::PR_GET_TIMERSLACK, 0).ok().map(|n| n as u64),
            rseq: spawn::own_rseq(),
            settings: Settings::default(),
        }
    }

    /// Are these the credentials of this process?
    pub fn has_creds(&self, wanted: &Creds, entry: &CredsEntry) -> bool {
        let Some((own, groups)) = &self.creds else { return false };
        own == wanted && *groups == entry.groups
    }

    pub fn has_sched(&self, core: &ThreadCoreEntry) -> bool {
        let Some(own) = &self.sched else { return false };
        let reset = if own.flags & sched::FLAG_RESET_ON_FORK != 0 { sched::RESET_ON_FORK } else { 0 };
        let has_slice = core.sched_slice_ns.is_none();
        // A child of a process that resets on fork has another policy than that.
        reset == 0
            && has_slice
            && (own.policy, own.nice, own.priority) == (core.sched_policy(), core.sched_nice(), core.sched_prio())
    }

    pub fn has_timer_slack(&self, ns: u64) -> bool {
        self.timer_slack_ns == Some(ns)
    }
}

fn own_creds(last_cap: u32) -> Option<(Creds, Vec<u32>)> {
    let status = Status::parse(&fs::read("/proc/self/status").ok()?)?;
    let securebits = spawn::prctl(libc::PR_GET_SECUREBITS, 0).ok()?;
    let entry = creds::dump::entry(&status, securebits as u32);
    let own = creds::restore::creds(&entry, last_cap, u64::MAX).ok()?;
    Some((own, entry.groups))
}

/// What a task sets by writing to /proc, as far as this process's own has been looked at.
#[derive(Debug, Default)]
pub(crate) struct Settings([Option<Option<String>>; 3]);

/// Files of /proc/self whose values are inherited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    OomScoreAdj,
    LoginUid,
    CoredumpFilter,
}

impl Setting {
    fn path(self) -> &'static str {
        match self {
            Setting::OomScoreAdj => "/proc/self/oom_score_adj",
            Setting::LoginUid => "/proc/self/loginuid",
            Setting::CoredumpFilter => "/proc/self/coredump_filter",
        }
    }
}

impl Settings {
    /// Looks at what some task wants to have, before tasks are forked.
    pub fn look(&mut self, setting: Setting) {
        let known = &mut self.0[setting as usize];
        if known.is_none() {
            *known = Some(match fs::read_to_string(setting.path()) {
                // The kernel was built without it, so no task can have had one that matters.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                text => Some(text.unwrap_or_default().trim().to_owned()),
            });
        }
    }

    /// In a task: has `value` from here on.
    pub fn write(&self, setting: Setting, value: &str) -> Result<()> {
        match &self.0[setting as usize] {
            Some(None) => return Ok(()),
            Some(Some(own)) if own == value => return Ok(()),
            _ => {}
        }
        let (path, prefix) = (setting.path(), if matches!(setting, Setting::CoredumpFilter) { "0x" } else { "" });
        fs::write(path, format!("{prefix}{value}")).map_err(|e| Error::os(Phase::Files, path, "write", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_there_is_not_written() {
        let mut settings = Settings::default();
        settings.look(Setting::CoredumpFilter);
        let own = fs::read_to_string("/proc/self/coredump_filter").unwrap();
        assert_eq!(settings.0[2], Some(Some(own.trim().to_owned())));
        settings.write(Setting::CoredumpFilter, own.trim()).unwrap();
        // No number: writing it is an error.
        settings.write(Setting::CoredumpFilter, "x").unwrap_err();
        Settings::default().write(Setting::CoredumpFilter, own.trim()).unwrap();
    }

    #[test]
    fn the_credentials_are_those_of_this_process() {
        let last_cap = creds::restore::last_cap();
        let own = Own::find(last_cap);
        let status = Status::parse(&fs::read("/proc/self/status").unwrap()).unwrap();
        let same = creds::dump::entry(&status, 0);
        let wanted = |e: &CredsEntry| creds::restore::creds(e, last_cap, u64::MAX).unwrap();
        assert!(own.has_creds(&wanted(&same), &same));
        let groups = CredsEntry { groups: vec![12345], ..same.clone() };
        assert!(!own.has_creds(&wanted(&groups), &groups));
        let fewer = CredsEntry { cap_bnd: vec![0, 0], ..same };
        assert!(!own.has_creds(&wanted(&fewer), &fewer));
    }
}
