//! One case from start to end, in a process that does nothing else.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitStatus};

use crate::aged::age;
use crate::build;
use crate::case::{Case, Mode};
use crate::descendants::{self, PATIENCE, adopt_orphans, describe, kill_all, reap_all, wait_for};
use crate::engine::{Answer, Engine};
use crate::huge_pages::Allowance;
use crate::layout::Layout;
use crate::round_trip;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::verdict::{Outcome, Stop, failed};

/// A subject's exit status when this machine lacks what it needs; the reason is in its result file.
const SKIPPED: i32 = 77;

/// A started subject.
pub struct Running<'a> {
    pub subject: &'a Subject,
    pub layout: &'a Layout,
    /// The folder the subject was given.
    pub folder: PathBuf,
    pub pid: i32,
    /// How it ended, once that is known.
    ended: Cell<Option<WaitStatus>>,
}

/// Runs a case and cleans up behind it, whatever came of it.
pub fn run(case: &Case, layout: &Layout, folder: &Path) -> Outcome {
    adopt_orphans()?;
    let huge_pages = Allowance::of(case.subject.huge_pages)?;
    let outcome = steps(case, layout, folder);
    kill_all();
    drop(huge_pages);
    outcome
}

fn steps(case: &Case, layout: &Layout, folder: &Path) -> Outcome {
    let engine =
        Engine { layout, route: case.route, patience: Duration::from_secs(60), terminal: case.subject.terminal };
    if case.subject.dumps_itself {
        return self_dump(case, &engine, folder);
    }
    let subject = Running::start(&case.subject, layout, folder)?;
    subject.await_ready()?;
    match case.mode {
        Mode::Bare => subject.check(),
        Mode::Plain => subject.round(&engine, 1).and_then(|()| subject.check()),
        Mode::Twice => {
            subject.round(&engine, 1).and_then(|()| subject.round(&engine, 2)).and_then(|()| subject.check())
        }
        Mode::Leave => leave_running(&subject, &engine),
        Mode::Refused => refused(&subject, &engine),
    }
}

fn leave_running(subject: &Running, engine: &Engine) -> Outcome {
    let options = [subject.subject.dump_options.clone(), vec!["--leave-running".into()]].concat();
    let mut images = subject.images(1)?;
    for number in 1..=subject.subject.dumps {
        if number > 1 {
            fs::remove_dir_all(&images).map_err(failed)?;
            images = subject.images(number)?;
        }
        let before = subject.at_rest();
        let answer = engine.dump(subject.pid, &images, &options)?;
        accepted("dump", &answer).map_err(|s| within(&format!("number {number}"), s))?;
        same("left running", &before, subject)?;
    }
    round_trip::of(&images)?;
    age(subject.subject, &images)?;
    subject.check().map_err(|s| within("the original", s))?;
    if !subject.subject.copy {
        return Ok(());
    }
    subject.forget_result();
    accepted("restore", &engine.restore(&images, &subject.subject.restore_options)?)?;
    subject.check().map_err(|s| within("the restored copy", s))
}

fn refused(subject: &Running, engine: &Engine) -> Outcome {
    let images = subject.images(1)?;
    let before = subject.at_rest();
    let answer = engine.dump(subject.pid, &images, &subject.subject.dump_options)?;
    if answer.ok {
        return Err(failed("the dump succeeded; it had to be refused"));
    }
    let all = format!("{}\n{}", answer.output, answer.log);
    let wanted = subject.subject.refused.as_deref().unwrap_or_default();
    let has = |line: &str, words: &[String]| words.iter().all(|w| line.to_lowercase().contains(&w.to_lowercase()));
    let line = all.lines().find(|l| l.contains("Error") && wanted.iter().any(|words| has(l, words)));
    let Some(line) = line else {
        return Err(failed(format!("the refusal names none of {wanted:?}: {}", answer.errors())));
    };
    let mut tree = vec![subject.pid];
    tree.extend(descendants::below(subject.pid));
    if !tree.iter().any(|p| line.contains(&format!("pid {p}"))) {
        return Err(failed(format!("the refusal names no pid of the tree {tree:?}: {line}")));
    }
    if images.join("inventory.img").exists() {
        return Err(failed("a refused dump left an inventory.img"));
    }
    same("refused", &before, subject)?;
    subject.check()
}

/// The program asks for its own dump; it goes on in the restored copy.
fn self_dump(case: &Case, engine: &Engine, folder: &Path) -> Outcome {
    let subject = Running::start(&case.subject, engine.layout, folder)?;
    let images = folder.join("images-1");
    if case.mode == Mode::Leave {
        fs::write(folder.join("leave"), "").map_err(failed)?;
    }
    fs::write(folder.join("go"), "").map_err(failed)?;
    if case.mode == Mode::Leave {
        subject.result()?;
        subject.ended_well()?;
        subject.forget_result();
    } else {
        let status = wait_for(subject.pid, case.subject.patience)?;
        if status.terminating_signal() != Some(9) {
            let said = fs::read_to_string(folder.join("result")).unwrap_or_default();
            let log = fs::read_to_string(images.join("dump.log")).unwrap_or_default();
            let errors: Vec<&str> = log.lines().filter(|l| l.contains("Error")).collect();
            return Err(failed(format!(
                "it was not killed by its own dump: {}: {said}\n{}",
                describe(status),
                errors.join("\n")
            )));
        }
        reap_all(PATIENCE)?;
    }
    round_trip::of(&images)?;
    accepted("restore", &engine.restore(&images, &case.subject.restore_options)?)?;
    subject.result()?;
    subject.ended_well()
}

impl<'a> Running<'a> {
    /// Starts the subject in a session of its own, with nothing but its three standard descriptors.
    pub fn start(subject: &'a Subject, layout: &'a Layout, folder: &Path) -> Outcome<Running<'a>> {
        for need in &subject.needs {
            build::find_command(need).ok_or_else(|| Stop::Skipped(format!("there is no `{need}`")))?;
        }
        fs::create_dir_all(folder).map_err(|e| failed(format!("{}: {e}", folder.display())))?;
        let mut line = build::command_line(subject, layout);
        line.push(folder.display().to_string());
        line.extend(subject.variant.clone());
        let mut command = Command::new(layout.tool("launch"));
        command.current_dir(folder).env("LD_LIBRARY_PATH", layout.lib()).env("CRIU_TEST_LIB", layout.lib());
        if subject.terminal {
            command.arg("-g");
        } else if subject.is_c() {
            command.arg("-s").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        } else {
            let out = File::create(folder.join("output")).map_err(failed)?;
            let err = out.try_clone().map_err(failed)?;
            command.arg("-s").stdin(Stdio::null()).stdout(out).stderr(err);
        }
        let child = command.args(&line).spawn().map_err(|e| failed(format!("{line:?}: {e}")))?;
        Ok(Running { subject, layout, folder: folder.into(), pid: child.id() as i32, ended: Cell::new(None) })
    }

    /// Waits for the file `ready`; a subject that ended before has said why.
    pub fn await_ready(&self) -> Outcome {
        let end = Instant::now() + self.subject.patience;
        while !self.folder.join("ready").exists() {
            if let Some(status) = self.has_ended() {
                let said = self.said();
                return match status.exit_status() {
                    Some(SKIPPED) => Err(Stop::Skipped(said)),
                    _ => Err(failed(format!("it ended before it was ready: {}: {said}", describe(status)))),
                };
            }
            if Instant::now() > end {
                return Err(failed(format!("it was not ready within {:?}: {}", self.subject.patience, self.said())));
            }
            sleep(Duration::from_millis(1));
        }
        // The last step to the state in which it waits for the word.
        sleep(Duration::from_millis(10));
        Ok(())
    }

    /// Reaps the subject if it has ended.
    fn has_ended(&self) -> Option<WaitStatus> {
        if self.ended.get().is_none() {
            self.ended.set(descendants::try_wait(self.pid));
        }
        self.ended.get()
    }

    /// What it wrote: its result and its output.
    fn said(&self) -> String {
        let text = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let output = text("output");
        let from = output.char_indices().rev().nth(1500).map_or(0, |c| c.0);
        format!("{}{}", text("result"), &output[from..]).trim().to_string()
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(self.pid, &self.layout.tool("filters"))
    }

    /// How it looks at rest: it has told of being ready before it waits, and has another signal mask by then.
    pub fn at_rest(&self) -> Snapshot {
        let mut last = self.snapshot();
        for _ in 0..if self.subject.is_c() { 50 } else { 0 } {
            sleep(Duration::from_millis(10));
            let next = self.snapshot();
            if descendants::state(self.pid) != Some('R') && next == last {
                break;
            }
            last = next;
        }
        last
    }

    /// A fresh images directory.
    pub fn images(&self, round: u32) -> Outcome<PathBuf> {
        let images = self.folder.with_extension(format!("images-{round}"));
        fs::create_dir_all(&images).map_err(failed)?;
        Ok(images)
    }

    /// Dumped and killed, proven gone, restored, and the same from outside.
    fn round(&self, engine: &Engine, number: u32) -> Outcome {
        let images = self.images(number)?;
        let before = self.at_rest();
        accepted("dump", &engine.dump(self.pid, &images, &self.subject.dump_options)?)?;
        round_trip::of(&images)?;
        age(self.subject, &images)?;
        let status = wait_for(self.pid, PATIENCE).map_err(|s| within("after the dump", s))?;
        if status.terminating_signal() != Some(9) {
            return Err(failed(format!("after the dump the subject ended by {}", describe(status))));
        }
        reap_all(PATIENCE).map_err(|s| within("after the dump", s))?;
        accepted("restore", &engine.restore(&images, &self.subject.restore_options)?)?;
        if let Some(early) = fs::read_to_string(self.folder.join("result")).ok().filter(|t| t != "OK\n") {
            return Err(failed(format!("it failed before it was told to check: {early}")));
        }
        same("restored", &before, self)
    }

    /// Gives the word, waits for OK, and for its end with nothing left.
    pub fn check(&self) -> Outcome {
        if self.subject.go_file {
            fs::write(self.folder.join("go"), "").map_err(failed)?;
        } else {
            descendants::signal(self.pid, Signal::USR1)?;
        }
        self.result()?;
        self.ended_well()
    }

    fn result(&self) -> Outcome {
        let end = Instant::now() + self.subject.patience;
        loop {
            if let Ok(text) = fs::read_to_string(self.folder.join("result")) {
                return match text.as_str() {
                    "OK\n" => Ok(()),
                    _ => Err(failed(format!("it says: {}", self.said()))),
                };
            }
            match self.has_ended() {
                Some(status) if !self.folder.join("result").exists() => {
                    return Err(failed(format!("it ended without a result ({}): {}", describe(status), self.said())));
                }
                None if Instant::now() > end => {
                    return Err(failed(format!("no result within {:?}: {}", self.subject.patience, self.stuck())));
                }
                _ => sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Where every thread of the tree is, for a report.
    fn stuck(&self) -> String {
        let mut all = vec![self.pid];
        all.extend(descendants::below(self.pid));
        let mut text = self.said();
        for pid in all {
            for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let read = |f: &str| fs::read_to_string(entry.path().join(f)).unwrap_or_default().trim().to_string();
                let status = read("status");
                let state = status.lines().find(|l| l.starts_with("State:")).unwrap_or("State: ?").to_string();
                text +=
                    &format!("\n  {pid}/{} {state} syscall {}", entry.file_name().to_string_lossy(), read("syscall"));
            }
        }
        text
    }

    fn ended_well(&self) -> Outcome {
        let status = match self.ended.get() {
            Some(status) => status,
            None => wait_for(self.pid, self.subject.patience).map_err(|s| within("after OK", s))?,
        };
        if status.exit_status() != Some(0) {
            return Err(failed(format!("after OK it ended by {}", describe(status))));
        }
        reap_all(PATIENCE)
    }

    pub fn forget_result(&self) {
        self.ended.set(None);
        for name in ["result", "go"] {
            let _ = fs::remove_file(self.folder.join(name));
        }
    }
}

/// An answer that had to be yes.
pub fn accepted(action: &str, answer: &Answer) -> Outcome {
    if answer.ok { Ok(()) } else { Err(failed(format!("{action} failed: {}", answer.errors()))) }
}

/// The tree looks as it did. It is given a moment to be back in the system call in which it waits.
fn same(when: &str, before: &Snapshot, running: &Running) -> Outcome {
    // A program at work has no state of rest to compare.
    if !running.subject.is_c() {
        return Ok(());
    }
    let end = Instant::now() + PATIENCE;
    let mut rows = before.differences(&running.snapshot(), &running.subject.ignore);
    while !rows.is_empty() && Instant::now() < end {
        sleep(Duration::from_millis(20));
        rows = before.differences(&running.snapshot(), &running.subject.ignore);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let shown: Vec<&str> = rows.iter().take(12).map(String::as_str).collect();
    Err(failed(format!("seen from outside, {} rows differ ({when}):\n{}", rows.len(), shown.join("\n"))))
}

fn within(place: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Failed(text) => Stop::Failed(format!("{place}: {text}")),
        skipped => skipped,
    }
}
