//! The bytes of the two queues: peeked when a connection is saved, written when it is restored.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::error::Doing;
use crate::socket::{Queue, option, select, set_option};
use crate::sys::SO_PEEK_OFF;
use crate::{Error, Result};

/// Largest piece written at once; halved while the kernel has no memory in one piece.
const PIECE_BYTES: usize = 256 << 10;

/// The first `len` bytes of `queue`; fewer when it has changed meanwhile.
pub(crate) fn peek(fd: BorrowedFd<'_>, queue: Queue, len: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0u8; len as usize];
    if len == 0 {
        return Ok(bytes);
    }
    select(fd, queue)?;
    let from = PeekOffset::clear(fd)?;
    let got = match recv(fd, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((got, _)) => got,
        // More was queued meanwhile than there is room for, or all was acknowledged.
        Err(Errno::FAULT | Errno::AGAIN) => 0,
        Err(e) => return Err(e).doing("reading a queue", "recv MSG_PEEK"),
    };
    from.put_back()?;
    bytes.truncate(got);
    Ok(bytes)
}

/// `SO_PEEK_OFF` of the socket's owner, which would move what is peeked and be moved by it.
struct PeekOffset<'fd> {
    fd: BorrowedFd<'fd>,
    offset: i32,
}

impl<'fd> PeekOffset<'fd> {
    fn clear(fd: BorrowedFd<'fd>) -> Result<Self> {
        // Unknown to TCP before Linux 6.9.
        let offset = option(fd, SO_PEEK_OFF, "getsockopt SO_PEEK_OFF").unwrap_or(-1);
        if offset >= 0 {
            set_option(fd, SO_PEEK_OFF, -1, "setsockopt SO_PEEK_OFF")?;
        }
        Ok(PeekOffset { fd, offset })
    }

    fn put_back(self) -> Result<()> {
        if self.offset < 0 { Ok(()) } else { set_option(self.fd, SO_PEEK_OFF, self.offset, "setsockopt SO_PEEK_OFF") }
    }
}

/// Appends to a queue of a socket in repair mode: nothing goes to the network.
pub(crate) fn fill(fd: BorrowedFd<'_>, queue: Queue, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    select(fd, queue)?;
    write(fd, if queue == Queue::Receive { "receive" } else { "send" }, bytes)?;
    select(fd, Queue::None)
}

/// Sends all of `bytes`, in as large pieces as the kernel takes.
pub(crate) fn write(fd: BorrowedFd<'_>, queue: &'static str, bytes: &[u8]) -> Result<()> {
    let mut done = 0;
    let mut piece = PIECE_BYTES;
    while done < bytes.len() {
        let end = bytes.len().min(done + piece);
        match send(fd, &bytes[done..end], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(0) | Err(Errno::AGAIN) => {
                return Err(Error::Queue { queue, taken: done, length: bytes.len() });
            }
            Ok(taken) => done += taken,
            Err(Errno::INTR) => {}
            Err(Errno::NOMEM | Errno::NOBUFS) if piece > 1 => piece /= 2,
            Err(e) => return Err(e).doing("writing a queue", "send"),
        }
    }
    Ok(())
}
