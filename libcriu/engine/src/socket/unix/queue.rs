//! Unread messages of a unix socket, looked at without being taken out.

use std::io;
use std::io::IoSliceMut;
use std::os::fd::BorrowedFd;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, recv, recvmsg};

use super::STREAM;
use crate::sys::socket::{option, set_option};

/// What a queue holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// In order; of a stream all bytes together.
    Messages(Vec<Vec<u8>>),
    /// It holds something that cannot be saved.
    Refused(&'static str),
}

const FLAGS: RecvFlags = RecvFlags::PEEK.union(RecvFlags::DONTWAIT);
const FIRST_BUFFER_BYTES: usize = 256 << 10;

/// Looks at the whole queue of a socket of the given type; `buf` is reused from call to call.
pub(super) fn peek(fd: BorrowedFd<'_>, kind: u32, unread: u32, buf: &mut Vec<u8>) -> io::Result<Queue> {
    if kind == STREAM { peek_stream(fd, unread, buf) } else { peek_messages(fd, buf) }
}

fn peek_stream(fd: BorrowedFd<'_>, unread: u32, buf: &mut Vec<u8>) -> io::Result<Queue> {
    if unread == 0 {
        return Ok(Queue::Messages(Vec::new()));
    }
    match recv(fd, &mut [0u8; 1], FLAGS | RecvFlags::OOB) {
        Ok(_) => return Ok(Queue::Refused("an out-of-band byte waits to be read")),
        // EINVAL: none is there; EOPNOTSUPP: the kernel has none at all.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::AGAIN) => {}
        Err(e) => return Err(e.into()),
    }
    buf.resize(unread as usize + 1, 0);
    let (got, flags) = look(fd, buf)?;
    if flags.contains(ReturnFlags::CTRUNC) {
        return Ok(Queue::Refused(CONTROL));
    }
    if got != unread as usize {
        // A peek stops before a byte with descriptors attached.
        return Ok(Queue::Refused(CONTROL));
    }
    Ok(Queue::Messages(vec![buf[..got].to_vec()]))
}

const CONTROL: &str = "descriptors or credentials wait in its queue";

fn peek_messages(fd: BorrowedFd<'_>, buf: &mut Vec<u8>) -> io::Result<Queue> {
    if !waiting(fd)? {
        return Ok(Queue::Messages(Vec::new()));
    }
    let offset = PeekOffset::start(fd)?;
    let found = loop {
        buf.resize(buf.len().max(FIRST_BUFFER_BYTES), 0);
        match peek_all(fd, buf)? {
            Some(queue) => break queue,
            None => {
                buf.resize(buf.len() * 4, 0);
                set_option(fd, libc::SO_PEEK_OFF, 0)?;
            }
        }
    };
    offset.put_back()?;
    Ok(found)
}

/// Whether there is any message; a queue may hold one of no bytes.
fn waiting(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now))?;
    Ok(fds[0].revents().contains(PollFlags::IN))
}

/// `None`: the buffer is too small for a message.
fn peek_all(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Option<Queue>> {
    let mut messages = Vec::new();
    loop {
        let (got, flags) = match look(fd, buf) {
            Ok(seen) => seen,
            // The end: of what is there, or of what a closed peer has left.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN)) => break,
            Err(e) => return Err(e),
        };
        if flags.contains(ReturnFlags::TRUNC) {
            return Ok(None);
        }
        if flags.contains(ReturnFlags::CTRUNC) {
            return Ok(Some(Queue::Refused(CONTROL)));
        }
        if got == 0 && (!flags.contains(ReturnFlags::EOR) && closed(fd)?) {
            break;
        }
        messages.push(buf[..got].to_vec());
    }
    Ok(Some(Queue::Messages(messages)))
}

/// Whether reading past the last message gives the end of file rather than a message of no bytes.
fn closed(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now))?;
    Ok(fds[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP))
}

fn look(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, ReturnFlags)> {
    let mut none = RecvAncillaryBuffer::default();
    let seen = recvmsg(fd, &mut [IoSliceMut::new(buf)], &mut none, FLAGS)?;
    Ok((seen.bytes, seen.flags))
}

/// SO_PEEK_OFF, as it was.
struct PeekOffset<'a> {
    fd: BorrowedFd<'a>,
    before: i32,
    back: bool,
}

impl<'a> PeekOffset<'a> {
    fn start(fd: BorrowedFd<'a>) -> io::Result<Self> {
        let before = option(fd, libc::SO_PEEK_OFF)?;
        set_option(fd, libc::SO_PEEK_OFF, 0)?;
        Ok(PeekOffset { fd, before, back: false })
    }

    fn put_back(mut self) -> io::Result<()> {
        self.back = true;
        set_option(self.fd, libc::SO_PEEK_OFF, self.before)
    }
}

impl Drop for PeekOffset<'_> {
    fn drop(&mut self) {
        if !self.back {
            // The last resort, on the way out with another error.
            let _ = set_option(self.fd, libc::SO_PEEK_OFF, self.before);
        }
    }
}
