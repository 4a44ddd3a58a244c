//! The engine is killed, or told to stop, at random moments.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::Random;
use super::attempt::{Ending, Scene, after};
use crate::case::Route;
use crate::descendants::{PATIENCE, describe, signal, try_wait, wait_for};
use crate::engine::Engine;
use crate::verdict::{Outcome, failed};

/// What happens to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The command gets SIGKILL.
    Kill,
    /// The command gets SIGTERM.
    Terminate,
    /// The program that called the library gets SIGKILL.
    Caller,
    /// The program that called the library cancels.
    Cancel,
    /// The library's caller has set a deadline.
    Deadline,
}

impl Blow {
    pub const ALL: [Blow; 5] = [Blow::Kill, Blow::Terminate, Blow::Caller, Blow::Cancel, Blow::Deadline];

    pub fn name(self) -> &'static str {
        match self {
            Blow::Kill => "kill",
            Blow::Terminate => "terminate",
            Blow::Caller => "caller",
            Blow::Cancel => "cancel",
            Blow::Deadline => "deadline",
        }
    }

    fn route(self) -> Route {
        if matches!(self, Blow::Kill | Blow::Terminate) { Route::Command } else { Route::Api }
    }
}

/// `count` moments, spread over the whole operation, at random within each part.
pub fn run(blow: Blow, scene: &Scene, count: u64, seed: u64, made: &mut u64) -> Outcome {
    let mut random = Random::new(seed);
    let typical = typical(scene, blow)?;
    let mut harm = super::Harm::default();
    for n in 0..count {
        let moment = typical.mul_f64((n as f64 + random.part()) / count as f64);
        let outcome = scene.attempt(n, &|_, images, rest| strike(blow, scene, moment, images, rest));
        *made += 1;
        harm.add(outcome.map_err(|s| after(&format!("{} after {moment:?} of {typical:?}", blow.name()), s)))?;
    }
    harm.outcome()
}

/// How long the operation takes when nobody disturbs it.
fn typical(scene: &Scene, blow: Blow) -> Outcome<Duration> {
    let took = std::cell::Cell::new(Duration::ZERO);
    scene.attempt(u64::MAX, &|_, images, rest| {
        let engine = Engine { route: blow.route(), ..scene.engine() };
        let answer = engine.call(scene.action.verb(), images, rest)?;
        crate::trial::accepted(scene.action.name(), &answer)?;
        took.set(answer.took);
        Ok(Ending::Succeeded)
    })?;
    Ok(took.get())
}

fn strike(blow: Blow, scene: &Scene, moment: Duration, images: &Path, rest: &[String]) -> Outcome<Ending> {
    let engine = Engine { route: blow.route(), ..scene.engine() };
    let mut line = engine.arguments(scene.action.verb(), images, rest);
    match blow {
        Blow::Cancel => line.extend(["--cancel-us".into(), moment.as_micros().to_string()]),
        Blow::Deadline => line.extend(["--deadline-ms".into(), moment.as_millis().max(1).to_string()]),
        _ => {}
    }
    let child = Command::new(engine.program())
        .args(line)
        .env("LD_LIBRARY_PATH", scene.layout.lib())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let pid = child.id() as i32;
    let fatal = matches!(blow, Blow::Kill | Blow::Caller);
    let mut status = None;
    if fatal || blow == Blow::Terminate {
        sleep(moment);
        status = try_wait(pid);
        if status.is_none() {
            signal(pid, if fatal { Signal::KILL } else { Signal::TERM })?;
        }
    }
    let status = match status {
        Some(status) => status,
        None => wait_for(pid, PATIENCE).map_err(|s| after("it hangs", s))?,
    };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Ok(Ending::Succeeded),
        (Some(_), _) => Ok(Ending::Failed),
        (_, Some(9)) if fatal => Ok(Ending::Killed),
        // Before it has said what it does with the signal, it just ends.
        (_, Some(15)) if blow == Blow::Terminate => Ok(Ending::Killed),
        _ => Err(failed(format!("the engine ended by {}", describe(status)))),
    }
}
