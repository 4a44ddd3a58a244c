//! Stopping an operation from another thread.
//!
//! A lock orders three things: registering a connection, sending the request on it, and cancelling. So CANCEL is never the
//! first message of a connection, and never goes to a descriptor that was closed meanwhile.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use criu_images::messages::{CriuReq, CriuReqType};
use rustix::net::SendFlags;

use crate::connection::{self, Connection};
use crate::error::{Code, Error, Result};

/// Cancels the operations of one client; cheap to clone and to keep in another thread.
#[derive(Clone, Debug, Default)]
pub struct Canceller {
    running: Arc<Mutex<Vec<Running>>>,
}

#[derive(Debug)]
struct Running {
    id: u64,
    fd: RawFd,
    sent: bool,
    cancelled: Option<Instant>,
}

impl Canceller {
    /// Asks every running operation to stop: the target is put back, what was restored so far is removed. True when there
    /// was one; the operation itself then fails with [`Code::Cancelled`], or succeeds if it was through.
    pub fn cancel(&self) -> bool {
        let mut running = self.lock();
        for one in running.iter_mut().filter(|r| r.cancelled.is_none()) {
            one.cancelled = Some(Instant::now());
            if one.sent {
                one.send_cancel();
            }
        }
        !running.is_empty()
    }

    /// Whether both stop the same client's operations.
    pub fn is(&self, other: &Canceller) -> bool {
        Arc::ptr_eq(&self.running, &other.running)
    }

    pub(crate) fn register(&self, connection: &Connection) -> Registered {
        let mut running = self.lock();
        let id = running.iter().map(|r| r.id + 1).max().unwrap_or(0);
        running.push(Running { id, fd: connection.raw_fd(), sent: false, cancelled: None });
        Registered { canceller: self.clone(), id }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn send_cancel(&self) {
        let request = CriuReq { r#type: CriuReqType::Cancel as i32, ..Default::default() };
        // A full queue means that the other side does not read; the waiting thread then cuts the connection.
        let _ = connection::send(crate::sys::lent(self.fd), &request, SendFlags::DONTWAIT);
    }
}

/// A connection that can be cancelled, until it is unregistered.
#[derive(Debug)]
pub(crate) struct Registered {
    canceller: Canceller,
    id: u64,
}

impl Registered {
    /// Sends a request unless the operation was cancelled.
    pub(crate) fn send(&self, connection: &Connection, request: &CriuReq) -> Result<()> {
        let mut running = self.canceller.lock();
        let Some(me) = running.iter_mut().find(|r| r.id == self.id) else { return connection.send(request) };
        if me.cancelled.is_some() {
            return Err(cancelled());
        }
        connection.send(request)?;
        me.sent = true;
        Ok(())
    }

    /// Sends the answer to a notification; after CANCEL nothing else is sent. An engine that has given up meanwhile (the
    /// deadline has passed) has said why before it closed.
    pub(crate) fn acknowledge(&self, connection: &Connection, request: &CriuReq) -> Result<()> {
        match self.send(connection, request) {
            Err(e) if e.code == Code::Cancelled || matches!(e.errno, libc::EPIPE | libc::ECONNRESET) => Ok(()),
            r => r,
        }
    }

    /// When the operation was cancelled.
    pub(crate) fn cancelled(&self) -> Option<Instant> {
        self.canceller.lock().iter().find(|r| r.id == self.id).and_then(|r| r.cancelled)
    }

    /// Cancels this operation alone.
    pub(crate) fn cancel(&self) {
        let mut running = self.canceller.lock();
        if let Some(me) = running.iter_mut().find(|r| r.id == self.id && r.cancelled.is_none()) {
            me.cancelled = Some(Instant::now());
            me.send_cancel();
        }
    }
}

impl Registered {
    /// From now on nothing is sent by others. Comes before the connection is closed.
    pub(crate) fn unregister(&self) {
        self.canceller.lock().retain(|r| r.id != self.id);
    }
}

pub(crate) fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the operation", "cancelled").errno(libc::ECANCELED)
}
