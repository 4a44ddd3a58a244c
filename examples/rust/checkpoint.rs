//! Saves a process into a directory, or brings it back: `checkpoint dump PID DIR`, `checkpoint restore DIR`.
//!
//! `cargo run -p criu-client --example checkpoint -- dump PID DIR`. The engine is the `criu` command, or what CRIU names.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use criu_client::{Callbacks, Client, Error, Notification, Transport};

/// Shows stages and progress.
struct Shown;

impl Callbacks for Shown {
    fn wants_notifications(&self) -> bool {
        true
    }

    fn wants_progress(&self) -> bool {
        true
    }

    fn notify(&mut self, notification: Notification<'_>) -> bool {
        println!("stage {}", notification.stage);
        true
    }

    fn progress(&mut self, phase: &str, done: u64, total: u64) {
        println!("{phase}: {done} of {total}");
    }
}

fn client(dir: &File) -> Client {
    let mut client = Client::new();
    client.opts.images_dir_fd = dir.as_raw_fd();
    client.opts.shell_job = Some(true);
    client.deadline = Some(Duration::from_secs(60));
    if let Some(engine) = std::env::var_os("CRIU") {
        client.transport = Transport::Binary(engine.into());
    }
    client
}

fn dump(pid: i32, dir: &File) -> Result<(), String> {
    let mut client = client(dir);
    client.opts.pid = Some(pid);
    for blocker in client.preflight(&mut Shown).map_err(told)? {
        eprintln!("in the way: {blocker}");
    }
    client.dump(&mut Shown).map(|_| println!("saved")).map_err(told)
}

fn restore(dir: &File) -> Result<(), String> {
    client(dir).restore(&mut Shown).map(|pid| println!("restored, pid {pid}")).map_err(told)
}

/// What went wrong, and what would help.
fn told(e: Error) -> String {
    format!("{e}\n  {}", e.hint)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (["dump", _, dir] | ["restore", dir]) = words[..] else {
        eprintln!("usage: checkpoint dump PID DIR | checkpoint restore DIR");
        return ExitCode::from(2);
    };
    let opened = fs::create_dir_all(dir).and_then(|()| File::open(dir));
    let done = match (opened, words[..].get(1).and_then(|p| p.parse().ok())) {
        (Err(e), _) => {
            eprintln!("{dir}: {e}");
            return ExitCode::FAILURE;
        }
        (Ok(dir), Some(pid)) if words[0] == "dump" => dump(pid, &dir),
        (Ok(dir), _) if words[0] == "restore" => restore(&dir),
        _ => {
            eprintln!("{} is not a pid", words[1]);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
