//! Errors of seizing and infecting: which thread, which call, and a kind that callers can act upon.

use std::fmt;
use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What stood in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// There is no such task (any more).
    Gone,
    /// The task is dead and waits for its parent.
    Zombie,
    /// Another thread (its tid) traces this one.
    Traced { tracer: i32 },
    /// ptrace is not allowed.
    NotPermitted,
    /// The thread waits for its vfork child to call execve: it cannot be stopped before. Let the tree run on for a moment
    /// and try again.
    InVfork,
    /// The thread did not stop in time: it hangs inside the kernel.
    Unresponsive,
    /// Code in a segment of its own (a local descriptor table's).
    ForeignCode,
    /// The task has no vDSO, or one without room for the way home.
    NoRoom,
    /// Seccomp is in force and cannot be suspended (that takes CAP_SYS_ADMIN and a tracer without seccomp).
    Seccomp,
    /// The task itself refused a system call made on the engine's behalf.
    Remote { errno: i32 },
    /// A system call of the engine failed.
    Os,
    /// The task or the kernel did something that was not foreseen.
    Unexpected,
}

/// Rendered as `thread 4213: PTRACE_SEIZE: traced by 12 already`.
#[derive(Debug)]
pub struct Error {
    pub tid: i32,
    pub kind: Kind,
    /// The call or step.
    pub call: &'static str,
    pub source: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(tid: i32, kind: Kind, call: &'static str) -> Self {
        Error { tid, kind, call, source: None }
    }

    /// From `errno` as the last system call left it.
    pub(crate) fn last(tid: i32, call: &'static str) -> Self {
        Error::os(tid, call, io::Error::last_os_error())
    }

    pub(crate) fn os(tid: i32, call: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let kind = match source.raw_os_error() {
            Some(libc::ESRCH) => Kind::Gone,
            _ => Kind::Os,
        };
        Error { tid, kind, call, source: Some(source) }
    }

    pub(crate) fn remote(tid: i32, call: &'static str, ret: i64) -> Self {
        let errno = i32::try_from(-ret).unwrap_or(libc::EINVAL);
        Error { tid, kind: Kind::Remote { errno }, call, source: Some(io::Error::from_raw_os_error(errno)) }
    }

    /// The errno behind it, 0 when there is none.
    pub fn errno(&self) -> i32 {
        match self.kind {
            Kind::Gone | Kind::Zombie => libc::ESRCH,
            Kind::Traced { .. } => libc::EBUSY,
            Kind::NotPermitted => libc::EPERM,
            _ => self.source.as_ref().and_then(io::Error::raw_os_error).unwrap_or(0),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}: {}: ", self.tid, self.call)?;
        match self.kind {
            Kind::Gone => f.write_str("no such task"),
            Kind::Zombie => f.write_str("the task is dead already (a zombie)"),
            Kind::Traced { tracer } => write!(f, "traced by {tracer} already"),
            Kind::NotPermitted => f.write_str("not permitted to trace it"),
            Kind::InVfork => f.write_str("it waits for its vfork child to call execve and cannot be stopped before"),
            Kind::Unresponsive => f.write_str("it does not stop (hangs inside the kernel)"),
            Kind::ForeignCode => f.write_str("code in segments of its own is not supported"),
            Kind::NoRoom => f.write_str("no vDSO with room for the way home"),
            Kind::Seccomp => {
                f.write_str("seccomp cannot be suspended: that takes CAP_SYS_ADMIN and a tracer without seccomp")
            }
            Kind::Remote { .. } => f.write_str("refused inside the task"),
            Kind::Os => f.write_str("failed"),
            Kind::Unexpected => f.write_str("unexpected behaviour"),
        }?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}
