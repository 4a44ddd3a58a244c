//! Every system call of the engine fails once, or is the last that is not made.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Harm;
use super::attempt::{Ending, Scene, after};
use crate::descendants::{PATIENCE, wait_for};
use crate::verdict::{Outcome, failed};

/// EINTR, ENOMEM, ENOSPC, EPERM, EIO.
const ERRORS: [(u64, &str); 5] = [(4, "EINTR"), (12, "ENOMEM"), (28, "ENOSPC"), (1, "EPERM"), (5, "EIO")];

/// What is done at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// It fails.
    Fault,
    /// The engine is killed before it.
    KillAt,
}

impl At {
    pub const ALL: [At; 2] = [At::Fault, At::KillAt];

    pub fn name(self) -> &'static str {
        match self {
            At::Fault => "fault",
            At::KillAt => "kill_at",
        }
    }

    /// What is tried at each call: an error, or none.
    fn errors(self) -> &'static [(u64, &'static str)] {
        match self {
            At::Fault => &ERRORS,
            At::KillAt => &[(0, "killed")],
        }
    }
}

/// Those of a shell for a program that ended by a signal.
const SIGNALS: i32 = 128;
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Of all pairs of a call and an error, every `stride`-th from the `first` on.
pub fn run(at: At, scene: &Scene, stride: u64, first: u64, made: &mut u64) -> Outcome {
    let calls = std::cell::Cell::new(0);
    scene.attempt(u64::MAX, &|_, images, rest| {
        let (ending, report) = injected(scene, None, images, rest)?;
        let count = report.lines().find_map(|l| l.strip_prefix("calls ")?.parse::<u64>().ok());
        calls.set(count.ok_or_else(|| failed(format!("no count of calls: {report}")))?);
        Ok(ending)
    })?;
    let mut harm = Harm::default();
    let errors = at.errors();
    for pair in (first..calls.get() * errors.len() as u64).step_by(stride as usize) {
        let call = pair / errors.len() as u64 + 1;
        let (code, name) = errors[pair as usize % errors.len()];
        let what = std::cell::RefCell::new(String::new());
        let outcome = scene.attempt(pair, &|_, images, rest| {
            let (ending, report) = injected(scene, Some((call, code)), images, rest)?;
            what.replace(report.lines().next().unwrap_or_default().into());
            Ok(ending)
        });
        *made += 1;
        let place = format!("{name} at call {call} of {} ({})", calls.get(), what.borrow());
        harm.add(outcome.map_err(|s| after(&place, s)))?;
    }
    harm.outcome()
}

/// Runs the command under the injector; its ending and the injector's report.
fn injected(scene: &Scene, fault: Option<(u64, u64)>, images: &Path, rest: &[String]) -> Outcome<(Ending, String)> {
    let engine = scene.engine();
    let report = images.with_extension("report");
    let said = images.with_extension("said");
    let out = fs::File::create(&said).map_err(failed)?;
    let mut command = Command::new(scene.layout.tool("inject"));
    command.arg("-o").arg(&report);
    match fault {
        None => {}
        Some((call, 0)) => drop(command.args(["-n", &call.to_string(), "-k"])),
        Some((call, code)) => drop(command.args(["-n", &call.to_string(), "-e", &code.to_string()])),
    }
    let verb = scene.action.verb();
    let child = command
        .arg(engine.program())
        .args(engine.arguments(verb, images, rest))
        .stdin(Stdio::null())
        .stdout(out.try_clone().map_err(failed)?)
        .stderr(out)
        .spawn()
        .map_err(failed)?;
    let status = wait_for(child.id() as i32, PATIENCE);
    let text = fs::read_to_string(&report).unwrap_or_default();
    let mut said_text = fs::read_to_string(&said).unwrap_or_default();
    let _ = (fs::remove_file(&report), fs::remove_file(&said));
    let status = status.map_err(|s| after(&format!("it hangs ({})", text.trim()), s))?;
    said_text += &fs::read_to_string(images.join(format!("{verb}.log"))).unwrap_or_default();
    // Rust's runtime lacks memory for its own start: main has not begun.
    let at_start = |l: &str| l.contains("std/src/sys/pal/unix/stack_overflow.rs");
    if let Some(line) = said_text.lines().find(|l| l.contains("panicked") && !at_start(l)) {
        return Err(failed(format!("a panic ({}): {line}", text.trim())));
    }
    match status.exit_status() {
        Some(0) => Ok((Ending::Succeeded, text)),
        // Rust's answer to a lack of memory; the same as a kill.
        Some(code) if code == SIGNALS + SIGABRT => Ok((Ending::Killed, text)),
        Some(code) if code == SIGNALS + SIGKILL && fault.is_some_and(|f| f.1 == 0) => Ok((Ending::Killed, text)),
        Some(code) if code < SIGNALS => Ok((Ending::Failed, text)),
        code => Err(failed(format!("the engine ended by {code:?} ({})", text.trim()))),
    }
}
