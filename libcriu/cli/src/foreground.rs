//! The terminal's foreground, for a shell job that had it: passed on to the job's process group before it runs, and taken
//! back when the job stops or ends, as a shell does. While the job is stopped so is this command, for the shell above to see.

use criu_engine::sys::process::group_of;
use criu_engine::sys::spawn::{block_signals, set_signal_mask};
use criu_images::messages::TtyInfoEntry;
use criu_images::{ImageDir, Kind};
use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};
use rustix::stdio::stdin;
use rustix::termios::{tcgetpgrp, tcsetpgrp};

#[derive(Debug, Default)]
pub struct Foreground {
    /// Groups that had a terminal's foreground when they were dumped.
    before: Vec<u32>,
    /// Which it was passed on to.
    job: Option<Pid>,
}

impl Foreground {
    /// What the images tell.
    pub fn told_by(images: &ImageDir) -> Self {
        let infos = images.read_all::<TtyInfoEntry>(Kind::TtyInfo, 0).unwrap_or_default();
        Foreground { before: infos.iter().map(|i| i.pgrp).filter(|&group| group != 0).collect(), job: None }
    }

    /// Passes it on to the root's group, if that had it and this command has it now.
    pub fn give(&mut self, root: i32) {
        let Ok(Some(group)) = group_of(Pid::from_raw(root)) else { return };
        let number = group.as_raw_nonzero().get() as u32;
        let Some(own) = own_group().filter(|own| is_at(*own)) else { return };
        if group == own || !self.before.contains(&number) {
            return;
        }
        match pass_on(group) {
            Ok(()) => self.job = Some(group),
            Err(e) => log::warn!("the job is not in the foreground of its terminal: tcsetpgrp: {e}"),
        }
    }

    pub fn take_back(&self) {
        if let Some(job) = self.job
            && is_at(job)
            && let Some(own) = own_group()
            && let Err(e) = pass_on(own)
        {
            log::warn!("the terminal's foreground was not given back: tcsetpgrp: {e}");
        }
    }

    /// The job has stopped: this command stops, too, and goes on along with it.
    pub fn stop_along(&self) {
        let Some(job) = self.job else { return };
        self.take_back();
        let _ = kill_process(getpid(), Signal::STOP);
        if own_group().is_some_and(is_at) {
            let _ = pass_on(job);
        }
        let _ = kill_process_group(job, Signal::CONT);
    }

    pub fn is_given(&self) -> bool {
        self.job.is_some()
    }
}

/// `None`: it is outside this pid namespace, and cannot be told to a terminal.
fn own_group() -> Option<Pid> {
    group_of(None).ok().flatten()
}

fn is_at(group: Pid) -> bool {
    tcgetpgrp(stdin()).is_ok_and(|now| now == group)
}

/// Also from the background, where it would stop this command otherwise (SIGTTOU).
fn pass_on(group: Pid) -> rustix::io::Result<()> {
    let mask = block_signals();
    let done = tcsetpgrp(stdin(), group);
    set_signal_mask(mask);
    done
}
