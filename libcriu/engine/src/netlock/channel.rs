//! The netlink socket that nf_tables is talked to with.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{
    set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_send_buffer_size,
    set_socket_send_buffer_size_force,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::wire::{self, Batch};
use super::{LockError, Result};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// More than the kernel puts into one answer.
const ANSWER_BYTES: usize = 64 << 10;

/// How often a key is turned that does not turn.
const TRIES: usize = 64;

#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// A socket in the network namespace `netns`, or in the caller's.
    pub(super) fn open(netns: Option<BorrowedFd<'_>>) -> Result<Self> {
        let what = "opening a netfilter socket";
        let open = || socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER));
        let socket = match netns {
            None => open().map_err(|e| LockError::call(what, e))?,
            // A thread's namespace is its own: this one is gone when the socket is made.
            Some(netns) => std::thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
                        .map_err(|e| LockError::call("entering the network namespace", e))?;
                    open().map_err(|e| LockError::call(what, e))
                });
                thread.join().unwrap_or_else(|_| Err(LockError::call(what, Errno::IO)))
            })?,
        };
        Ok(Channel { socket })
    }

    /// Applies a batch. The kernel has done or refused all of it when this returns.
    ///
    /// # Errors
    /// The first complaint of the kernel; nothing was changed then.
    pub(super) fn commit(&self, batch: Batch, what: &'static str) -> Result<()> {
        let (bytes, mut expected) = batch.finish();
        self.make_room(bytes.len(), expected as usize)?;
        self.send(&bytes, what)?;
        let mut first = None;
        // Answers are queued before sendto returns.
        while expected > 0 {
            for code in self.answers(what)? {
                expected = expected.saturating_sub(1);
                if code != 0 && first.is_none() {
                    first = Some(code);
                }
            }
            if first.is_some() {
                break;
            }
        }
        match first {
            Some(code) => Err(LockError::call(what, Errno::from_raw_os_error(code))),
            None => Ok(()),
        }
    }

    /// A batch to be sent later, by system calls alone.
    ///
    /// # Errors
    /// Those of dup.
    pub(super) fn key(&self, batch: Batch) -> Result<Key> {
        let socket = self.socket.try_clone().map_err(|e| LockError::call("keeping a netfilter socket", e))?;
        Ok(Key { socket, batch: batch.finish().0 })
    }

    /// The payloads that a dump request gives.
    pub(super) fn dump(&self, request: &[u8], what: &'static str) -> Result<Vec<Vec<u8>>> {
        self.send(request, what)?;
        let mut found = Vec::new();
        let mut buffer = vec![0u8; ANSWER_BYTES];
        loop {
            let len = self.receive(&mut buffer, what)?;
            for message in wire::messages(&buffer[..len]) {
                match message.kind {
                    NLMSG_DONE => return Ok(found),
                    NLMSG_ERROR => {
                        return Err(LockError::call(what, Errno::from_raw_os_error(error_code(message.payload))));
                    }
                    _ => found.push(message.payload.to_vec()),
                }
            }
        }
    }

    /// A whole batch has to fit into the send buffer, its acknowledgements into the other.
    fn make_room(&self, bytes: usize, answers: usize) -> Result<()> {
        let (bytes, answers) = ((2 * bytes).max(64 << 10), (answers * 1024).max(64 << 10));
        // Without CAP_NET_ADMIN in the initial user namespace there is a limit, which is enough for most.
        let sent = match set_socket_send_buffer_size_force(&self.socket, bytes) {
            Err(Errno::PERM) => set_socket_send_buffer_size(&self.socket, bytes),
            done => done,
        };
        let received = match set_socket_recv_buffer_size_force(&self.socket, answers) {
            Err(Errno::PERM) => set_socket_recv_buffer_size(&self.socket, answers),
            done => done,
        };
        sent.and(received).map_err(|e| LockError::call("making room for a batch", e))
    }

    fn send(&self, bytes: &[u8], what: &'static str) -> Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        let sent = sendto(&self.socket, bytes, SendFlags::empty(), &kernel).map_err(|e| LockError::call(what, e))?;
        if sent == bytes.len() { Ok(()) } else { Err(LockError::call(what, Errno::MSGSIZE)) }
    }

    fn receive(&self, buffer: &mut [u8], what: &'static str) -> Result<usize> {
        loop {
            match recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((len, _)) => return Ok(len),
                Err(Errno::INTR) => {}
                Err(e) => return Err(LockError::call(what, e)),
            }
        }
    }

    /// Error codes, positive, 0 for success, of one datagram.
    fn answers(&self, what: &'static str) -> Result<Vec<i32>> {
        let mut buffer = vec![0u8; ANSWER_BYTES];
        let len = self.receive(&mut buffer, what)?;
        let errors = wire::messages(&buffer[..len]).filter(|m| m.kind == NLMSG_ERROR);
        Ok(errors.map(|m| error_code(m.payload)).collect())
    }
}

/// Unlocks connections by system calls alone: for a process that may not allocate.
#[derive(Debug)]
pub(crate) struct Key {
    socket: OwnedFd,
    batch: Vec<u8>,
}

impl Key {
    /// What it needs.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// The kernel has done it when this returns; nothing hears of errors.
    pub(crate) fn turn(&self) {
        let (bytes, len) = (self.batch.as_ptr(), self.batch.len());
        // SAFETY: the kernel reads the bytes, as many as there are.
        let sent = || unsafe { libc::send(self.socket.as_raw_fd(), bytes.cast(), len, 0) } == len as isize;
        let _ = (0..TRIES).any(|_| sent());
    }
}

/// The errno in an error message, positive; EIO for one that makes no sense.
fn error_code(payload: &[u8]) -> i32 {
    match payload.get(..4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(i32::from_ne_bytes) {
        Some(code @ -4095..=0) => -code,
        _ => libc::EIO,
    }
}

impl LockError {
    pub(super) fn call(what: &'static str, source: impl Into<io::Error>) -> Self {
        LockError { what, source: source.into() }
    }
}
