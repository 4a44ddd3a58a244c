//! `demo`: a counting program is checkpointed through the C API, is gone, comes back and counts on; then one that checkpoints itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use criu_tests::build::find_command;
use criu_tests::descendants::{self, adopt_orphans, kill_all, reap_all, wait_for};
use criu_tests::verdict::{Outcome, Stop, failed};

use crate::workspace::{Workspace, run as run_command};
use crate::{install, packages};

pub fn run(workspace: &Workspace) -> Result<(), String> {
    packages::install(packages::COMPILER);
    find_command("gcc").ok_or("the demo needs a C compiler, and gcc could not be installed")?;
    println!("building (the first time takes a minute or two)");
    install::stage(workspace)?;
    let demo = Demo::new(workspace)?;
    let shown = adopt_orphans().and_then(|()| demo.counter()).and_then(|()| demo.myself());
    kill_all();
    let _ = fs::remove_dir_all(&demo.room);
    shown.map_err(|stop| match stop {
        Stop::Failed(text) | Stop::Skipped(text) => text,
    })?;
    println!("\nBoth went on where they were.");
    Ok(())
}

struct Demo {
    built: PathBuf,
    /// Images and output of this run.
    room: PathBuf,
}

impl Demo {
    /// Compiles the examples against the staged installation, as criu.pc says.
    fn new(workspace: &Workspace) -> Result<Demo, String> {
        let built = workspace.target.join("examples-c");
        fs::create_dir_all(&built).map_err(|e| format!("{}: {e}", built.display()))?;
        let stage = workspace.target.join("stage");
        let flags = Command::new("pkg-config")
            .args(["--cflags", "--libs", "criu"])
            .env("PKG_CONFIG_PATH", stage.join("lib/pkgconfig"))
            .output()
            .map_err(|e| format!("pkg-config: {e}"))?;
        let flags = String::from_utf8_lossy(&flags.stdout).into_owned();
        for name in ["counter", "checkpoint", "self"] {
            run_command(
                Command::new("gcc")
                    .args(["-O1", "-Wall", "-o"])
                    .arg(built.join(name))
                    .arg(workspace.root.join(format!("examples/{name}.c")))
                    .args(flags.split_whitespace())
                    .arg(format!("-Wl,-rpath,{}", stage.join("lib").display())),
            )?;
        }
        let room = std::env::temp_dir().join(format!("criu-demo-{}", std::process::id()));
        fs::create_dir_all(&room).map_err(|e| format!("{}: {e}", room.display()))?;
        Ok(Demo { built, room })
    }

    /// Starts a program in a session of its own, as a service would be.
    fn start(&self, name: &str, args: &[&Path]) -> Outcome<i32> {
        let child = Command::new("setsid")
            .arg(self.built.join(name))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| failed(format!("setsid {name}: {e}")))?;
        Ok(child.id() as i32)
    }

    fn checkpoint(&self, args: &[&str]) -> Outcome {
        println!("\n$ checkpoint {}", args.join(" "));
        let start = Instant::now();
        let child = Command::new(self.built.join("checkpoint")).args(args).spawn().map_err(failed)?;
        let status = wait_for(child.id() as i32, Duration::from_secs(30))?;
        if status.exit_status() != Some(0) {
            let log = fs::read_to_string(Path::new(args[args.len() - 1]).join(format!("{}.log", args[0])));
            let errors: Vec<String> =
                log.unwrap_or_default().lines().filter(|l| l.contains("Error")).map(str::to_string).collect();
            return Err(failed(format!("checkpoint {} failed\n{}", args[0], errors.join("\n"))));
        }
        println!("  took {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }

    fn counter(&self) -> Outcome {
        println!("\n== a program that counts");
        let (images, out) = (self.room.join("counter"), self.room.join("counter.txt"));
        fs::create_dir_all(&images).map_err(failed)?;
        let pid = self.start("counter", &[&out])?;
        println!("$ counter &   (pid {pid})");
        let seen = follow(&out, 0, 5)?;
        let dir = images.display().to_string();
        self.checkpoint(&["dump", &pid.to_string(), &dir])?;
        show_images(&images)?;
        gone(pid)?;
        let seen_after = count_lines(&out);
        if seen_after < seen {
            return Err(failed("its output shrank"));
        }
        sleep(Duration::from_millis(500));
        if count_lines(&out) != seen_after {
            return Err(failed("something still counts"));
        }
        println!("  half a second later nothing has been counted");
        self.checkpoint(&["restore", &dir])?;
        follow(&out, seen_after, 5)?;
        same_pid_counts_on(&out, pid)?;
        descendants::signal(pid, rustix::process::Signal::KILL)?;
        reap_all(Duration::from_secs(5))
    }

    fn myself(&self) -> Outcome {
        println!("\n== a program that checkpoints itself");
        let (images, out) = (self.room.join("self"), self.room.join("self.txt"));
        fs::create_dir_all(&images).map_err(failed)?;
        let pid = self.start("self", &[&images, &out])?;
        println!("$ self {} &   (pid {pid})", images.display());
        let seen = follow(&out, 0, 4)?;
        let status = wait_for(pid, Duration::from_secs(20))?;
        if status.terminating_signal() != Some(9) {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let log = fs::read_to_string(images.join("dump.log")).unwrap_or_default();
            let errors: Vec<&str> = log.lines().filter(|l| l.contains("Error")).collect();
            return Err(failed(format!("it was not checkpointed:\n{text}{}", errors.join("\n"))));
        }
        show_images(&images)?;
        gone_already(pid)?;
        self.checkpoint(&["restore", &images.display().to_string()])?;
        follow(&out, seen, 6)?;
        let status = wait_for(pid, Duration::from_secs(10))?;
        if status.exit_status() != Some(0) {
            return Err(failed(format!("pid {pid} ended by {}", descendants::describe(status))));
        }
        println!("  pid {pid} has ended by itself, exit 0");
        reap_all(Duration::from_secs(5))
    }
}

fn count_lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Prints `more` new lines of a growing file, from line `from`; returns how many were seen.
fn follow(path: &Path, from: usize, more: usize) -> Outcome<usize> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut seen = from;
    while seen < from + more {
        let text = fs::read_to_string(path).unwrap_or_default();
        for line in text.lines().skip(seen).take(from + more - seen) {
            println!("  {line}");
            seen += 1;
        }
        if Instant::now() > end {
            return Err(failed("it says nothing more"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(seen)
}

fn show_images(images: &Path) -> Outcome {
    println!("\nsaved in {}:", images.display());
    let mut files: Vec<(String, u64)> = Vec::new();
    for entry in fs::read_dir(images).map_err(failed)?.flatten() {
        let size = entry.metadata().map_err(failed)?.len();
        files.push((entry.file_name().to_string_lossy().into_owned(), size));
    }
    files.sort();
    for (name, size) in &files {
        println!("  {size:>9}  {name}");
    }
    println!("  {:>9}  bytes in {} files", files.iter().map(|f| f.1).sum::<u64>(), files.len());
    Ok(())
}

/// Reaps what the dump killed and shows that there is no such process.
fn gone(pid: i32) -> Outcome {
    let status = wait_for(pid, Duration::from_secs(5))?;
    println!("\npid {pid} ended by {}", descendants::describe(status));
    gone_already(pid)
}

fn gone_already(pid: i32) -> Outcome {
    match descendants::state(pid) {
        Some(state) => Err(failed(format!("pid {pid} is still there, state {state}"))),
        None => {
            println!("$ ls /proc/{pid}: no such process");
            Ok(())
        }
    }
}

/// The numbers run on without a gap or a repetition, all from one pid.
fn same_pid_counts_on(path: &Path, pid: i32) -> Outcome {
    let text = fs::read_to_string(path).map_err(failed)?;
    for (i, line) in text.lines().enumerate() {
        let wanted = format!("pid {pid} counts {}", i + 1);
        if line != wanted {
            return Err(failed(format!("line {} is `{line}`, not `{wanted}`", i + 1)));
        }
    }
    println!("  pid {pid} counts on, without a gap");
    Ok(())
}
