//! State CLOSE: a socket that was never connected, or the rest of a connection: what was received and not read, the end
//! of the stream, an error its owner has not seen.
//!
//! The rest of a connection is made by living it through: establish, fill, close. Nothing of it reaches the network.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use crate::buffers::Buffers;
use crate::data::FLAG_PENDING_ERROR;
use crate::restore::{Closing, establish};
use crate::segment::{ACK, RST};
use crate::socket::Queue;
use crate::{Connection, Data, Error, Result, State, queue};

/// Tried as the peer's port when the addresses of the old connection are still taken, by TIME_WAIT for instance.
const OTHER_PORTS: std::ops::Range<u16> = 1..32;

pub(crate) fn restore(fd: BorrowedFd<'_>, connection: &Connection) -> Result<()> {
    let data = &connection.data;
    // A socket that was never connected has not received anything: its sequence number is zero. One whose connection was
    // taken back has no peer.
    let has_left_nothing = data.inq_len == 0 && data.flags & FLAG_PENDING_ERROR == 0;
    if has_left_nothing && (data.inq_seq == 0 || connection.peer.port() == 0) {
        return bind_only(fd, &connection.local);
    }
    let mut living = Connection {
        data: Data { state: State::Established as u32, outq_len: 0, unsq_len: 0, ..*data },
        sent: Vec::new(),
        ..connection.clone()
    };
    if living.data.mss_clamp == 0 {
        living.data.mss_clamp = 536;
    }
    // Its FIN will come on top.
    if data.flags & FLAG_PENDING_ERROR == 0 {
        living.data.inq_seq = data.inq_seq.wrapping_sub(1);
    }
    connect_anyhow(fd, &mut living)?;
    let buffers = Buffers::widen(fd)?;
    queue::fill(fd, Queue::Receive, &living.received)?;
    let closing = Closing { fd, connection: &living };
    if data.flags & FLAG_PENDING_ERROR != 0 {
        closing.peer_sends(RST | ACK, State::Close)?;
    } else {
        // This order of the two FINs leaves nothing in TIME_WAIT.
        closing.peer_closes(State::CloseWait)?;
        closing.this_closes()?;
        closing.peer_sends(ACK, State::Close)?;
    }
    buffers.put_back()
}

fn bind_only(fd: BorrowedFd<'_>, local: &SocketAddr) -> Result<()> {
    if local.port() == 0 { Ok(()) } else { crate::restore::bind_local(fd, local) }
}

/// The old addresses if they are free; else another peer's port, which nobody can see.
fn connect_anyhow(fd: BorrowedFd<'_>, living: &mut Connection) -> Result<()> {
    if living.local.ip().is_unspecified() {
        living.local.set_ip(loopback(&living.local));
    }
    if living.peer.ip().is_unspecified() {
        living.peer.set_ip(living.local.ip());
    }
    let mut ports = std::iter::once(living.peer.port()).filter(|p| *p != 0).chain(OTHER_PORTS);
    loop {
        let Some(port) = ports.next() else {
            return Err(Error::Invalid { field: "peer port", value: 0, reason: "no free one was found" });
        };
        living.peer.set_port(port);
        match establish(fd, living) {
            Err(Error::Call { call: "connect", source, .. }) if source.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {}
            other => return other,
        }
    }
}

fn loopback(like: &SocketAddr) -> std::net::IpAddr {
    match like {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}
