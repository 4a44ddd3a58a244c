//! The guard of a socket in repair mode.

use std::cell::Cell;
use std::os::fd::BorrowedFd;

use crate::socket::{self, Repair};
use crate::sys::{self, SOL_TCP};
use crate::{Connection, Error, Result, restore, save};

/// A socket in repair mode.
///
/// End it with [`resume`](Paused::resume), [`resume_quietly`](Paused::resume_quietly) or [`release`](Paused::release).
/// When it is merely dropped, a connection that was only looked at goes on without a packet; one that
/// [`restore`](Paused::restore) has touched stays in repair mode, so that the close of the unfinished socket says nothing to
/// the peer.
#[derive(Debug)]
pub struct Paused<'fd> {
    fd: BorrowedFd<'fd>,
    /// `SO_REUSEADDR`, which the kernel overwrites when repair mode starts and ends.
    reuse: bool,
    touched: Cell<bool>,
    /// Nothing was put into its send queue.
    is_idle: bool,
    ended: bool,
}

impl<'fd> Paused<'fd> {
    /// Puts a socket into repair mode. One that is already there (its pauser died) is taken over; its `SO_REUSEADDR` is
    /// lost then.
    ///
    /// # Errors
    /// [`Error::State`] for a listening socket, [`Error::Call`] with EPERM without `CAP_NET_ADMIN` in the user namespace of
    /// the socket's network namespace, with ENOPROTOOPT or EOPNOTSUPP for what is no TCP socket.
    pub fn pause(socket: BorrowedFd<'fd>) -> Result<Self> {
        socket::state(socket)?;
        // 2 is the kernel's own while a socket is in repair mode.
        let reuse = socket::option(socket, sys::SO_REUSEADDR, "getsockopt SO_REUSEADDR")? == 1;
        socket::repair(socket, Repair::On)?;
        Ok(Paused { fd: socket, reuse, touched: Cell::new(false), is_idle: false, ended: false })
    }

    /// As [`pause`](Paused::pause), for a socket whose `SO_REUSEADDR` the caller knows, and that is not in repair mode.
    ///
    /// # Errors
    /// [`Error::Call`] with EPERM for a listening socket too; otherwise as `pause`.
    pub fn pause_knowing(socket: BorrowedFd<'fd>, reuse: bool) -> Result<Self> {
        socket::repair(socket, Repair::On)?;
        Ok(Paused { fd: socket, reuse, touched: Cell::new(false), is_idle: false, ended: false })
    }

    /// The guard of a socket that another guard has [restored](Paused::restore) and [released](Paused::release), perhaps
    /// through another descriptor; `reuse` is the `SO_REUSEADDR` it is to have afterwards.
    pub fn take_over(socket: BorrowedFd<'fd>, reuse: bool) -> Self {
        Paused { fd: socket, reuse, touched: Cell::new(true), is_idle: false, ended: false }
    }

    /// As [`take_over`](Paused::take_over), for a connection that was restored in state ESTABLISHED with nothing to send: it
    /// goes on by fewer calls.
    pub fn take_over_idle(socket: BorrowedFd<'fd>, reuse: bool) -> Self {
        Paused { fd: socket, reuse, touched: Cell::new(true), is_idle: true, ended: false }
    }

    /// Reads the whole connection and changes nothing.
    ///
    /// # Errors
    /// [`Error::Busy`] when the connection does not hold still; [`Error::Unsupported`] for what would be lost.
    pub fn save(&self) -> Result<Connection> {
        save::save(self.fd)
    }

    /// Makes a fresh socket (not bound, or bound to the same address; not connected) the end of a connection.
    ///
    /// The peer notices nothing before [`resume`](Paused::resume), with two exceptions: SYN_SENT sends its SYN, which is
    /// what that state is about; and the socket may acknowledge what its peer knows to have sent. Where the peer has
    /// closed or has acknowledged a close, no call sets the state: the socket is sent the peer's segment over loopback,
    /// with the mark [`MARK`](crate::MARK), which a network lock has to let through.
    ///
    /// # Errors
    /// [`Error::Invalid`] before anything was done. All others leave a socket in repair mode that is good for closing only.
    pub fn restore(&self, connection: &Connection) -> Result<()> {
        let state = connection.check()?;
        self.touched.set(true);
        restore::restore(self.fd, connection, state)
    }

    /// Lets the connection go on. In state ESTABLISHED the peer is asked for its window; data not sent yet are sent.
    ///
    /// # Errors
    /// Those of setsockopt.
    pub fn resume(mut self) -> Result<()> {
        self.leave(Repair::Off)?;
        if self.is_idle {
            return Ok(());
        }
        // Pushes what waits in the send queue, and changes nothing else: it clears an option that is clear.
        let corked: i32 = sys::get(self.fd, SOL_TCP, sys::TCP_CORK).unwrap_or(1);
        if self.touched.get() && corked == 0 {
            let pushed: Result<(), std::io::Error> = sys::set(self.fd, SOL_TCP, sys::TCP_CORK, 0);
            pushed.map_err(|source| Error::Call { what: "sending what waits", call: "setsockopt TCP_CORK", source })?;
        }
        Ok(())
    }

    /// Lets the connection go on without sending a packet, behind a network lock: for one that was only saved; or for one that
    /// was restored, which [`resume`](Paused::resume) of a guard that [takes it over](Paused::take_over) wakes when the lock is gone.
    ///
    /// # Errors
    /// Those of setsockopt.
    pub fn resume_quietly(mut self) -> Result<()> {
        self.leave(Repair::OffQuietly)
    }

    /// Gives up the guard and leaves the socket in repair mode: when its last descriptor is closed, the connection vanishes
    /// and the peer hears nothing.
    pub fn release(mut self) {
        self.ended = true;
    }

    fn leave(&mut self, mode: Repair) -> Result<()> {
        socket::repair(self.fd, mode)?;
        self.ended = true;
        // It is off by now.
        if !self.reuse {
            return Ok(());
        }
        socket::set_option(self.fd, sys::SO_REUSEADDR, 1, "setsockopt SO_REUSEADDR")
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if !self.ended
            && !self.touched.get()
            && let Err(e) = self.leave(Repair::OffQuietly)
        {
            log::error!("{e}");
        }
    }
}
