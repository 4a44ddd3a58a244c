//! `crit`, the image tool: shows checkpoints, turns images to JSON and back, compares, edits and verifies them.
//!
//! [`main`] is the whole command; each of its commands is a module. Output is for people unless `--json` asks for the
//! other kind; `decode`, `encode`, `show` and `info` print what CRIU's tool prints.

mod args;
mod checkpoint;
mod convert;
mod diff;
mod edit;
mod explore;
mod failure;
mod input;
mod json;
mod output;
mod verify;

use std::ffi::OsString;
use std::io::{self, Write};

use args::Args;
use failure::{Failure, Result};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `crit --help` prints; crit(1) is made from it.
pub const USAGE: &str = "\
crit [--version] COMMAND ...

  decode [-i FILE] [-o FILE] [--pretty]   an image as JSON (standard input and output when no file is named)
  encode [-i FILE] [-o FILE]              JSON to the image that it stands for, byte for byte
  info FILE                               an image's magic and the number of its entries
  show [--nopl] FILE                      an image as pretty JSON; --nopl leaves raw data out
  x [--json] DIR ps|fds|mems|rss|sk       processes, descriptors, memory, saved pages, sockets of a checkpoint
  diff [--json] A B                       what differs between two images or checkpoints (exit status 1 if anything does)
  verify [--json] DIR                     whether a checkpoint is complete and consistent, and what it needs
  edit FILE [-o FILE] FIELD=VALUE...      changes fields of an image: entries[0].tc.comm=name
  edit DIR [--pid OLD=NEW] [--path OLD=NEW] [--address OLD=NEW]
                                          changes pids, the beginnings of paths, internet addresses wherever they stand
";

/// Runs the command with these arguments (without the program's name) and returns the exit status: 0 done, 1 failed
/// (or, of `diff` and `verify`, not equal, not complete), 2 wrongly used.
pub fn main(args: &[OsString]) -> u8 {
    let done = args.split_first().map_or_else(
        || Err(Failure::Usage(format!("a command is missing\n\n{USAGE}"))),
        |(command, rest)| run(&command.to_string_lossy(), rest),
    );
    match done {
        Ok(status) => status,
        // Whoever read the output has gone.
        Err(Failure::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => 1,
        Err(failure) => {
            // There is nobody left to tell when this fails.
            let _ = writeln!(io::stderr(), "crit: {failure}");
            if matches!(failure, Failure::Usage(_)) { 2 } else { 1 }
        }
    }
}

fn run(command: &str, rest: &[OsString]) -> Result<u8> {
    match command {
        "decode" => convert::decode(Args::parse(command, rest, &["in:i", "out:o", "pretty"])?),
        "encode" => convert::encode(Args::parse(command, rest, &["in:i", "out:o"])?),
        "info" => convert::info(Args::parse(command, rest, &["json"])?),
        "show" => convert::show(Args::parse(command, rest, &["nopl", "json"])?),
        "x" => explore::run(Args::parse(command, rest, &["json"])?),
        "diff" => diff::run(Args::parse(command, rest, &["json"])?),
        "verify" => verify::run(Args::parse(command, rest, &["json"])?),
        "edit" => edit::run(Args::parse(command, rest, &["out:o", "pid:p", "path:r", "address:a", "json"])?),
        "--version" | "-V" => print(&format!("Version: {VERSION}\n")),
        "--help" | "-h" | "help" => print(USAGE),
        other => Err(Failure::Usage(format!("no command {other:?}\n\n{USAGE}"))),
    }
}

fn print(text: &str) -> Result<u8> {
    output::print(text)?;
    Ok(0)
}
