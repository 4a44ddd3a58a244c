//! The one error of the engine: what was being done, to which object of which task, why it failed, and what would help.

use std::borrow::Cow;
use std::fmt;
use std::io;

use crate::sys::spawn;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in an operation something went wrong; also the `phase` of progress reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Options,
    Freeze,
    Collect,
    Infect,
    Save,
    Commit,
    Release,
    Load,
    Check,
    Plan,
    Fork,
    Files,
    Memory,
    Threads,
    Resume,
    Service,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Options => "options",
            Phase::Freeze => "freeze",
            Phase::Collect => "collect",
            Phase::Infect => "infect",
            Phase::Save => "save",
            Phase::Commit => "commit",
            Phase::Release => "release",
            Phase::Load => "load",
            Phase::Check => "check",
            Phase::Plan => "plan",
            Phase::Fork => "fork",
            Phase::Files => "files",
            Phase::Memory => "memory",
            Phase::Threads => "threads",
            Phase::Resume => "resume",
            Phase::Service => "service",
        }
    }

    /// What to do about a failure in this phase that suggests nothing more.
    fn advice(self) -> &'static str {
        match self {
            Phase::Options => "criu(8) and `criu --help` list the options and their values",
            Phase::Freeze | Phase::Collect | Phase::Infect | Phase::Save | Phase::Commit => {
                "the tree runs on as before; the log tells what came before (log level 4)"
            }
            Phase::Release => "the images are complete; the log names the tasks to look after",
            Phase::Load | Phase::Check | Phase::Plan => {
                "`crit verify DIR` tells whether the images are whole and fit this machine; if not, dump anew"
            }
            Phase::Fork | Phase::Files | Phase::Memory | Phase::Threads | Phase::Resume => {
                "nothing was left of the restore; the log tells what came before (log level 4)"
            }
            Phase::Service => "the log of the engine tells what came before (log level 4)",
        }
    }
}

/// Rendered as `pid 4213 fd 7 (unix socket ino 91822): the peer is outside the tree; allow it with --ext-unix-sk`.
#[derive(Clone, Debug)]
pub struct Error {
    pub phase: Phase,
    /// The task concerned, as its pid in the caller's pid namespace; 0 when it is about no single task.
    pub pid: i32,
    /// The object, in words a user can look up: `fd 7 (unix socket ino 91822)`, `thread 12`, `core-12.img`.
    pub object: String,
    pub cause: String,
    /// The option or step that would help; empty when there is none.
    pub hint: String,
    /// The positive errno that goes with it on the wire (`cr_errno`), 0 for none. The contract's own: ESRCH no such
    /// pid, EEXIST pid taken, EBADRQC bad options.
    pub errno: i32,
    /// Every obstacle, when the operation was refused because of more than one.
    pub blockers: Vec<Blocker>,
}

/// State that cannot be saved (or restored): the same facts as an error, found before anything was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    pub pid: i32,
    pub object: String,
    pub cause: String,
    pub hint: String,
}

impl Error {
    pub fn new(phase: Phase, object: impl Into<String>, cause: impl Into<String>) -> Self {
        Error {
            phase,
            pid: 0,
            object: object.into(),
            cause: cause.into(),
            hint: String::new(),
            errno: 0,
            blockers: Vec::new(),
        }
    }

    /// An error of a system call: the cause reads `openat: No such file or directory (os error 2)`. Those that say by
    /// themselves what is wrong (no room, no right) come with a hint, and with their errno.
    pub fn os(phase: Phase, object: impl Into<String>, call: &str, source: impl Into<io::Error>) -> Self {
        let source: io::Error = source.into();
        let e = Error::new(phase, object, format!("{call}: {source}"));
        let Some(errno) = source.raw_os_error() else { return e };
        let hint = match errno {
            libc::ENOSPC | libc::EDQUOT => "make room for the images, or put them elsewhere",
            libc::EROFS => "the file system is mounted read-only: put the images elsewhere",
            libc::EPERM if spawn::is_confined() => {
                "run it without the seccomp filter that it is under (a container's, say), as root, or with CAP_CHECKPOINT_RESTORE, \
                 CAP_SYS_PTRACE and the right to the files"
            }
            libc::ENOSYS if spawn::is_confined() => {
                "the seccomp filter that it is under (a container's, say) forbids the call, or this kernel lacks it; `criu check` tells \
                 what is missing"
            }
            libc::EACCES | libc::EPERM => {
                "run it as root, or with CAP_CHECKPOINT_RESTORE, CAP_SYS_PTRACE and the right to the files"
            }
            libc::EMFILE | libc::ENFILE => "raise the limit on open files: ulimit -n, sysctl fs.file-max",
            libc::EFBIG => "raise the limit on the size of files: ulimit -f",
            libc::ENOMEM => "free memory, or raise the limit that holds: ulimit -v, the memory cgroup",
            libc::ENOSYS | libc::EOPNOTSUPP => "this kernel lacks it; `criu check` tells what is missing",
            // Others mean something else where the contract gives them a meaning: EEXIST is a pid that is taken.
            _ => return e,
        };
        e.hint(hint).errno(errno)
    }

    /// What to do about it, never empty: the hint, or what the errno or the phase suggests.
    pub fn advice(&self) -> &str {
        if !self.hint.is_empty() {
            return &self.hint;
        }
        match self.errno {
            libc::ESRCH => "look for its pid anew: it has ended, or it is in another pid namespace than the engine",
            libc::EEXIST => "end the process that has the pid, or restore in a pid namespace",
            libc::EBADRQC => "criu(8) and `criu --help` list the options and their values",
            libc::ECANCELED => "everything was put back; ask again when it is wanted",
            libc::ETIMEDOUT | libc::ETIME => "everything was put back; allow it more time",
            _ => self.phase.advice(),
        }
    }

    /// An image that cannot be read or written; a full disk says so.
    pub fn image(phase: Phase, source: criu_images::ImageError) -> Self {
        use criu_images::ImageError as E;
        match source {
            E::Io { file, call, source } => Error::os(phase, file, call, source),
            E::Corrupt { file, offset, reason } => Error::new(phase, file, format!("offset {offset}: {reason}")),
            E::Missing { file } => Error::new(phase, file, "missing"),
            E::Invalid { what, reason } => Error::new(phase, what, reason),
        }
    }

    pub fn pid(mut self, pid: i32) -> Self {
        self.pid = pid;
        self
    }

    /// Of this task, if no other is named yet.
    pub fn or_pid(self, pid: i32) -> Self {
        if self.pid == 0 { self.pid(pid) } else { self }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub fn errno(mut self, errno: i32) -> Self {
        self.errno = errno;
        self
    }

    /// The refusal of an operation because of `blockers`; it reads like the first and counts the others.
    pub fn refused(phase: Phase, blockers: Vec<Blocker>) -> Self {
        let first = blockers.first().cloned().unwrap_or_default();
        let mut e = Error::new(phase, first.object, first.cause).pid(first.pid).hint(first.hint);
        e.blockers = blockers;
        e
    }
}

impl Default for Blocker {
    fn default() -> Self {
        Blocker { pid: 0, object: "the tree".into(), cause: "cannot be saved".into(), hint: String::new() }
    }
}

impl Blocker {
    /// What to do about it, never empty.
    pub fn advice(&self) -> &str {
        if self.hint.is_empty() {
            "close or end it before the dump; the guide lists what can be saved"
        } else {
            &self.hint
        }
    }

    pub fn new(pid: i32, object: impl Into<String>, cause: impl Into<String>) -> Self {
        Blocker { pid, object: object.into(), cause: cause.into(), hint: String::new() }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// Names of files and tasks may hold line feeds and what terminals act on: control characters are escaped.
pub(crate) fn on_one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line.into()
}

fn render(f: &mut fmt::Formatter<'_>, pid: i32, object: &str, cause: &str, hint: &str) -> fmt::Result {
    let [object, cause, hint] = [object, cause, hint].map(on_one_line);
    if pid != 0 {
        write!(f, "pid {pid} ")?;
    }
    write!(f, "{object}: {cause}")?;
    if !hint.is_empty() {
        write!(f, "; {hint}")?;
    }
    Ok(())
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render(f, self.pid, &self.object, &self.cause, &self.hint)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render(f, self.pid, &self.object, &self.cause, &self.hint)?;
        if self.blockers.len() > 1 {
            write!(f, " (and {} more)", self.blockers.len() - 1)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_leave_an_error_on_its_line() {
        let e = Error::new(Phase::Files, "/a\nb\x1b[1m\u{9b}c\\n", "gone").hint("put it\tback");
        assert_eq!(e.to_string(), "/a\\nb\\u{1b}[1m\\u{9b}c\\n: gone; put it\\tback");
        assert_eq!(Blocker::new(7, "a\rb", "c").to_string(), "pid 7 a\\rb: c");
    }

    #[test]
    fn a_filter_of_its_own_may_be_the_cause() {
        let hint =
            |errno| Error::os(Phase::Fork, "a", "clone3", io::Error::from_raw_os_error(errno)).advice().to_string();
        assert!(!hint(libc::EPERM).contains("seccomp") && !hint(libc::ENOSYS).contains("seccomp"));
        let confined = crate::sys::trial::fork(|| {
            let mut all = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 };
            let program = libc::sock_fprog { len: 1, filter: &raw mut all };
            // SAFETY: the kernel reads the program, which is there.
            unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const program), 0);
            }
            assert!(hint(libc::EPERM).contains("without the seccomp filter"));
            assert!(hint(libc::ENOSYS).contains("forbids the call"));
            assert!(!hint(libc::EACCES).contains("seccomp"));
        });
        confined.finish().unwrap();
    }

    #[test]
    fn every_error_has_advice() {
        use Phase::*;
        for phase in [Options, Freeze, Collect, Infect, Save, Commit, Release, Load, Check, Plan] {
            assert!(!Error::new(phase, "a", "b").advice().is_empty());
        }
        for phase in [Fork, Files, Memory, Threads, Resume, Service] {
            assert!(!Error::new(phase, "a", "b").advice().is_empty());
        }
        assert_eq!(Error::new(Save, "a", "b").hint("c").errno(libc::ESRCH).advice(), "c");
        let full = Error::os(Save, "a", "write", io::Error::from_raw_os_error(libc::ENOSPC));
        assert!(full.advice().contains("room"));
        assert!(!Blocker::default().advice().is_empty());
    }
}
