//! A child process of the test, and everything about it that an infection might change.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a victim may take to be somewhere, on a busy machine as well.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Victim {
    child: Child,
    pub stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Victim {
    /// Starts the program and waits for its `ready`; lines before that are returned.
    pub fn start(args: &[&str]) -> (Victim, Vec<String>) {
        Victim::start_program(Path::new(env!("CARGO_BIN_EXE_compel-victim")), args)
    }

    /// As [`Victim::start`], another program.
    pub fn start_program(program: &Path, args: &[&str]) -> (Victim, Vec<String>) {
        let mut command = Command::new(program);
        let mut child =
            command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starting the victim");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut victim = Victim { child, stdin, stdout };
        let mut lines = Vec::new();
        loop {
            let line = victim.line();
            if line == "ready" {
                return (victim, lines);
            }
            assert!(!line.is_empty(), "the victim ended early");
            lines.push(line);
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("reading from the victim");
        line.trim_end().to_string()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// One line to its standard input.
    pub fn tell(&mut self) {
        self.stdin.take().expect("not told yet").write_all(b"\n").expect("writing to the victim");
    }

    /// Waits for the end: `ok`, or why not.
    pub fn verdict(mut self) -> Result<(), String> {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).expect("reading from the victim");
        let status = self.child.wait().expect("waiting for the victim");
        if status.success() && text.trim() == "ok" { Ok(()) } else { Err(format!("{} ({status})", text.trim())) }
    }

    /// `Z`, `T`, `S` ...
    pub fn state(&self) -> char {
        let text = read(self.pid(), "stat");
        text.rsplit(") ").next().and_then(|rest| rest.chars().next()).expect("a state")
    }

    pub fn wait_for_state(&self, wanted: &str) {
        let begin = Instant::now();
        while !wanted.contains(self.state()) {
            assert!(begin.elapsed() < PATIENCE, "state {} instead of {wanted}", self.state());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn kill(mut self) {
        let _ = self.child.kill();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn read(pid: i32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).expect("reading /proc")
}

/// Mappings, descriptors, signal masks and CPU affinity of every thread, tracer.
#[derive(Debug, PartialEq, Eq)]
pub struct Looks {
    maps: String,
    fds: Vec<(String, String)>,
    status: Vec<(i32, Vec<String>)>,
}

impl Looks {
    pub fn of(pid: i32) -> Looks {
        let mut fds: Vec<(String, String)> = fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("reading /proc")
            .filter_map(|entry| {
                let path = entry.expect("an entry").path();
                let link = fs::read_link(&path).ok()?;
                Some((path.display().to_string(), link.display().to_string()))
            })
            .collect();
        fds.sort();
        let concerned = ["SigBlk:", "SigIgn:", "SigCgt:", "Cpus_allowed:", "TracerPid:", "Seccomp:", "Threads:"];
        let status = criu_compel::status::threads(pid).expect("threads").into_iter().map(|tid| {
            let text = read(pid, &format!("task/{tid}/status"));
            let lines = text.lines().filter(|line| concerned.iter().any(|name| line.starts_with(name)));
            (tid, lines.map(str::to_string).collect())
        });
        Looks { maps: read(pid, "maps"), fds, status: status.collect() }
    }

    /// Once it has looked the same for a while: its threads are where they stay.
    pub fn at_rest(pid: i32) -> Looks {
        let (mut looks, mut same) = (Looks::of(pid), 0);
        while same < 3 {
            std::thread::sleep(Duration::from_millis(10));
            let now = Looks::of(pid);
            same = if now == looks { same + 1 } else { 0 };
            looks = now;
        }
        looks
    }

    /// Waits until the process looks like this again: a thread may be on its way home.
    pub fn wait_for(&self, pid: i32) {
        let begin = Instant::now();
        loop {
            let now = Looks::of(pid);
            if now == *self {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{now:#?}\ninstead of\n{self:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
