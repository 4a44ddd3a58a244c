//! Unread messages of a unix socket, looked at without being taken out.
//!
//! SO_PEEK_OFF moves a look along the queue. Where the kernel stops on the way tells the rest: behind bytes that carry
//! descriptors, where credentials change, and before an out-of-band byte. SO_PASSCRED is on meanwhile: a message may carry
//! credentials that its receiver has not asked for yet.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

use criu_images::messages::SkOptsEntry;

use super::STREAM;
use crate::socket::Told;
use crate::sys::kernel::Kernel;
use crate::sys::look_guard::Looked;
use crate::sys::socket::set_option;
use crate::sys::unix::{Credentials, Peeked, at_mark, peek, peek_whole};

/// A message, or bytes of a stream that were sent alike.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub bytes: Vec<u8>,
    pub rights: Vec<OwnedFd>,
    pub credentials: Option<Credentials>,
    /// Name of the sender; empty for none.
    pub sender: Vec<u8>,
    /// One byte, out-of-band.
    pub urgent: bool,
}

impl Message {
    fn new(bytes: &[u8], peeked: Peeked) -> Self {
        Message {
            bytes: bytes.to_vec(),
            rights: peeked.rights,
            // The pid 0 says that nobody attached any.
            credentials: peeked.credentials.filter(|c| c.pid != 0),
            sender: peeked.sender,
            urgent: false,
        }
    }
}

/// What a queue holds.
#[derive(Debug)]
pub(super) enum Queue {
    /// In order.
    Messages(Vec<Message>),
    /// It holds something that cannot be saved.
    Refused(&'static str),
}

const FIRST_BUFFER_BYTES: usize = 256 << 10;

/// Options of the socket that a look has to do with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    peek_off: i32,
    passes_credentials: bool,
    in_line: bool,
    /// How many messages wait, if that is known.
    queued: Option<u32>,
    /// What waits carries nothing but its bytes, as the kernel's memory tells.
    is_plain: bool,
}

impl Usual {
    pub(super) fn of(opts: &SkOptsEntry, told: Option<&Told>) -> Self {
        Usual {
            queued: told.map(|t| t.queued),
            is_plain: told.is_some_and(|t| t.is_plain),
            peek_off: opts.so_peek_off.unwrap_or(-1),
            passes_credentials: opts.so_passcred(),
            in_line: opts.so_oobinline() != 0,
        }
    }

    /// How a look that sets options leaves the socket; `None`: no such look is needed.
    pub(super) fn looked(&self, fd: BorrowedFd<'_>, kind: u32) -> Option<Looked> {
        let is_needed = kind != STREAM || !self.is_plain || self.peek_off >= 0;
        let passes_credentials = Some(self.passes_credentials);
        is_needed.then_some(Looked { fd: fd.as_raw_fd(), peek_off: self.peek_off, passes_credentials })
    }

    /// Are these bytes, read in the kernel's memory, all that waits and all there is to say of it?
    pub(super) fn allows(&self, kind: u32, bytes: &[u8], unread: u32) -> bool {
        kind == STREAM && self.is_plain && self.peek_off < 0 && bytes.len() == unread as usize
    }
}

/// Looks at the whole queue of a socket of the given type; `buf` is reused from call to call.
pub(super) fn look(fd: BorrowedFd<'_>, kind: u32, unread: u32, usual: Usual, buf: &mut Vec<u8>) -> io::Result<Queue> {
    let surely_waiting = kind == STREAM && usual.is_plain && unread > 0;
    if !surely_waiting && !waiting(fd)? {
        return Ok(Queue::Messages(Vec::new()));
    }
    if kind == STREAM
        && let Some(message) = look_at_once(fd, unread as usize, usual, buf)?
    {
        return Ok(Queue::Messages(vec![message]));
    }
    // Before the look: others go on sending.
    let queued = if kind == STREAM { None } else { queued(fd, usual) };
    let offset = PeekOffset::start(fd, usual)?;
    let found = if kind == STREAM {
        buf.resize(buf.len().max(unread as usize + 1), 0);
        look_at_stream(&offset, unread as usize, usual.in_line, buf)?
    } else {
        loop {
            buf.resize(buf.len().max(FIRST_BUFFER_BYTES), 0);
            if let Some(queue) = look_at_messages(fd, buf)? {
                break queue;
            }
            buf.resize(buf.len() * 4, 0);
            offset.set(0)?;
        }
    };
    offset.put_back()?;
    match &found {
        // An empty one is shown to one look only.
        Queue::Messages(messages) if queued.is_some_and(|queued| queued > messages.len() as u64) => {
            Ok(Queue::Refused("an empty message that was looked at (MSG_PEEK) and not read"))
        }
        _ => Ok(found),
    }
}

/// How many messages there are, if that can be known.
fn queued(fd: BorrowedFd<'_>, usual: Usual) -> Option<u64> {
    let counted = || {
        let kernel = Kernel::open()?;
        kernel.number(kernel.socket(fd)?, "sock", "sk_receive_queue.qlen")
    };
    usual.queued.map(u64::from).or_else(|| counted().ok())
}

/// Whether there is any message; a queue may hold one of no bytes.
fn waiting(fd: BorrowedFd<'_>) -> io::Result<bool> {
    events(fd, PollFlags::IN | PollFlags::PRI).map(|e| !e.is_empty())
}

fn events(fd: BorrowedFd<'_>, asked: PollFlags) -> io::Result<PollFlags> {
    let mut fds = [PollFd::from_borrowed_fd(fd, asked)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(fds[0].revents() & asked)
}

/// Whether an error waits to be told. To look for a message of a socket that is no stream would take it.
pub(super) fn has_error(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(fds[0].revents().contains(PollFlags::ERR))
}

const CHANGED: &str = "its queue cannot be read to the end";

/// All of a stream in one look, which most are: bytes sent alike, with no descriptors and nothing out-of-band.
fn look_at_once(fd: BorrowedFd<'_>, unread: usize, usual: Usual, buf: &mut Vec<u8>) -> io::Result<Option<Message>> {
    let may_be_urgent = || Ok::<_, io::Error>(usual.in_line || urgent_byte(fd)?.is_some() || at_mark(fd)?);
    if usual.peek_off >= 0 || !usual.is_plain && may_be_urgent()? {
        return Ok(None);
    }
    buf.resize(buf.len().max(unread + 1), 0);
    let asks_for_credentials = !usual.is_plain && !usual.passes_credentials;
    if asks_for_credentials {
        set_option(fd, libc::SO_PASSCRED, 1)?;
    }
    let peeked = peek(fd, buf);
    if asks_for_credentials {
        set_option(fd, libc::SO_PASSCRED, 0)?;
    }
    let peeked = match peeked {
        Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => return Ok(None),
        other => other?,
    };
    if peeked.bytes != unread || !peeked.rights.is_empty() || peeked.more.is_some() {
        return Ok(None);
    }
    Ok(Some(Message { sender: Vec::new(), ..Message::new(buf.get(..unread).unwrap_or(&[]), peeked) }))
}

fn look_at_stream(offset: &PeekOffset<'_>, unread: usize, in_line: bool, buf: &mut [u8]) -> io::Result<Queue> {
    let mut messages: Vec<Message> = Vec::new();
    let (mut at, mut unread) = (0, unread);
    let mut urgent = urgent_byte(offset.fd)?;
    if unread > 0 && at_mark(offset.fd)? {
        // At the start of the queue a look passes over the byte, unless it is read in line.
        let byte = match urgent.take() {
            Some(byte) => {
                unread -= 1;
                byte
            }
            None => {
                peek(offset.fd, buf.get_mut(..1).unwrap_or(&mut []))?;
                at = 1;
                buf.first().copied().unwrap_or(0)
            }
        };
        messages.push(Message { bytes: vec![byte], urgent: true, ..Message::default() });
    }
    while at < unread {
        offset.set(at)?;
        let peeked = match peek(offset.fd, buf) {
            Ok(peeked) if peeked.bytes > 0 => peeked,
            Err(e) if e.raw_os_error() != Some(libc::EAGAIN) => return Err(e),
            _ => return Ok(Queue::Refused(CHANGED)),
        };
        if let Some(why) = peeked.more {
            return Ok(Queue::Refused(why));
        }
        let (got, start) = (peeked.bytes, at);
        at += got;
        let mut bytes = buf.get(..got).unwrap_or(&[]).to_vec();
        if !peeked.rights.is_empty() {
            let plain = plain_before(offset, start, &mut bytes.clone())?;
            if plain > 0 {
                let credentials = peeked.credentials.filter(|c| c.pid != 0);
                messages.push(Message { bytes: bytes[..plain].to_vec(), credentials, ..Message::default() });
                bytes.drain(..plain);
            }
        }
        let carries = !peeked.rights.is_empty();
        messages.push(Message { sender: Vec::new(), ..Message::new(&bytes, peeked) });
        if at < unread && !carries && (urgent.is_some() || in_line) && is_before_mark(offset, at, buf)? {
            offset.set(at)?;
            peek(offset.fd, buf.get_mut(..1).unwrap_or(&mut []))?;
            urgent = None;
            let byte = buf.first().copied().unwrap_or(0);
            messages.push(Message { bytes: vec![byte], urgent: true, ..Message::default() });
            at += 1;
        }
    }
    if at != unread || urgent.is_some() {
        return Ok(Queue::Refused(CHANGED));
    }
    Ok(Queue::Messages(messages))
}

/// The out-of-band byte that waits, unless it is read in line.
fn urgent_byte(fd: BorrowedFd<'_>) -> io::Result<Option<u8>> {
    let mut byte = [0u8];
    match recv(fd, &mut byte, RecvFlags::OOB | RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok(_) => Ok(Some(byte[0])),
        // EINVAL: none is there; EOPNOTSUPP: the kernel has none at all.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::AGAIN) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// A look from the byte before stops at `at` only where something is there to stop it: descriptors have not, so it is the
/// mark, or credentials that change.
fn is_before_mark(offset: &PeekOffset<'_>, at: usize, buf: &mut [u8]) -> io::Result<bool> {
    offset.set(at)?;
    let after = peek(offset.fd, buf)?;
    offset.set(at - 1)?;
    let before = peek(offset.fd, buf)?;
    Ok(before.bytes == 1 && before.credentials == after.credentials)
}

/// How many of the bytes, which were seen in one look, come before those that carry descriptors: they were sent before.
fn plain_before(offset: &PeekOffset<'_>, at: usize, bytes: &mut [u8]) -> io::Result<usize> {
    let Some((_, all_but_last)) = bytes.split_last_mut() else { return Ok(0) };
    offset.set(at)?;
    peek_whole(offset.fd, all_but_last)
}

/// `None`: the buffer is too small for a message.
fn look_at_messages(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Option<Queue>> {
    let mut messages = Vec::new();
    loop {
        let peeked = match peek(fd, buf) {
            Ok(peeked) => peeked,
            // The end: of what is there, or of what a closed peer has left.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN)) => break,
            Err(e) => return Err(e),
        };
        if peeked.cut {
            return Ok(None);
        }
        if let Some(why) = peeked.more {
            return Ok(Some(Queue::Refused(why)));
        }
        // Reading past the last message of a closed peer gives the end of file rather than EAGAIN. Nothing comes along with
        // that; with an empty message its sender's credentials do.
        if peeked.bytes == 0 && peeked.credentials.is_none() {
            break;
        }
        messages.push(Message::new(buf.get(..peeked.bytes).unwrap_or(&[]), peeked));
    }
    Ok(Some(Queue::Messages(messages)))
}

/// What is changed for a look, as it was.
struct PeekOffset<'a> {
    fd: BorrowedFd<'a>,
    before: i32,
    passes_credentials: bool,
    back: bool,
}

impl<'a> PeekOffset<'a> {
    fn start(fd: BorrowedFd<'a>, usual: Usual) -> io::Result<Self> {
        let (before, passes) = (usual.peek_off, usual.passes_credentials);
        let started = PeekOffset { fd, before, passes_credentials: passes, back: false };
        set_option(fd, libc::SO_PEEK_OFF, 0)?;
        if !passes {
            set_option(fd, libc::SO_PASSCRED, 1)?;
        }
        Ok(started)
    }

    fn set(&self, at: usize) -> io::Result<()> {
        set_option(self.fd, libc::SO_PEEK_OFF, i32::try_from(at).unwrap_or(i32::MAX))
    }

    fn put_back(mut self) -> io::Result<()> {
        self.back = true;
        self.restore()
    }

    fn restore(&self) -> io::Result<()> {
        let credentials = if self.passes_credentials { Ok(()) } else { set_option(self.fd, libc::SO_PASSCRED, 0) };
        set_option(self.fd, libc::SO_PEEK_OFF, self.before).and(credentials)
    }
}

impl Drop for PeekOffset<'_> {
    fn drop(&mut self) {
        if !self.back {
            // The last resort, on the way out with another error.
            let _ = self.restore();
        }
    }
}
