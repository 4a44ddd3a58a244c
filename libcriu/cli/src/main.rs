//! The `criu` command.

mod args;
mod check;
mod cpuinfo;
mod dump;
mod foreground;
mod help;
mod operator;
mod prepare;
mod print;
mod restore;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use criu_engine::config::Sources;
use criu_engine::sys::{process, signal};
use criu_engine::{Error, not_yet};
use criu_images::options::{Command, Settings};

/// The version that this command speaks for.
pub const VERSION: &str = "4.2";

/// The exit code of a command that failed.
pub const FAILED: u8 = 1;

fn main() -> ExitCode {
    signal::reset_inherited();
    signal::outlive_size_limit();
    match run(std::env::args_os().skip(1).collect()) {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Usage(text)) => {
            print::error(text);
            print::error("`criu --help` shows what there is");
            ExitCode::from(FAILED)
        }
        Err(Failure::Operation(e)) => {
            report(&e);
            ExitCode::from(FAILED)
        }
    }
}

/// Why a command did not do what was asked.
pub enum Failure {
    /// The command line is wrong.
    Usage(String),
    Operation(Box<Error>),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Operation(Box::new(e))
    }
}

impl From<args::UsageError> for Failure {
    fn from(e: args::UsageError) -> Self {
        Failure::Usage(e.0)
    }
}

/// The error and every blocker: in the log, and on standard error for whoever called.
fn report(e: &Error) {
    criu_engine::log::report(e);
    if !criu_engine::log::shows_errors() {
        print::error(e);
        let others = if e.blockers.len() > 1 { e.blockers.as_slice() } else { &[] };
        others.iter().for_each(|b| print::error(format_args!("  {b}")));
    }
}

fn run(args: Vec<OsString>) -> Result<u8, Failure> {
    let args: Vec<String> = args
        .into_iter()
        .map(|a| a.into_string().map_err(|a| Failure::Usage(format!("{}: it is not UTF-8", a.to_string_lossy()))))
        .collect::<Result<_, _>>()?;
    let parsed = args::parse(args)?;
    let mut asked = Settings::new();
    parsed.apply(&mut asked)?;
    if asked.command.version {
        print::line(format_args!("Version: {VERSION}"));
        return Ok(0);
    }
    if asked.command.help {
        print::line(help::text().trim_end());
        return Ok(0);
    }
    for fd in asked.command.close.drain(..) {
        drop(process::inherited(fd));
    }
    let sources = Sources::of_environment(asked.command.config.as_deref(), asked.command.no_default_config);
    let mut settings = sources.load()?;
    parsed.apply(&mut settings)?;
    execute(&parsed.words, settings)
}

fn execute(words: &[String], settings: Settings) -> Result<u8, Failure> {
    let Some((name, rest)) = words.split_first() else {
        return Err(Failure::Usage("a command is missing".into()));
    };
    let command = Command::by_name(name).ok_or_else(|| Failure::Usage(format!("`{name}` is no command")))?;
    let takes_words = match command {
        Command::Restore => settings.command.exec_cmd,
        Command::Swrk | Command::Cpuinfo => true,
        _ => false,
    };
    if !takes_words && let Some(word) = rest.first() {
        return Err(Failure::Usage(format!("`{word}`: the command {name} does not take this")));
    }
    match command {
        Command::Dump => dump::dump(settings),
        Command::Restore => restore::restore(settings, rest),
        Command::Check => check::check(settings),
        Command::Swrk => serve::swrk(settings, rest),
        Command::Service => serve::service(settings),
        Command::Cpuinfo => cpuinfo::cpuinfo(&settings, rest),
        Command::PreDump | Command::PageServer | Command::LazyPages | Command::Dedup => {
            Err(not_yet::request(name).into())
        }
    }
}
