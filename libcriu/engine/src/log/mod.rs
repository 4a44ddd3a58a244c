//! The log of an operation: lines of CRIU's format, `(00.000781) Error (place): text`, in a file of the work directory or on
//! standard error, and as messages to a client that asked for them.
//!
//! One process works for one client at a time, so the log is the process's own: [`start`] directs it, [`stop`] ends it.
//! A line is one write(2) to a descriptor opened O_APPEND: restored children share it until they become themselves.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Instant;

use ::log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Phase, Result, on_one_line};

/// The level used when nothing else was asked for: warnings.
pub const DEFAULT_LEVEL: i32 = 2;

/// Takes lines besides the log itself.
pub struct Sink {
    /// The highest level it wants.
    pub level: i32,
    /// Called with the level (1 error, 2 warning, 3 information, 4 debugging) and the text without time or newline.
    pub line: LineFn,
}

pub type LineFn = Box<dyn FnMut(u32, &str) + Send>;

struct Target {
    start: Instant,
    out: Option<File>,
    to_stderr: bool,
    level: LevelFilter,
    log_pid: bool,
    sink: Option<Sink>,
    /// The process that started the log: forked children write lines, but do not talk to the client.
    owner: u32,
}

struct Logger {
    target: Mutex<Option<Target>>,
}

static LOGGER: Logger = Logger { target: Mutex::new(None) };
static INSTALL: Once = Once::new();

/// What the lines are written to.
#[derive(Debug, Default)]
pub enum Out {
    #[default]
    Nowhere,
    Stderr,
    /// See [`create_file`].
    File(File),
}

/// Where the lines of the next operation go.
#[derive(Default)]
pub struct Setup {
    /// CRIU's levels: 0 messages only, 1 errors, 2 warnings, 3 information, 4 and above debugging. -1: the default.
    pub level: i32,
    pub out: Out,
    /// Start each line with the pid of the writing process.
    pub log_pid: bool,
    pub sink: Option<Sink>,
}

/// Opens `name` in the work directory for a log: created or truncated in place, so that it keeps its label and links.
///
/// # Errors
/// EBADRQC for a name with a `/` in it, else what the file system answered.
pub fn create_file(work_dir: BorrowedFd<'_>, name: &str) -> Result<File> {
    if name.contains('/') || name.is_empty() || name.contains('\0') {
        return Err(Error::new(
            Phase::Options,
            "log_file",
            format!("`{name}` is not the name of a file in the work directory"),
        )
        .hint("give a name without `/`, and the directory as work directory")
        .errno(libc::EBADRQC));
    }
    open_log(work_dir, name)
}

/// As [`create_file`], for the command line, where the name may be a path.
///
/// # Errors
/// What the file system answered.
pub fn open_log(work_dir: BorrowedFd<'_>, path: &str) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND | OFlags::CLOEXEC;
    rustix::fs::openat(work_dir, path, flags, Mode::from_raw_mode(0o600))
        .map(File::from)
        .map_err(|e| Error::os(Phase::Options, format!("log file `{path}`"), "openat", e))
}

/// Directs the log. Replaces what was set before.
pub fn start(setup: Setup) {
    INSTALL.call_once(|| {
        // Fails only when the host program has a logger of its own; ours then stays silent.
        let _ = ::log::set_logger(&LOGGER);
    });
    let level = filter(setup.level);
    let wanted = setup.sink.as_ref().map_or(LevelFilter::Off, |s| filter(s.level));
    ::log::set_max_level(level.max(wanted));
    let to_stderr = matches!(setup.out, Out::Stderr);
    let out = match setup.out {
        Out::Nowhere => None,
        // Closed, there is nowhere to write to.
        Out::Stderr => io::stderr().as_fd().try_clone_to_owned().map(File::from).ok(),
        Out::File(file) => Some(file),
    };
    *LOGGER.lock() = Some(Target {
        start: Instant::now(),
        out,
        to_stderr,
        level,
        log_pid: setup.log_pid,
        sink: setup.sink,
        owner: std::process::id(),
    });
}

/// Ends the log and closes its file.
pub fn stop() {
    ::log::set_max_level(LevelFilter::Off);
    *LOGGER.lock() = None;
}

/// Whether errors in the log are seen on standard error.
pub fn shows_errors() -> bool {
    LOGGER.lock().as_ref().is_some_and(|t| t.to_stderr && t.out.is_some() && t.level >= LevelFilter::Error)
}

fn filter(level: i32) -> LevelFilter {
    match level {
        0 => LevelFilter::Off,
        1 => LevelFilter::Error,
        2 => LevelFilter::Warn,
        3 => LevelFilter::Info,
        i32::MIN..0 => filter(DEFAULT_LEVEL),
        _ => LevelFilter::Trace,
    }
}

/// The text between the time and the message: the place of an error or a warning, nothing for the rest.
fn mark(level: Level, place: &str) -> String {
    match level {
        Level::Error => format!("Error ({place}): "),
        Level::Warn => format!("Warn  ({place}): "),
        Level::Info | Level::Debug | Level::Trace => String::new(),
    }
}

/// Lines of a target that begins so have the rest of it as their place.
const PHASE: &str = "phase:";

/// Logs the error of an operation, with its phase as the place, and every blocker.
pub fn report(error: &Error) {
    let target = format!("{PHASE}{}", error.phase.name());
    ::log::error!(target: &target, "{error}");
    if error.blockers.len() > 1 {
        for blocker in &error.blockers {
            ::log::error!(target: &target, "{blocker}");
        }
    }
}

/// Where a line comes from: a phase, or file and line.
fn place_of(record: &Record<'_>) -> String {
    match record.target().strip_prefix(PHASE) {
        Some(phase) => phase.to_owned(),
        None => format!("{}:{}", place(record.file().unwrap_or("?")), record.line().unwrap_or(0)),
    }
}

/// `libcriu/engine/src/rpc/mod.rs` -> `rpc/mod.rs`.
fn place(file: &str) -> &str {
    file.rsplit_once("/src/").map_or(file, |(_, rest)| rest)
}

impl Logger {
    fn lock(&self) -> MutexGuard<'_, Option<Target>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let mut guard = self.lock();
        let Some(target) = guard.as_mut() else { return };
        let mark = mark(record.level(), &place_of(record));
        let text = record.args().to_string();
        if record.level() <= target.level
            && let Some(out) = &mut target.out
        {
            let line = render(target.start.elapsed().as_micros(), target.log_pid, &mark, &text);
            // A log that cannot be written must not stop the operation it tells about.
            let _ = out.write_all(line.as_bytes());
        }
        let is_owner = target.owner == std::process::id() || crate::sys::apart::front() == Some(target.owner as i32);
        if is_owner
            && let Some(sink) = &mut target.sink
            && record.level() <= filter(sink.level)
        {
            (sink.line)((record.level() as u32).min(4), &format!("{mark}{text}"));
        }
    }

    fn flush(&self) {}
}

fn render(micros: u128, log_pid: bool, mark: &str, text: &str) -> String {
    let mut line = format!("({:02}.{:06}) ", micros / 1_000_000, micros % 1_000_000);
    if log_pid {
        let _ = write!(line, "{:6}: ", std::process::id());
    }
    line.push_str(mark);
    line.push_str(&on_one_line(text.trim_end_matches('\n')));
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_format_that_tools_search_for() {
        assert_eq!(
            render(781, false, &mark(Level::Error, "rpc/mod.rs:7"), "boom"),
            "(00.000781) Error (rpc/mod.rs:7): boom\n"
        );
        assert_eq!(render(12_000_001, false, &mark(Level::Info, "x:1"), "hello\n"), "(12.000001) hello\n");
        assert_eq!(render(0, false, "", "/a\n(0.0) b\x1b: gone"), "(00.000000) /a\\n(0.0) b\\u{1b}: gone\n");
        assert!(render(0, true, "", "x").ends_with(": x\n"));
        assert_eq!(place("libcriu/engine/src/rpc/mod.rs"), "rpc/mod.rs");
    }

    #[test]
    fn levels_are_those_of_criu() {
        assert_eq!(filter(-1), LevelFilter::Warn);
        assert_eq!(filter(0), LevelFilter::Off);
        assert_eq!(filter(1), LevelFilter::Error);
        assert_eq!(filter(4), LevelFilter::Trace);
        assert_eq!(filter(99), LevelFilter::Trace);
    }

    #[test]
    fn a_log_name_with_a_slash_is_a_bad_request() {
        let dir = File::open("/tmp").unwrap();
        for name in ["a/b", "/etc/x", "", ".."] {
            let e = create_file(dir.as_fd(), name).unwrap_err();
            if name != ".." {
                assert_eq!(e.errno, libc::EBADRQC, "{name}");
            }
        }
    }
}
