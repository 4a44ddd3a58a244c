//! `criu restore`.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use criu_engine::{Error, Phase};
use criu_images::options::Settings;
use rustix::process::{Pid, WaitOptions};

use crate::dump::note_signals;
use crate::operator::CommandOperator;
use crate::{Failure, prepare, print};

/// Restores a tree; then becomes the command of `--exec-cmd`, exits (`--restore-detached`), or waits for the root.
pub fn restore(settings: Settings, command: &[String]) -> Result<u8, Failure> {
    let own = &settings.command;
    if own.exec_cmd && command.is_empty() {
        return Err(Failure::Usage("--exec-cmd needs a command after `--`".into()));
    }
    if settings.msg.rst_sibling() && !own.restore_detached {
        return Err(Failure::Usage("--restore-sibling goes with --restore-detached only".into()));
    }
    let display_stats = settings.msg.display_stats();
    let prepared = prepare::operation(settings, 0)?;
    let mut operator = CommandOperator::new(prepared.scripts);
    note_signals();
    let outcome = criu_engine::restore(&prepared.options, &mut operator)?;
    outcome.stats.write(&prepared.options.work_dir).unwrap_or_else(|e| log::warn!("{e}"));
    if let Some(pidfile) = prepared.pidfile {
        pidfile.write(outcome.pid)?;
    }
    if display_stats {
        print::line(outcome.stats);
    }
    if let Some(status) = prepared.status {
        status.ready();
    }
    log::info!("the root is pid {}", outcome.pid);
    drop(prepared.options);
    if prepared.command.exec_cmd {
        return Err(become_command(command, outcome.pid).into());
    }
    if prepared.command.restore_detached { Ok(0) } else { wait(outcome.pid) }
}

/// Takes this process over, as the parent of the restored tree; returns only when that fails.
fn become_command(command: &[String], init_pid: i32) -> Error {
    let Some((program, args)) = command.split_first() else {
        return Error::new(Phase::Resume, "--exec-cmd", "the command is empty");
    };
    criu_engine::log::stop();
    let e = Command::new(program).args(args).env("CRTOOLS_INIT_PID", init_pid.to_string()).exec();
    Error::os(Phase::Resume, format!("--exec-cmd `{program}`"), "execve", e)
}

/// Waits for the root and takes its exit code over (128 and the signal for one that was killed).
fn wait(pid: i32) -> Result<u8, Failure> {
    let failed = |e: rustix::io::Errno| Error::os(Phase::Resume, "the restored root", "waitpid", e).pid(pid);
    let Some(root) = Pid::from_raw(pid) else { return Ok(0) };
    loop {
        match rustix::process::waitpid(Some(root), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                let status = ExitStatus::from_raw(status.as_raw());
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                log::info!("the restored root ended: {status}");
                return Ok(u8::try_from(code).unwrap_or(crate::FAILED));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(failed(e).into()),
        }
    }
}
