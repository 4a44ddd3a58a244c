//! What can go wrong with a connection.

use std::io;

use crate::State;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed while doing `what`.
    #[error("{what}: {call}: {source}")]
    Call { what: &'static str, call: &'static str, source: io::Error },
    /// The socket is in a state that has no connection to pause, or one this kernel should not show.
    #[error("the socket is in state {0}, which holds no connection that can be saved")]
    State(u8),
    /// The connection has something that repair mode cannot carry.
    #[error("{what} cannot be saved; {hint}")]
    Unsupported { what: &'static str, hint: &'static str },
    /// The connection changed each time it was read: packets still arrive or its owner still runs.
    #[error("the connection changes while it is read; stop its owner and lock the network first")]
    Busy,
    /// Data to be restored contradict themselves or are out of range.
    #[error("{field} is {value}: {reason}")]
    Invalid { field: &'static str, value: u64, reason: &'static str },
    /// A segment sent to the socket in the peer's name did not change its state.
    #[error(
        "the socket stays in state {is:?} instead of {want:?}: a segment in the peer's name did not reach it; is \
             the loopback device up, and do packet filters let packets with mark 0xC114 through?"
    )]
    Stuck { is: State, want: State },
    /// The kernel took only a part of a queue.
    #[error("the kernel took {taken} of {length} bytes of the {queue} queue; give the socket larger buffers")]
    Queue { queue: &'static str, taken: usize, length: usize },
}

impl Error {
    /// The errno closest to it, positive.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Call { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
            Error::State(_) => libc::ENOTCONN,
            Error::Unsupported { .. } => libc::EOPNOTSUPP,
            Error::Busy => libc::EBUSY,
            Error::Invalid { .. } => libc::EINVAL,
            Error::Stuck { .. } => libc::ETIMEDOUT,
            Error::Queue { .. } => libc::ENOBUFS,
        }
    }
}

/// Names the call and the purpose of a failure.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str, call: &'static str) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: &'static str, call: &'static str) -> Result<T> {
        self.map_err(|e| Error::Call { what, call, source: e.into() })
    }
}
