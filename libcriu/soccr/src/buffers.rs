//! Room for queues that are larger than a socket's buffers.

use std::os::fd::BorrowedFd;

use crate::Result;
use crate::socket::{option, set_option};
use crate::sys::{EPERM, SO_BUF_LOCK, SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUF, SO_SNDBUFFORCE};

/// One piece, with what the kernel needs to keep it.
const SMALL_BYTES: usize = 1024;
const ROOM_FOR_A_BYTE: usize = 8;

/// The buffer sizes a socket had; [`put_back`](Buffers::put_back) restores them and whether they were fixed by its owner.
pub(crate) struct Buffers<'fd> {
    fd: BorrowedFd<'fd>,
    receive_bytes: i32,
    send_bytes: i32,
    /// `SO_BUF_LOCK`; kernels before 5.14 do not tell.
    lock: Option<i32>,
}

impl<'fd> Buffers<'fd> {
    /// Makes the buffers as large as they can be; `None` where so many bytes fit in anyway.
    pub(crate) fn widen_for(fd: BorrowedFd<'fd>, received: usize, sent: usize) -> Result<Option<Self>> {
        let fits = |bytes: usize, name, call| -> Result<bool> {
            let room = if bytes == 0 { 0 } else { option(fd, name, call)? };
            Ok(bytes * ROOM_FOR_A_BYTE <= room as usize)
        };
        if received.max(sent) <= SMALL_BYTES
            && fits(received, SO_RCVBUF, "getsockopt SO_RCVBUF")?
            && fits(sent, SO_SNDBUF, "getsockopt SO_SNDBUF")?
        {
            return Ok(None);
        }
        Self::widen(fd).map(Some)
    }

    /// Makes the buffers as large as they can be.
    pub(crate) fn widen(fd: BorrowedFd<'fd>) -> Result<Self> {
        let buffers = Buffers {
            fd,
            receive_bytes: option(fd, SO_RCVBUF, "getsockopt SO_RCVBUF")?,
            send_bytes: option(fd, SO_SNDBUF, "getsockopt SO_SNDBUF")?,
            lock: option(fd, SO_BUF_LOCK, "getsockopt SO_BUF_LOCK").ok(),
        };
        set_size(fd, RECEIVE, i32::MAX / 2)?;
        set_size(fd, SEND, i32::MAX / 2)?;
        Ok(buffers)
    }

    pub(crate) fn put_back(self) -> Result<()> {
        // The kernel doubles what it is given.
        set_size(self.fd, RECEIVE, self.receive_bytes / 2)?;
        set_size(self.fd, SEND, self.send_bytes / 2)?;
        match self.lock {
            Some(lock) => set_option(self.fd, SO_BUF_LOCK, lock, "setsockopt SO_BUF_LOCK"),
            None => Ok(()),
        }
    }
}

/// Options that set a size: whatever it is, and up to the system's limit.
type Sizes = (i32, i32);
const RECEIVE: Sizes = (SO_RCVBUFFORCE, SO_RCVBUF);
const SEND: Sizes = (SO_SNDBUFFORCE, SO_SNDBUF);

/// Without CAP_NET_ADMIN in the initial user namespace the limit holds.
fn set_size(fd: BorrowedFd<'_>, (forced, limited): Sizes, bytes: i32) -> Result<()> {
    match set_option(fd, forced, bytes, "setsockopt SO_RCVBUFFORCE or SO_SNDBUFFORCE") {
        Err(e) if e.errno() == EPERM => set_option(fd, limited, bytes, "setsockopt SO_RCVBUF or SO_SNDBUF"),
        done => done,
    }
}
