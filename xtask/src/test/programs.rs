//! C and C++ programs of tests/c, compiled by what criu.pc says against the staged installation. Exit 0 is a pass, 77 a skip
//! whose reason is the last line printed.

use std::fs;
use std::path::Path;
use std::process::Command;

use criu_tests::descendants::signal;
use criu_tests::layout::Layout;
use criu_tests::suite::show;
use criu_tests::verdict::{Outcome, Stop, Summary, Verdict, failed};

use rustix::process::Signal;

use crate::workspace::Workspace;

pub fn run(workspace: &Workspace, layout: &Layout) -> Summary {
    let mut summary = Summary::default();
    let mut sources: Vec<_> =
        fs::read_dir(workspace.root.join("tests/c")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    sources.retain(|p| p.extension().is_some_and(|e| e == "c" || e == "cpp") && stands_alone(p));
    sources.sort();
    for source in sources {
        let name = format!("c/{}", source.file_name().unwrap_or_default().to_string_lossy());
        let verdict = Verdict { name, outcome: one(&source, layout) };
        show(&verdict);
        summary.add(verdict);
    }
    summary
}

/// One that needs files made by a Rust test says so, and runs there alone.
fn stands_alone(source: &Path) -> bool {
    !fs::read_to_string(source).is_ok_and(|text| text.contains("Driven by libcriu/capi/tests"))
}

fn one(source: &Path, layout: &Layout) -> Outcome {
    let cpp = source.extension().is_some_and(|e| e == "cpp");
    let program = layout.built.join("c").join(source.file_stem().unwrap_or_default());
    fs::create_dir_all(layout.built.join("c")).map_err(failed)?;
    let flags = Command::new("pkg-config")
        .args(["--cflags", "--libs", "criu"])
        .env("PKG_CONFIG_PATH", layout.lib().join("pkgconfig"))
        .output()
        .map_err(|e| failed(format!("pkg-config: {e}")))?;
    let flags = String::from_utf8_lossy(&flags.stdout).into_owned();
    let done = Command::new(if cpp { "g++" } else { "gcc" })
        .args(["-O1", "-g", "-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(source)
        .args(flags.split_whitespace())
        .args(["-pthread", "-ldl"])
        .arg(format!("-Wl,-rpath,{}", layout.lib().display()))
        .output()
        .map_err(failed)?;
    if !done.status.success() {
        return Err(failed(format!("it does not compile: {}", String::from_utf8_lossy(&done.stderr))));
    }
    fs::create_dir_all(&layout.room).map_err(failed)?;
    // Not a pipe: a process left behind would keep it open.
    let said = program.with_extension("out");
    let out = fs::File::create(&said).map_err(failed)?;
    let status = Workspace::bounded(120, &program.display().to_string())
        .current_dir(&layout.room)
        .env("LD_LIBRARY_PATH", layout.lib())
        .stdout(out.try_clone().map_err(failed)?)
        .stderr(out)
        .status()
        .map_err(failed)?;
    let text = String::from_utf8_lossy(&fs::read(&said).map_err(failed)?).into_owned();
    let left = end_all(&program);
    match status.code() {
        Some(0 | 77) if !left.is_empty() => Err(failed(format!("processes left behind: {left:?}"))),
        Some(0) => Ok(()),
        Some(77) => Err(Stop::Skipped(text.lines().last().unwrap_or_default().to_string())),
        _ => Err(failed(format!("{status}: {}", text.trim()))),
    }
}

/// Kills every process that executes `program`; gives their pids.
fn end_all(program: &Path) -> Vec<i32> {
    let runs_it = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let found: Vec<i32> = all.filter_map(|e| e.file_name().to_string_lossy().parse().ok()).filter(runs_it).collect();
    for pid in &found {
        let _ = signal(*pid, Signal::KILL);
    }
    found
}
