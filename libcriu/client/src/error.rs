//! What a failed operation tells its caller.

use std::fmt;
use std::io;

use criu_images::messages::{CriuError, CriuResp};

/// Kinds of failure. Numbers are part of the C API and are never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum Code {
    /// The engine tried and failed.
    Engine = 1,
    /// State that cannot be saved or restored; see `blockers`.
    Blocked = 2,
    /// Options that are wrong or contradict each other.
    Options = 3,
    /// No such process.
    NoProcess = 4,
    /// A pid to be restored is taken.
    PidTaken = 5,
    Cancelled = 6,
    Deadline = 7,
    /// No worker could be started, no service reached.
    Connect = 8,
    /// The connection broke: the worker died.
    Transport = 9,
    /// The other side does not know this request.
    Unsupported = 10,
    /// The other side answered something else.
    Protocol = 11,
    /// A callback said no.
    Callback = 12,
    /// An argument the library itself refuses.
    Argument = 13,
    NoMemory = 14,
    /// A defect of the library.
    Internal = 15,
}

impl Code {
    /// What to do about an error that says nothing more.
    pub fn advice(self) -> &'static str {
        match self {
            Code::Engine => "the engine's log tells what came before (log level 4)",
            Code::Blocked => "close or end what stands in the way, or allow it by its option",
            Code::Options => "criu(8) lists the options and their values",
            Code::NoProcess => "look for its pid anew: it has ended, or it is in another pid namespace than the engine",
            Code::PidTaken => "end the process that has the pid, or restore in a pid namespace",
            Code::Cancelled => "everything was put back; ask again when it is wanted",
            Code::Deadline => "everything was put back; allow it more time",
            Code::Connect => "install criu, or name an engine by criu_set_service_binary or criu_set_service_address",
            Code::Transport => "look whether the engine was killed; its log may say why",
            Code::Unsupported => "use an engine that knows it: criu_set_service_binary names one",
            Code::Protocol => "look whether the other side is a criu service",
            Code::Callback => "the callback knows why it said no",
            Code::Argument => "the header describes the function's arguments",
            Code::NoMemory => "free memory",
            Code::Internal => "please report it, with the log",
        }
    }
}

/// A failed operation: what was being done, to which object of which task, why it failed, what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    /// The task concerned; 0 when it is about no single task.
    pub pid: i32,
    /// The phase of the operation, `client` when it never reached the engine.
    pub phase: String,
    pub object: String,
    pub cause: String,
    /// The option or step that would help; never empty.
    pub hint: String,
    /// A positive errno, 0 for none.
    pub errno: i32,
    /// The whole error as one line of text.
    pub message: String,
    /// Everything that stood in the way, when it was more than one thing.
    pub blockers: Vec<Blocker>,
}

/// State that stands in the way of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocker {
    pub pid: i32,
    pub phase: String,
    pub object: String,
    pub cause: String,
    pub hint: String,
    pub errno: i32,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure outside the engine.
    pub fn new(code: Code, object: impl Into<String>, cause: impl Into<String>) -> Self {
        let (object, cause) = (object.into(), cause.into());
        let message = format!("{object}: {cause}");
        let (phase, hint) = ("client".to_owned(), code.advice().to_owned());
        Error { code, pid: 0, phase, object, cause, hint, errno: 0, message, blockers: Vec::new() }
    }

    pub(crate) fn os(code: Code, object: impl Into<String>, call: &str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let errno = source.raw_os_error().unwrap_or(0);
        Error::new(code, object, format!("{call}: {source}")).errno(errno)
    }

    pub fn errno(mut self, errno: i32) -> Self {
        self.errno = errno;
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self.message = format!("{}: {}; {}", self.object, self.cause, self.hint);
        self
    }

    /// The error of a response that says no.
    pub(crate) fn refused(response: CriuResp) -> Self {
        let errno = response.cr_errno.unwrap_or(0).max(0);
        let blockers: Vec<Blocker> = response.blockers.into_iter().map(Blocker::from).collect();
        let structured = response.error.map(Blocker::from);
        let message = response.cr_errmsg.filter(|m| !m.is_empty()).unwrap_or_else(|| match &structured {
            Some(e) => e.to_string(),
            None => "the engine reported a failure without a reason; its log has more".to_owned(),
        });
        let e = structured.unwrap_or_else(|| Blocker { cause: message.clone(), errno, ..Blocker::default() });
        let code = match errno {
            libc::ESRCH => Code::NoProcess,
            libc::EEXIST => Code::PidTaken,
            libc::EBADRQC => Code::Options,
            libc::ECANCELED => Code::Cancelled,
            libc::ETIMEDOUT | libc::ETIME => Code::Deadline,
            _ if !blockers.is_empty() => Code::Blocked,
            _ => Code::Engine,
        };
        Error {
            code,
            pid: e.pid,
            phase: e.phase,
            object: e.object,
            cause: e.cause,
            hint: if e.hint.is_empty() { code.advice().to_owned() } else { e.hint },
            errno: if errno != 0 { errno } else { e.errno },
            message,
            blockers,
        }
    }
}

impl From<CriuError> for Blocker {
    fn from(e: CriuError) -> Self {
        Blocker {
            pid: e.pid.unwrap_or(0),
            phase: e.phase.unwrap_or_default(),
            object: e.object.unwrap_or_default(),
            cause: e.cause.unwrap_or_default(),
            hint: e.hint.unwrap_or_default(),
            errno: e.cr_errno.unwrap_or(0),
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid != 0 {
            write!(f, "pid {} ", self.pid)?;
        }
        write!(f, "{}: {}", self.object, self.cause)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
