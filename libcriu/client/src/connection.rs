//! The client's end of a connection: one message a packet, answers bounded, interrupted calls repeated.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use criu_images::messages::{CriuReq, CriuResp};
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};

use crate::error::{Code, Error, Result};

/// Longer answers are not believed.
const MAX_RESPONSE_BYTES: usize = 16 << 20;
const WHAT: &str = "the connection to the engine";

/// One end of a SOCK_SEQPACKET connection.
#[derive(Debug)]
pub(crate) struct Connection {
    fd: Fd,
}

#[derive(Debug)]
enum Fd {
    Owned(OwnedFd),
    /// The caller's own descriptor: used, never closed.
    Lent(RawFd),
}

/// A message, or why there is none.
#[derive(Debug)]
pub(crate) enum Received {
    Response(Box<CriuResp>, Option<OwnedFd>),
    /// The other side is gone.
    Closed,
}

impl Connection {
    /// A fresh pair; the second end is for the worker.
    pub(crate) fn pair() -> Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|e| Error::os(Code::Connect, WHAT, "socketpair", e))?;
        Ok((Connection { fd: Fd::Owned(above_standard(ours)?) }, above_standard(theirs)?))
    }

    /// Connects to the service that listens at `path`.
    pub(crate) fn to_service(path: &Path) -> Result<Self> {
        let object = format!("service {}", path.display());
        let address = SocketAddrUnix::new(path).map_err(|e| Error::os(Code::Connect, &object, "address", e))?;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|e| Error::os(Code::Connect, &object, "socket", e))?;
        retry(|| rustix::net::connect(&fd, &address)).map_err(|e| {
            Error::os(Code::Connect, &object, "connect", e).hint("start one with `criu service --address PATH`")
        })?;
        Ok(Connection { fd: Fd::Owned(fd) })
    }

    /// The caller's own connection.
    pub(crate) fn lent(fd: RawFd) -> Self {
        Connection { fd: Fd::Lent(fd) }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Fd::Owned(fd) => fd.as_fd(),
            Fd::Lent(fd) => crate::sys::lent(*fd),
        }
    }

    /// Sends a request.
    pub(crate) fn send(&self, request: &CriuReq) -> Result<()> {
        send(self.fd(), request, SendFlags::empty()).map_err(|e| Error::os(Code::Transport, WHAT, "send", e))
    }

    /// Waits until something can be read; false when `limit` passed first.
    pub(crate) fn readable(&self, limit: Duration) -> Result<bool> {
        let fd = self.fd();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        match rustix::event::poll(&mut fds, Some(&limit)) {
            Ok(n) => Ok(n > 0),
            // The caller waits on.
            Err(Errno::INTR) => Ok(false),
            Err(e) => Err(Error::os(Code::Transport, WHAT, "poll", e)),
        }
    }

    /// Takes the next message, with the descriptor that came along.
    pub(crate) fn receive(&self) -> Result<Received> {
        let failed = |call: &'static str| move |e: Errno| Error::os(Code::Transport, WHAT, call, e);
        let peek = || retry(|| rustix::net::recv(self.fd(), &mut [0u8; 0], RecvFlags::PEEK | RecvFlags::TRUNC));
        // The other side left something unread when it closed. That is told once, before what it sent last.
        let size = match peek().or_else(|e| if e == Errno::CONNRESET { peek() } else { Err(e) }) {
            Ok((_, size)) => size,
            Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Received::Closed),
            Err(e) => return Err(failed("recv")(e)),
        };
        let mut packet = vec![0; size.min(MAX_RESPONSE_BYTES)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = retry(|| {
            let mut slices = [IoSliceMut::new(&mut packet)];
            rustix::net::recvmsg(self.fd(), &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)
        })
        .map_err(failed("recvmsg"))?;
        let mut fds = control.drain().filter_map(|m| match m {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        // The first is the one; any others are closed here.
        let passed = fds.by_ref().flatten().next();
        fds.for_each(drop);
        if got.bytes == 0 {
            return Ok(Received::Closed);
        }
        if size > MAX_RESPONSE_BYTES {
            let cause = format!("an answer of {size} bytes is not believed (at most {MAX_RESPONSE_BYTES})");
            return Err(Error::new(Code::Protocol, WHAT, cause).errno(libc::EBADMSG));
        }
        let response = CriuResp::decode(&packet[..got.bytes]).map_err(|e| {
            Error::new(Code::Protocol, WHAT, format!("not a valid criu_resp: {e}")).errno(libc::EBADMSG)
        })?;
        Ok(Received::Response(Box::new(response), passed))
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.fd().as_raw_fd()
    }

    /// Ends the connection for both sides, whoever waits on it.
    pub(crate) fn shut_down(&self) {
        let _ = rustix::net::shutdown(self.fd(), rustix::net::Shutdown::Both);
    }

    /// Closes what is our own. A process that the host forked meanwhile has a copy of the descriptor: closing it would
    /// not tell the other side.
    pub(crate) fn end(self) {
        if matches!(self.fd, Fd::Owned(_)) {
            self.shut_down();
        }
    }
}

/// A host that has closed its standard descriptors gets new ones at their numbers, where a worker expects something else.
fn above_standard(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(|e| Error::os(Code::Connect, WHAT, "fcntl F_DUPFD_CLOEXEC", e))
}

/// Sends `request` as one packet; one that does not fit the socket's buffer enlarges it.
pub(crate) fn send(fd: BorrowedFd<'_>, request: &CriuReq, flags: SendFlags) -> rustix::io::Result<()> {
    let bytes = request.encode_to_vec();
    let once = || {
        let slices = [IoSlice::new(&bytes)];
        retry(|| rustix::net::sendmsg(fd, &slices, &mut Default::default(), flags | SendFlags::NOSIGNAL))
    };
    let sent = match once() {
        Err(Errno::MSGSIZE) => {
            let wanted = bytes.len() + 4096;
            if rustix::net::sockopt::set_socket_send_buffer_size_force(fd, wanted).is_err() {
                rustix::net::sockopt::set_socket_send_buffer_size(fd, wanted)?;
            }
            once()?
        }
        r => r?,
    };
    if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            r => return r,
        }
    }
}
