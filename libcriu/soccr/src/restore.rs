//! Makes a fresh socket the end of a connection.
//!
//! Order, as the kernel wants it: sequence numbers (only in state CLOSE), bind and connect (no packet in repair mode),
//! negotiated options (before data), queues, FINs, windows.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{Shutdown, bind, connect, shutdown};

use crate::buffers::Buffers;
use crate::data::{FLAG_WINDOW, OPT_SACK, OPT_TIMESTAMPS, OPT_WSCALE};
use crate::error::Doing;
use crate::inject::deliver;
use crate::segment::{ACK, FIN, Segment};
use crate::socket::{self, Queue, Repair};
use crate::sys::{self, RepairOption, RepairWindow, SOL_TCP};
use crate::{Connection, Data, Result, State, closed, queue};

/// `connection` has been checked, `state` is its state.
pub(crate) fn restore(fd: BorrowedFd<'_>, connection: &Connection, state: State) -> Result<()> {
    match state {
        State::Close => closed::restore(fd, connection),
        State::SynSent => syn_sent(fd, connection),
        _ => {
            establish(fd, connection)?;
            let buffers = match state {
                State::Established => Buffers::widen_for(fd, connection.received.len(), connection.sent.len())?,
                _ => Some(Buffers::widen(fd)?),
            };
            fill(fd, connection)?;
            let closing = Closing { fd, connection };
            closing.reach(state)?;
            buffers.map_or(Ok(()), Buffers::put_back)?;
            // In state CLOSE (behind TIME_WAIT) there is no window any more.
            if connection.data.flags & FLAG_WINDOW != 0 && state != State::TimeWait {
                socket::set_window(fd, saved_window(&connection.data))?;
            }
            // Filling has left none selected.
            let was_filled = !connection.received.is_empty() || !connection.sent.is_empty();
            if was_filled && state == State::Established { Ok(()) } else { socket::select(fd, Queue::None) }
        }
    }
}

/// Sequence numbers before anything was queued, and without the FINs.
fn first_sequences(data: &Data, state: State) -> (u32, u32) {
    let receive = data.inq_seq.wrapping_sub(data.inq_len).wrapping_sub(state.fin_received().into());
    let send = data.outq_seq.wrapping_sub(data.outq_len).wrapping_sub(state.fin_sent().into());
    (receive, send)
}

pub(crate) fn bind_local(fd: BorrowedFd<'_>, local: &SocketAddr) -> Result<()> {
    let bound = bind(fd, local);
    // Perhaps it has an address already.
    if bound == Err(Errno::INVAL) {
        let is = socket::local(fd)?;
        if is.port() == local.port() && is.ip() == local.ip() {
            return Ok(());
        }
    }
    bound.doing("binding to the local address", "bind")
}

/// State ESTABLISHED with empty queues, negotiated options set.
pub(crate) fn establish(fd: BorrowedFd<'_>, connection: &Connection) -> Result<()> {
    let data = &connection.data;
    let state = connection.state()?;
    let (receive, send) = first_sequences(data, state);
    socket::set_sequence(fd, Queue::Receive, receive)?;
    socket::set_sequence(fd, Queue::Send, send)?;
    bind_local(fd, &connection.local)?;
    // The size of segments is computed in connect and later not again: the negotiated limit has to be known here.
    set_max_segment(fd, data.mss_clamp.clamp(MIN_MAXSEG, MAX_MAXSEG))?;
    connect(fd, &connection.peer).doing("connecting in repair mode", "connect")?;
    set_max_segment(fd, 0)?;
    negotiated(fd, data)
}

/// What `TCP_MAXSEG` takes.
const MIN_MAXSEG: u32 = 88;
const MAX_MAXSEG: u32 = 32767;

fn set_max_segment(fd: BorrowedFd<'_>, bytes: u32) -> Result<()> {
    sys::set(fd, SOL_TCP, sys::TCP_MAXSEG, bytes).doing("setting the segment size", "setsockopt TCP_MAXSEG")
}

fn negotiated(fd: BorrowedFd<'_>, data: &Data) -> Result<()> {
    // Kinds of TCP options, as in a header.
    const MAX_SEGMENT: u32 = 2;
    const WINDOW_SCALE: u32 = 3;
    const SACK_PERMITTED: u32 = 4;
    const TIMESTAMPS: u32 = 8;
    let mut options = vec![RepairOption { code: MAX_SEGMENT, value: data.mss_clamp }];
    if data.opt_mask & OPT_SACK != 0 {
        options.push(RepairOption { code: SACK_PERMITTED, value: 0 });
    }
    if data.opt_mask & OPT_WSCALE != 0 {
        options.push(RepairOption { code: WINDOW_SCALE, value: data.snd_wscale | data.rcv_wscale << 16 });
    }
    if data.opt_mask & OPT_TIMESTAMPS != 0 {
        options.push(RepairOption { code: TIMESTAMPS, value: 0 });
    }
    socket::set_options(fd, &options)?;
    if data.opt_mask & OPT_TIMESTAMPS != 0 {
        sys::set(fd, SOL_TCP, sys::TCP_TIMESTAMP, data.timestamp)
            .doing("setting the clock", "setsockopt TCP_TIMESTAMP")?;
    }
    Ok(())
}

fn fill(fd: BorrowedFd<'_>, connection: &Connection) -> Result<()> {
    queue::fill(fd, Queue::Receive, &connection.received)?;
    let (sent, unsent) = connection.sent.split_at(connection.sent.len() - connection.data.unsq_len as usize);
    queue::fill(fd, Queue::Send, sent)?;
    if unsent.is_empty() {
        return Ok(());
    }
    // Outside of repair mode, while the window is shut: written, and not sent.
    shut_window(fd)?;
    socket::repair(fd, Repair::OffQuietly)?;
    queue::write(fd, "send", unsent)?;
    socket::repair(fd, Repair::On)
}

fn shut(fd: BorrowedFd<'_>) -> Result<()> {
    shutdown(fd, Shutdown::Write).doing("closing this side", "shutdown")
}

/// The peer's window as if it took nothing, ours as if all had been read: any segment in order is accepted.
pub(crate) fn shut_window(fd: BorrowedFd<'_>) -> Result<()> {
    let expected = socket::sequence(fd, Queue::Receive)?;
    socket::select(fd, Queue::None)?;
    socket::set_window(
        fd,
        RepairWindow {
            snd_wl1: expected.wrapping_sub(1),
            snd_wnd: 0,
            max_window: 0,
            rcv_wnd: 0xffff,
            rcv_wup: expected,
        },
    )
}

fn saved_window(data: &Data) -> RepairWindow {
    RepairWindow {
        snd_wl1: data.snd_wl1,
        snd_wnd: data.snd_wnd,
        max_window: data.max_window,
        rcv_wnd: data.rcv_wnd,
        rcv_wup: data.rcv_wup,
    }
}

/// From ESTABLISHED to the states in which one side has closed.
pub(crate) struct Closing<'a> {
    pub fd: BorrowedFd<'a>,
    pub connection: &'a Connection,
}

impl Closing<'_> {
    fn reach(&self, state: State) -> Result<()> {
        match state {
            State::CloseWait => self.peer_closes(State::CloseWait),
            State::LastAck => {
                self.peer_closes(State::CloseWait)?;
                self.this_closes()
            }
            State::FinWait1 => self.this_closes(),
            State::FinWait2 => self.acknowledged(),
            State::Closing => {
                self.this_closes()?;
                self.peer_closes(State::Closing)
            }
            State::TimeWait => {
                self.acknowledged()?;
                // The kernel keeps the rest of it; the socket itself is through.
                self.peer_closes(State::Close)
            }
            State::Established | State::SynSent | State::Close => Ok(()),
        }
    }

    fn acknowledged(&self) -> Result<()> {
        self.this_closes()?;
        self.peer_sends(ACK, State::FinWait2)
    }

    /// A FIN in the send queue: counted as sent in repair mode; behind data not sent it is not sent either.
    pub(crate) fn this_closes(&self) -> Result<()> {
        if self.connection.data.unsq_len == 0 {
            socket::select(self.fd, Queue::Send)?;
            shut(self.fd)?;
            return socket::select(self.fd, Queue::None);
        }
        shut_window(self.fd)?;
        socket::repair(self.fd, Repair::OffQuietly)?;
        let closed = shut(self.fd);
        socket::repair(self.fd, Repair::On)?;
        closed
    }

    pub(crate) fn peer_closes(&self, then: State) -> Result<()> {
        self.peer_sends(FIN | ACK, then)
    }

    /// A segment that acknowledges this side's FIN if the state it leads to says so, and else nothing new.
    pub(crate) fn peer_sends(&self, flags: u8, then: State) -> Result<()> {
        shut_window(self.fd)?;
        let unacknowledged = sys::unacknowledged_bytes(self.fd).doing("measuring the send queue", "ioctl SIOCOUTQ")?;
        let written = socket::sequence(self.fd, Queue::Send)?;
        let acknowledges = match then {
            State::FinWait2 | State::Close => written,
            _ => written.wrapping_sub(unacknowledged),
        };
        let segment = Segment {
            from: self.connection.peer,
            to: self.connection.local,
            sequence: socket::sequence(self.fd, Queue::Receive)?,
            acknowledges,
            flags,
        };
        socket::select(self.fd, Queue::None)?;
        deliver(self.fd, &segment, then)
    }
}

/// Connects anew with the sequence number of the SYN that may already be on its way.
fn syn_sent(fd: BorrowedFd<'_>, connection: &Connection) -> Result<()> {
    socket::set_sequence(fd, Queue::Send, connection.data.outq_seq.wrapping_sub(1))?;
    bind_local(fd, &connection.local)?;
    let what = "sending the SYN again";
    let flags = fcntl_getfl(fd).doing(what, "fcntl F_GETFL")?;
    fcntl_setfl(fd, flags | OFlags::NONBLOCK).doing(what, "fcntl F_SETFL")?;
    socket::repair(fd, Repair::OffQuietly)?;
    let connected = connect(fd, &connection.peer);
    socket::repair(fd, Repair::On)?;
    fcntl_setfl(fd, flags).doing(what, "fcntl F_SETFL")?;
    match connected {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(()),
        Err(e) => Err(e).doing(what, "connect"),
    }
}
