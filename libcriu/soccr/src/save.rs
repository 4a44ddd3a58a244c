//! Reads a connection in repair mode.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};

use crate::data::{FLAG_PENDING_ERROR, FLAG_WINDOW, OPT_TIMESTAMPS};
use crate::error::Doing;
use crate::socket::{self, Queue};
use crate::sys::{self, InfoHead, SOL_TCP};
use crate::{Connection, Data, Error, Result, State, queue};

/// How often a connection that changes is read anew.
const ATTEMPTS: u32 = 8;

pub(crate) fn save(fd: BorrowedFd<'_>) -> Result<Connection> {
    refuse_upper_layer(fd)?;
    for _ in 0..ATTEMPTS {
        let progress = socket::progress(fd)?;
        let before = numbers(fd, progress.head)?;
        refuse_urgent(fd, before.inq_len)?;
        let received = queue::peek(fd, Queue::Receive, before.inq_len)?;
        let sent = queue::peek(fd, Queue::Send, before.outq_len)?;
        let complete = received.len() == before.inq_len as usize && sent.len() == before.outq_len as usize;
        if complete && socket::progress(fd)?.is_same(&progress) {
            socket::select(fd, Queue::None)?;
            let local = socket::local(fd)?;
            let peer = peer_of(fd, &before, &local)?;
            return Ok(Connection { data: before, local, peer, received, sent });
        }
    }
    Err(Error::Busy)
}

fn peer_of(fd: BorrowedFd<'_>, data: &Data, local: &SocketAddr) -> Result<SocketAddr> {
    match socket::peer(fd, local)? {
        Some(peer) => Ok(peer),
        None if data.state == State::Close as u32 => Ok(match local {
            SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
            SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
        }),
        None => Err(Error::Busy),
    }
}

fn numbers(fd: BorrowedFd<'_>, info: InfoHead) -> Result<Data> {
    let state = State::from_number(info.state.into())?;
    let mut data = Data {
        state: state as u32,
        opt_mask: info.options.into(),
        snd_wscale: u32::from(info.wscales & 0xf),
        rcv_wscale: u32::from(info.wscales >> 4),
        inq_len: received_bytes(fd)?,
        inq_seq: socket::sequence(fd, Queue::Receive)?,
        outq_seq: socket::sequence(fd, Queue::Send)?,
        mss_clamp: sys::get(fd, SOL_TCP, sys::TCP_MAXSEG)
            .doing("asking for the segment size", "getsockopt TCP_MAXSEG")?,
        ..Data::default()
    };
    if state == State::Close {
        data.flags = if has_pending_error(fd)? { FLAG_PENDING_ERROR } else { 0 };
        // What was not acknowledged before the end will never be: its owner cannot see it.
        return Ok(data);
    }
    data.outq_len = sys::unacknowledged_bytes(fd).doing("measuring the send queue", "ioctl SIOCOUTQ")?;
    data.unsq_len = sys::unsent_bytes(fd).doing("measuring the send queue", "ioctl SIOCOUTQNSD")?;
    if state.fin_sent() {
        // The FIN has a sequence number and is no byte.
        data.outq_len = data.outq_len.saturating_sub(1);
        data.unsq_len = data.unsq_len.saturating_sub(1);
    }
    let window = socket::window(fd)?;
    data.flags = FLAG_WINDOW;
    data.snd_wl1 = window.snd_wl1;
    data.snd_wnd = window.snd_wnd;
    data.max_window = window.max_window;
    data.rcv_wnd = window.rcv_wnd;
    data.rcv_wup = window.rcv_wup;
    if data.opt_mask & OPT_TIMESTAMPS != 0 {
        data.timestamp =
            sys::get(fd, SOL_TCP, sys::TCP_TIMESTAMP).doing("asking for the clock", "getsockopt TCP_TIMESTAMP")?;
    }
    Ok(data)
}

/// Urgent data, and their mark, have no place in repair mode. `SIOCINQ` stops at them unless `SO_OOBINLINE` is set: two
/// answers betray them. `as_it_is` is the first.
fn refuse_urgent(fd: BorrowedFd<'_>, as_it_is: u32) -> Result<()> {
    let inline = socket::option(fd, sys::SO_OOBINLINE, "getsockopt SO_OOBINLINE")?;
    let set = |value| socket::set_option(fd, sys::SO_OOBINLINE, value, "setsockopt SO_OOBINLINE");
    set(1 - inline)?;
    let other = received_bytes(fd);
    set(inline)?;
    if other? != as_it_is && received_bytes(fd)? == as_it_is {
        return Err(Error::Unsupported {
            what: "urgent data that was not read, or not read past",
            hint: "let the process read it first",
        });
    }
    Ok(())
}

fn received_bytes(fd: BorrowedFd<'_>) -> Result<u32> {
    sys::received_bytes(fd).doing("measuring the receive queue", "ioctl SIOCINQ")
}

fn has_pending_error(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).doing("looking for an error", "poll")?;
    Ok(fds[0].revents().contains(PollFlags::ERR))
}

/// TLS in the kernel and its like: the queues hold what the peer sent, not what the process reads.
fn refuse_upper_layer(fd: BorrowedFd<'_>) -> Result<()> {
    match sys::get::<[u8; 16]>(fd, SOL_TCP, sys::TCP_ULP) {
        Ok(name) if name[0] != 0 => Err(Error::Unsupported {
            what: "a connection with an upper layer protocol (kernel TLS)",
            hint: "it has no \
                 repair mode; close the connection first",
        }),
        _ => Ok(()),
    }
}
