//! The program that the tests seize and infect: it says `ready`, does what it was told, and judges for itself whether
//! anything was different from what it would have been alone. `ok` and status 0, or what went wrong and status 1.
//!
//! `compel-victim engine PID` is the other side: it seizes, infects, queries and cures the process over and over, to be killed
//! at any moment.

mod engine;
mod registers;
mod seccomp;
mod sleeps;
mod threads;

use std::io::Write;

type Verdict = Result<(), String>;

fn ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |at: usize| args.get(at).map_or("", String::as_str);
    let verdict = match arg(1) {
        "sleep" => sleeps::run(arg(2)),
        "registers" => registers::run(),
        "seccomp" => seccomp::run(arg(2)),
        "threads" => threads::run(arg(2).parse().unwrap_or(1)),
        "orphan" => threads::without_leader(),
        "busy" => threads::busy(arg(2).parse().unwrap_or(1)),
        "vfork" => threads::vfork(),
        "engine" => engine::run(arg(2).parse().unwrap_or(0)),
        "poor" => engine::without_descriptors(arg(2).parse().unwrap_or(0)),
        other => Err(format!("unknown task {other}")),
    };
    match verdict {
        Ok(()) => println!("ok"),
        Err(why) => {
            println!("{why}");
            std::process::exit(1);
        }
    }
}
