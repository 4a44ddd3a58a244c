//! The Go module: vet, staticcheck, its tests under the race detector, and programs in a fresh module outside the tree, all
//! against the staged installation.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use criu_tests::build::find_command;
use criu_tests::layout::Layout;
use criu_tests::suite::show;
use criu_tests::verdict::{Outcome, Stop, Summary, Verdict, failed};

use super::single;

/// The one that was tried with this module.
const STATICCHECK: &str = "honnef.co/go/tools/cmd/staticcheck@v0.8.2";

/// Seconds that one step may take; a first one compiles Go's own packages, too.
const LIMIT: &str = "400";

pub fn run(layout: &Layout) -> Summary {
    let module = layout.root.join("bindings/go");
    if let Err(stop) = ready(layout, &module) {
        return single("go", Err(stop));
    }
    let mut summary = Summary::default();
    let mut add = |name: &str, outcome: Outcome| {
        let verdict = Verdict { name: name.into(), outcome };
        show(&verdict);
        summary.add(verdict);
    };
    add("gofmt", formatted(layout));
    add("go vet", quiet(&mut go(layout, &module, &["vet", "./..."])));
    add("go vet without cgo", quiet(go(layout, &module, &["vet", "./..."]).env("CGO_ENABLED", "0")));
    add("staticcheck", staticcheck(layout, &module));
    let race = go(layout, &module, &["test", "-race", "-count=1", "-v", "-timeout", "300s", "./..."]);
    tests(race).into_iter().for_each(|v| add(&v.name, v.outcome));
    match programs(layout) {
        Ok(folder) => {
            let mut command = go(layout, &folder.join("go"), &["test", "-count=1", "-v", "-timeout", "200s", "."]);
            command.env("PROGRAMS", folder.join("bin"));
            tests(command).into_iter().for_each(|v| add(&v.name, v.outcome));
        }
        Err(stop) => add("go programs", Err(stop)),
    }
    // What is left there is no failure.
    let _ = fs::remove_dir_all(layout.room.join("modules"));
    let _ = fs::remove_dir(&layout.room);
    summary
}

/// The oldest Go that the module is made for: 1.N.
const MINOR: u32 = 23;

/// Skips what cannot run here: without Go, with an old one, without the modules that this one needs.
fn ready(layout: &Layout, module: &Path) -> Outcome {
    if find_command("go").is_none() {
        return Err(Stop::Skipped("there is no go command".into()));
    }
    let done = go(layout, &layout.root, &["env", "GOVERSION"]).output().map_err(failed)?;
    let version = String::from_utf8_lossy(&done.stdout).trim().to_string();
    if minor(&version).is_some_and(|n| n < MINOR) {
        return Err(Stop::Skipped(format!("{version} is older than go1.{MINOR}")));
    }
    match quiet(&mut go(layout, module, &["mod", "download"])) {
        Err(Stop::Failed(why)) if ["dial tcp", "lookup ", "i/o timeout"].iter().any(|w| why.contains(w)) => {
            Err(Stop::Skipped(format!("modules cannot be downloaded: {}", why.lines().last().unwrap_or_default())))
        }
        other => other,
    }
}

/// N of `go1.N` or `go1.N.M`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("go1.")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A go command in `folder`.
fn go(layout: &Layout, folder: &Path, args: &[&str]) -> Command {
    let mut command = limited(layout, folder, "go");
    command.args(args);
    command
}

/// A program with a time limit, for which the staged installation is the system's.
fn limited(layout: &Layout, folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", LIMIT]).arg(program).current_dir(folder).stdin(Stdio::null());
    command.env("PKG_CONFIG_PATH", layout.lib().join("pkgconfig"));
    command.env("LD_LIBRARY_PATH", layout.lib()).env("CRIU_COMMAND", layout.command());
    command.env("GOFLAGS", "-buildvcs=false").env("CGO_ENABLED", "1");
    command
}

/// The outcome of a command whose output matters only when it fails.
fn quiet(command: &mut Command) -> Outcome {
    let done = command.output().map_err(failed)?;
    if done.status.success() {
        return Ok(());
    }
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Err(failed(format!("{}: {}", done.status, text.trim())))
}

/// Names of files that gofmt would change are a failure.
fn formatted(layout: &Layout) -> Outcome {
    let mut gofmt = limited(layout, &layout.root, "gofmt");
    let done = gofmt.args(["-l", "bindings/go", "tests/go", "examples/go"]).output().map_err(failed)?;
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if done.status.success() && text.is_empty() { Ok(()) } else { Err(failed(text.trim())) }
}

/// Installed into the build output, unless it is there.
fn staticcheck(layout: &Layout, module: &Path) -> Outcome {
    let tools = layout.built.join("go-tools");
    let program = tools.join("staticcheck");
    if !program.exists() {
        fs::create_dir_all(&tools).map_err(failed)?;
        let installed = quiet(go(layout, &layout.built, &["install", STATICCHECK]).env("GOBIN", &tools));
        if let Err(Stop::Failed(why)) = installed {
            return Err(Stop::Skipped(format!("it cannot be installed: {}", why.lines().next().unwrap_or_default())));
        }
    }
    quiet(limited(layout, module, program).arg("./..."))
}

/// Copies the programs of tests/go and the examples out of the tree, into modules that replace go-criu by this one, and builds
/// them: the folder they are in.
fn programs(layout: &Layout) -> Result<PathBuf, Stop> {
    let folder = layout.room.join("modules");
    fs::create_dir_all(folder.join("bin")).map_err(failed)?;
    let replace =
        format!("-replace=github.com/checkpoint-restore/go-criu/v8={}", layout.root.join("bindings/go").display());
    for (from, to) in [("tests/go", "go"), ("examples/go", "examples")] {
        let module = folder.join(to);
        quiet(Command::new("cp").arg("-r").arg(layout.root.join(from)).arg(&module))?;
        quiet(&mut go(layout, &module, &["mod", "edit", &replace]))?;
        quiet(&mut go(layout, &module, &["vet", "./..."]))?;
        quiet(go(layout, &module, &["build", "-o"]).arg(folder.join("bin/")).arg("./..."))?;
    }
    Ok(folder)
}

/// The verdicts of a `go test -v`; one that ends badly without saying where is a failure of its own.
fn tests(mut command: Command) -> Vec<Verdict> {
    let (text, well) = match command.output() {
        Ok(done) => {
            let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            (text, done.status.success())
        }
        Err(e) => (e.to_string(), false),
    };
    let mut verdicts = verdicts(&text);
    let told = verdicts.iter().any(|v| matches!(v.outcome, Err(Stop::Failed(_))));
    if well && verdicts.is_empty() {
        verdicts.push(Verdict { name: "go test".into(), outcome: Err(failed("it ran no tests")) });
    } else if !well && !told {
        verdicts.push(Verdict { name: "go test".into(), outcome: Err(failed(text)) });
    }
    verdicts
}

/// What `go test -v` says of each test, and of each part of one that was skipped.
fn verdicts(text: &str) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut said: Vec<&str> = Vec::new();
    for line in text.lines() {
        let (indented, bare) = (line.starts_with(' '), line.trim_start());
        let Some((word, rest)) = bare.strip_prefix("--- ").and_then(|l| l.split_once(": ")) else {
            if bare.starts_with("=== ") {
                said.retain(|_| indented);
            } else {
                said.push(bare);
            }
            continue;
        };
        let name = format!("go {}", rest.split(' ').next().unwrap_or_default());
        let outcome = match word {
            "PASS" if !indented => Ok(()),
            "FAIL" if !indented => Err(failed(said.join("\n"))),
            "SKIP" => Err(Stop::Skipped(said.last().copied().unwrap_or("no reason is given").into())),
            _ => continue,
        };
        verdicts.push(Verdict { name, outcome });
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(["go1.26.8", "go1.23", "go1.24rc1", "devel"].map(minor), [Some(26), Some(23), Some(24), None]);
    }

    #[test]
    fn the_lines_of_go_test_are_read() {
        let text =
            "=== RUN   TestA\n--- PASS: TestA (0.1s)\n=== RUN   TestB\n    b_test.go:1: wrong\n--- FAIL: TestB (0s)\n";
        let found = verdicts(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].name, "go TestA");
        assert!(found[0].outcome.is_ok());
        assert!(matches!(&found[1].outcome, Err(Stop::Failed(why)) if why.contains("wrong")));
        let skipped = verdicts("=== RUN   TestC/x\n    c_test.go:1: no kernel\n    --- SKIP: TestC/x (0.0s)\n");
        assert!(matches!(&skipped[0].outcome, Err(Stop::Skipped(why)) if why.contains("no kernel")));
    }
}
