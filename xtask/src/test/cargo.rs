//! What cargo itself tests: formatting, lints, Rust tests, documentation.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use criu_tests::verdict::{Summary, failed};

use super::single;
use crate::workspace::{Workspace, run};

pub fn fmt(workspace: &Workspace) -> Summary {
    single("cargo fmt --check", run(&mut workspace.cargo(&["fmt", "--all", "--check"])).map_err(failed))
}

pub fn clippy(workspace: &Workspace) -> Summary {
    let mut clippy = workspace.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    single("cargo clippy", run(&mut clippy).map_err(failed))
}

pub fn doc(workspace: &Workspace) -> Summary {
    let mut doc = workspace.cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    single("cargo doc", run(&mut doc).map_err(failed))
}

/// Every `test result:` line counts; a run that fails without one is a failure of its own. A program of tests that takes
/// longer than five minutes is killed.
pub fn tests(workspace: &Workspace) -> Summary {
    let mut command = workspace.cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "timeout --kill-after=10 300");
    match follow(&mut command) {
        Ok((lines, well)) => count(&lines, well),
        Err(e) => single("cargo test", Err(failed(e))),
    }
}

/// Passes a command's standard output on and keeps it.
pub(super) fn follow(command: &mut Command) -> std::io::Result<(Vec<String>, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = Vec::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if ["FAILED", "panicked", "has been running", "test result:"].iter().any(|w| line.contains(w)) {
                println!("  {line}");
            }
            lines.push(line);
        }
    }
    Ok((lines, child.wait()?.success()))
}

fn count(lines: &[String], well: bool) -> Summary {
    let mut summary = Summary::default();
    let mut failures = 0;
    let mut slow: Vec<&str> = Vec::new();
    for line in lines {
        if let Some((name, _)) = line.strip_prefix("test ").and_then(|l| l.split_once(" has been running")) {
            slow.push(name);
        }
        let Some((name, result)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... ")) else { continue };
        slow.retain(|n| *n != name);
        let name = name.to_string();
        if result.starts_with("ok") {
            summary.passed += 1;
        } else if result.starts_with("FAILED") {
            failures += 1;
            summary.failed.push((name, "see above".into()));
        } else if let Some(rest) = result.strip_prefix("ignored") {
            summary.skipped.push((name, rest.trim_start_matches([',', ' ']).to_string()));
        }
    }
    failures += slow.len();
    summary.failed.extend(slow.into_iter().map(|name| (name.to_string(), "it did not end".to_string())));
    if !well && failures == 0 {
        let tail: Vec<&str> = lines.iter().rev().take(5).map(String::as_str).collect();
        summary.failed.push(("cargo test".into(), format!("ended badly; last lines: {}", tail.join(" | "))));
    }
    if !well {
        for line in lines.iter().skip_while(|l| *l != "failures:") {
            println!("  {line}");
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_test_runner_are_counted() {
        let lines = ["test a::b ... ok", "test c ... FAILED", "test d ... ignored, no KVM", "test result: FAILED."];
        let lines: Vec<String> = lines.iter().map(|l| l.to_string()).collect();
        let summary = count(&lines, false);
        assert_eq!(summary.to_string(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(summary.skipped[0].1, "no KVM");
        assert_eq!(count(&[], false).failed.len(), 1);
        let hung = [
            "test a has been running for over 60 seconds",
            "test b has been running for over 60 seconds",
            "test b ... ok",
        ];
        let hung = count(&hung.map(String::from), false);
        assert_eq!(hung.failed, [("a".to_string(), "it did not end".to_string())]);
    }
}
