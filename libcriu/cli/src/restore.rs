//! `criu restore`.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use criu_engine::sys::signal::heed_termination;
use criu_engine::{Error, Phase};
use criu_images::ImageDir;
use criu_images::options::Settings;
use rustix::process::{Pid, WaitOptions};

use crate::dump::note_signals;
use crate::foreground::Foreground;
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
    let stays = own.exec_cmd || !own.restore_detached;
    if !stays && rustix::process::getpid() == Pid::INIT {
        let cause = "this is the first process of its pid namespace, and with its end the kernel kills all others";
        let e = Error::new(Phase::Options, "--restore-detached", cause);
        return Err(e.hint("leave the option out, or run the command under another first process").into());
    }
    let display_stats = settings.msg.display_stats();
    let prepared = prepare::operation(settings, 0)?;
    let mut operator = CommandOperator::new(prepared.scripts);
    if prepared.options.msg.shell_job() && !prepared.command.restore_detached && !prepared.command.exec_cmd {
        let images = prepared.options.images_dir.try_clone().map(ImageDir::new);
        operator.foreground = images.map(|images| Foreground::told_by(&images)).unwrap_or_default();
    }
    note_signals();
    let restored = criu_engine::restore(&prepared.options, &mut operator);
    if restored.is_err() {
        operator.foreground.take_back();
    }
    let outcome = restored?;
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
    if prepared.command.restore_detached { Ok(0) } else { wait(outcome.pid, &operator.foreground) }
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
fn wait(pid: i32, foreground: &Foreground) -> Result<u8, Failure> {
    let failed = |e: rustix::io::Errno| Error::os(Phase::Resume, "the restored root", "waitpid", e).pid(pid);
    let Some(root) = Pid::from_raw(pid) else { return Ok(0) };
    // The tree outlives this command from here on.
    heed_termination();
    let options = if foreground.is_given() { WaitOptions::UNTRACED } else { WaitOptions::empty() };
    loop {
        match rustix::process::waitpid(Some(root), options) {
            Ok(Some((_, status))) if status.stopped() => foreground.stop_along(),
            Ok(Some((_, status))) => {
                foreground.take_back();
                let status = ExitStatus::from_raw(status.as_raw());
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                log::info!("the restored root ended: {status}");
                return Ok(u8::try_from(code).unwrap_or(crate::FAILED));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => {
                foreground.take_back();
                return Err(failed(e).into());
            }
        }
    }
}
