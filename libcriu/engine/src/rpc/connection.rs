//! The connection to a client: one message a packet, everything from it bounded and checked.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use criu_images::messages::{CriuReq, CriuResp};
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::error::{Error, Phase, Result};
use crate::sys::signal;

/// The longest request that is read; a socket buffer of default size holds about a fifth of it.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Clients read an answer into a buffer of 8192 bytes.
pub const MAX_RESPONSE_BYTES: usize = 8191;
/// A client that set `extended` sizes its buffer by the packet.
pub const MAX_EXTENDED_RESPONSE_BYTES: usize = 64 << 10;

/// A SOCK_SEQPACKET connection that carries `criu_req` one way and `criu_resp` the other.
#[derive(Debug)]
pub struct Connection {
    fd: OwnedFd,
}

/// What came, or did not, from the client.
#[derive(Debug)]
pub enum Received {
    Request(Box<CriuReq>),
    /// The client closed its end.
    Closed,
    /// Nothing until the deadline, or nothing yet.
    Nothing,
}

impl Connection {
    pub fn new(fd: OwnedFd) -> Self {
        Connection { fd }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Waits for a request, at most until `deadline`.
    ///
    /// # Errors
    /// The packet is too large or no valid request (EBADRQC), or the socket failed.
    pub fn receive(&self, deadline: Option<Instant>) -> Result<Received> {
        if !self.wait(deadline)? {
            return Ok(Received::Nothing);
        }
        self.take()
    }

    /// A request that is there already.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn take(&self) -> Result<Received> {
        let size = match self.recv(&mut [], RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
            Ok(0) => return Ok(Received::Closed),
            Ok(n) => n,
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Received::Closed),
            Err(e) => return Err(failed("recv", e)),
        };
        // A packet that is too large is taken off the queue all the same.
        let mut packet = vec![0; size.min(MAX_REQUEST_BYTES)];
        self.recv(&mut packet, RecvFlags::DONTWAIT).map_err(|e| failed("recv", e))?;
        if size > MAX_REQUEST_BYTES {
            return Err(malformed(format!("{size} bytes are more than a request may have ({MAX_REQUEST_BYTES})")));
        }
        CriuReq::decode(packet.as_slice())
            .map(|r| Received::Request(Box::new(r)))
            .map_err(|e| malformed(format!("not a valid criu_req: {e}")))
    }

    /// Sends a response, with `passed` as SCM_RIGHTS.
    ///
    /// # Errors
    /// The client is gone.
    pub fn send(&self, response: &CriuResp, passed: Option<BorrowedFd<'_>>) -> Result<()> {
        self.sendmsg(response, passed, SendFlags::NOSIGNAL).map_err(|e| failed("sendmsg", e))
    }

    /// Sends a message that may be lost: a client that does not read (a frozen one) must not stop the operation.
    pub fn offer(&self, response: &CriuResp) {
        let _ = self.sendmsg(response, None, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    fn sendmsg(&self, response: &CriuResp, passed: Option<BorrowedFd<'_>>, flags: SendFlags) -> rustix::io::Result<()> {
        let bytes = response.encode_to_vec();
        let fds: Vec<BorrowedFd<'_>> = passed.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(Errno::NOBUFS);
        }
        let sent = retry(|| rustix::net::sendmsg(&self.fd, &[IoSlice::new(&bytes)], &mut control, flags))?;
        if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
    }

    /// Waits until something can be read; false when the deadline passed first.
    fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        loop {
            let left = match deadline {
                None => None,
                Some(d) => match d.checked_duration_since(Instant::now()) {
                    None => return Ok(false),
                    Some(left) => {
                        Some(Timespec::try_from(left).map_err(|_| malformed("the deadline is out of range"))?)
                    }
                },
            };
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match rustix::event::poll(&mut fds, left.as_ref()) {
                Err(Errno::INTR) if signal::terminated() => {
                    let cause = "a signal asked this process to end";
                    return Err(Error::new(Phase::Service, "the operation", cause).errno(libc::ECANCELED));
                }
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(e) => return Err(failed("poll", e)),
            }
        }
    }

    /// The packet's length, which may be more than was stored.
    fn recv(&self, buffer: &mut [u8], flags: RecvFlags) -> rustix::io::Result<usize> {
        retry(|| rustix::net::recv(&self.fd, &mut *buffer, flags)).map(|(_, len)| len)
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            r => return r,
        }
    }
}

fn failed(call: &str, e: Errno) -> Error {
    Error::os(Phase::Service, "the connection to the client", call, io::Error::from(e))
}

fn malformed(cause: impl Into<String>) -> Error {
    Error::new(Phase::Service, "request", cause).errno(libc::EBADRQC)
}
