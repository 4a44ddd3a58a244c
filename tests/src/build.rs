//! Compiling subjects and tools, against the staged installation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use crate::layout::Layout;
use crate::subject::Subject;

/// A program on PATH.
pub fn find_command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.is_file())
}

/// Where the built program of a subject is; scripts run from their source.
fn built(subject: &Subject, layout: &Layout) -> PathBuf {
    layout.built.join(subject.source.parent().and_then(Path::file_name).unwrap_or_default()).join(subject.stem())
}

/// The command that starts a subject, without its folder.
pub fn command_line(subject: &Subject, layout: &Layout) -> Vec<String> {
    let source = subject.source.display().to_string();
    let built = built(subject, layout).display().to_string();
    match subject.source.extension().and_then(|e| e.to_str()) {
        Some("py") => vec![python(), source],
        Some("sh") => vec!["/bin/sh".into(), source],
        Some("js") => vec!["node".into(), source],
        // A JVM that starts removes the performance data of those it finds dead, a dumped one's too, which has the file mapped.
        Some("java") => vec!["java".into(), "-XX:+PerfDisableSharedMem".into(), "-cp".into(), built, subject.stem()],
        _ => vec![built],
    }
}

/// The interpreter itself: a wrapper script on PATH would be one process too many.
fn python() -> String {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    match asked {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).trim().to_string(),
        _ => "python3".into(),
    }
}

/// The compiler's command line, if the subject has to be compiled.
fn compiler(subject: &Subject, layout: &Layout) -> Option<Command> {
    let out = built(subject, layout);
    let source = &subject.source;
    match source.extension().and_then(|e| e.to_str())? {
        "c" => Some(c_compiler(source, &out, &subject.build, layout)),
        "go" => {
            let mut go = Command::new("go");
            go.args(["build", "-o"]).arg(out).arg(source).env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
            Some(go)
        }
        "java" => {
            let mut javac = Command::new("javac");
            javac.arg("-d").arg(out).arg(source);
            Some(javac)
        }
        _ => None,
    }
}

fn c_compiler(source: &Path, out: &Path, more: &[String], layout: &Layout) -> Command {
    let mut cc = Command::new("gcc");
    cc.args(["-O1", "-g", "-Wall", "-Wno-unused-result", "-o"]).arg(out).arg(source);
    for word in more {
        if word == "criu" {
            cc.arg("-I").arg(layout.include()).arg("-I").arg(layout.include().join("criu"));
            cc.arg("-L").arg(layout.lib()).arg("-lcriu").arg(format!("-Wl,-rpath,{}", layout.lib().display()));
        } else {
            cc.arg(word);
        }
    }
    cc
}

/// Is the output newer than its source and the headers beside it?
fn fresh(source: &Path, out: &Path) -> bool {
    let time = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).ok();
    let beside = source.parent().map(fs::read_dir).into_iter().flatten().flatten().flatten().map(|e| e.path());
    let mut headers = beside.filter(|p| p.extension().is_some_and(|e| e == "h"));
    match (time(out), time(source)) {
        (Some(out), Some(source)) => out > source && headers.all(|p| time(&p).is_none_or(|h| out > h)),
        _ => false,
    }
}

/// A compilation that failed: what and why.
#[derive(Clone, Debug)]
pub struct Broken {
    pub name: String,
    pub text: String,
}

/// Compiles every tool and subject on `jobs` threads. Subjects whose compiler is missing are left alone: their cases are skipped.
pub fn all(subjects: &[Subject], layout: &Layout, jobs: usize) -> Vec<Broken> {
    let mut work: Vec<(String, PathBuf, PathBuf, Command)> = Vec::new();
    for tool in ["launch", "crtool", "filters", "inject", "unrest"] {
        let source = layout.root.join(format!("tests/tools/{tool}.c"));
        let more: &[&str] = match tool {
            "crtool" => &["criu", "-pthread"],
            "unrest" => &["-pthread"],
            _ => &[],
        };
        let more: Vec<String> = more.iter().map(|s| s.to_string()).collect();
        let out = layout.tool(tool);
        let command = c_compiler(&source, &out, &more, layout);
        work.push((tool.into(), source, out, command));
    }
    for subject in subjects {
        let out = built(subject, layout);
        let again = work.iter().any(|w| w.2 == out);
        if let Some(command) = compiler(subject, layout).filter(|_| !again)
            && subject.needs.iter().all(|n| find_command(n).is_some())
        {
            work.push((subject.stem(), subject.source.clone(), out, command));
        }
    }
    work.retain(|(_, source, out, _)| !fresh(source, out));
    let queue = Mutex::new(work);
    let broken = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let Some((name, _, out, mut command)) = queue.lock().ok().and_then(|mut q| q.pop()) else { return };
                    let failed = compile(&out, &mut command).err();
                    if let (Some(text), Ok(mut list)) = (failed, broken.lock()) {
                        list.push(Broken { name, text });
                    }
                }
            });
        }
    });
    broken.into_inner().unwrap_or_default()
}

fn compile(out: &Path, command: &mut Command) -> Result<(), String> {
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let done = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}\n{}", String::from_utf8_lossy(&done.stderr)))
}
