//! A small process that puts options of sockets back when the engine dies while it looks at what waits in their queues: a look
//! along a queue sets SO_PEEK_OFF and SO_PASSCRED, by which their owner, who goes on, would read something else.

use std::io;
use std::os::fd::RawFd;

use super::guard::Guard;

/// A socket and what these options of it were before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    pub fd: RawFd,
    pub peek_off: i32,
    /// `None`: it is not touched.
    pub passes_credentials: Option<bool>,
}

/// Guards sockets that stand still until it is [dismissed](LookGuard::dismiss).
#[derive(Debug)]
pub(crate) struct LookGuard(Guard);

impl LookGuard {
    /// # Errors
    /// Those of pipe(2) and fork(2).
    pub(crate) fn start(sockets: &[Looked]) -> io::Result<Self> {
        Guard::start(sockets.iter().map(|s| s.fd).collect(), &|| sockets.iter().for_each(put_back)).map(LookGuard)
    }

    /// Ends the process; all options are as they were.
    pub(crate) fn dismiss(self) {
        self.0.dismiss();
    }
}

fn put_back(socket: &Looked) {
    let set = |name: i32, value: i32| {
        let len = size_of::<i32>() as libc::socklen_t;
        // SAFETY: the kernel reads an int from a local.
        unsafe { libc::setsockopt(socket.fd, libc::SOL_SOCKET, name, (&raw const value).cast(), len) };
    };
    set(libc::SO_PEEK_OFF, socket.peek_off);
    if let Some(passes) = socket.passes_credentials {
        set(libc::SO_PASSCRED, passes.into());
    }
}
