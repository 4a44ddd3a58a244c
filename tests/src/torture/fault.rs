//! Every system call of the engine fails once.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Harm;
use super::attempt::{Ending, Scene, after};
use crate::descendants::{PATIENCE, wait_for};
use crate::verdict::{Outcome, failed};

/// EINTR, ENOMEM, ENOSPC, EPERM, EIO.
const ERRORS: [(u64, &str); 5] = [(4, "EINTR"), (12, "ENOMEM"), (28, "ENOSPC"), (1, "EPERM"), (5, "EIO")];
/// Those of a shell for a program that ended by a signal.
const SIGNALS: i32 = 128;
const SIGABRT: i32 = 6;

/// Of all pairs of a call and an error, every `stride`-th from the `first` on.
pub fn run(scene: &Scene, stride: u64, first: u64, made: &mut u64) -> Outcome {
    let calls = std::cell::Cell::new(0);
    scene.attempt(u64::MAX, &|_, images, rest| {
        let (ending, report) = injected(scene, None, images, rest)?;
        let count = report.lines().find_map(|l| l.strip_prefix("calls ")?.parse::<u64>().ok());
        calls.set(count.ok_or_else(|| failed(format!("no count of calls: {report}")))?);
        Ok(ending)
    })?;
    let mut harm = Harm::default();
    for pair in (first..calls.get() * ERRORS.len() as u64).step_by(stride as usize) {
        let call = pair / ERRORS.len() as u64 + 1;
        let (code, name) = ERRORS[pair as usize % ERRORS.len()];
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
    if let Some((call, code)) = fault {
        command.args(["-n", &call.to_string(), "-e", &code.to_string()]);
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
        Some(code) if code < SIGNALS => Ok((Ending::Failed, text)),
        code => Err(failed(format!("the engine ended by {code:?} ({})", text.trim()))),
    }
}
