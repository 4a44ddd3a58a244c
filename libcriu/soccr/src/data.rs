//! What a connection consists of once it is saved.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use crate::error::Doing;
use crate::{Error, Result, State};

/// [`Data::flags`]: the five window fields are valid.
pub const FLAG_WINDOW: u32 = 1;
/// [`Data::flags`], in state CLOSE: the socket holds an error that its owner has not seen yet.
pub const FLAG_PENDING_ERROR: u32 = 2;

/// Longest queue accepted, in bytes; the kernel's own limit for socket buffers.
const QUEUE_LIMIT_BYTES: u32 = i32::MAX as u32 / 2;

/// The numbers of a connection: `struct libsoccr_sk_data`, and the fields of `tcp-stream` images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Data {
    /// A [`State`] by number.
    pub state: u32,
    /// Bytes received and not read, without a FIN.
    pub inq_len: u32,
    /// Sequence number expected next; a received FIN is counted.
    pub inq_seq: u32,
    /// Bytes not acknowledged, sent or not, without a FIN.
    pub outq_len: u32,
    /// Sequence number behind all that was written; this side's FIN is counted.
    pub outq_seq: u32,
    /// Those of `outq_len` that were never sent.
    pub unsq_len: u32,
    /// `TCPI_OPT_*`: 1 timestamps, 2 SACK, 4 window scaling; others are reported and not restored.
    pub opt_mask: u32,
    /// Largest segment the peer takes, in bytes.
    pub mss_clamp: u32,
    pub snd_wscale: u32,
    pub rcv_wscale: u32,
    /// What the clock of this side's timestamps showed when it was saved.
    pub timestamp: u32,
    /// [`FLAG_WINDOW`], [`FLAG_PENDING_ERROR`].
    pub flags: u32,
    /// The window as `TCP_REPAIR_WINDOW` has it: sequence number of the last window update ...
    pub snd_wl1: u32,
    /// ... the peer's window, largest seen, and our own with the sequence number it was announced at. In bytes.
    pub snd_wnd: u32,
    pub max_window: u32,
    pub rcv_wnd: u32,
    pub rcv_wup: u32,
}

impl Data {
    /// Whether a socket can hold queues of these lengths: to be asked before they are read.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn check_lengths(&self) -> Result<()> {
        let reason = "more than a socket can hold";
        for (field, bytes) in [("inq_len", self.inq_len), ("outq_len", self.outq_len)] {
            if bytes > QUEUE_LIMIT_BYTES {
                return Err(Error::Invalid { field, value: bytes.into(), reason });
            }
        }
        Ok(())
    }
}

pub(crate) const OPT_TIMESTAMPS: u32 = 1;
pub(crate) const OPT_SACK: u32 = 2;
pub(crate) const OPT_WSCALE: u32 = 4;

/// A saved connection. Plain data: write it down, send it, restore it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub data: Data,
    /// As the socket sees it: a V6 address that maps an IPv4 one belongs to an IPv6 socket.
    pub local: SocketAddr,
    /// Port 0 for a socket that never had a peer (state CLOSE).
    pub peer: SocketAddr,
    /// Received and not read.
    pub received: Vec<u8>,
    /// Written and not acknowledged; the last `data.unsq_len` bytes were never sent.
    pub sent: Vec<u8>,
}

impl Connection {
    /// A fresh socket of the right family, close-on-exec.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn socket(&self) -> Result<OwnedFd> {
        let family = if self.local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))
            .doing("making a TCP socket", "socket")
    }

    /// The state, checked.
    ///
    /// # Errors
    /// [`Error::State`] when `data.state` names none.
    pub fn state(&self) -> Result<State> {
        State::from_number(self.data.state)
    }

    /// Everything that can be told to be wrong before a socket is touched.
    pub(crate) fn check(&self) -> Result<State> {
        let state = self.state()?;
        let data = &self.data;
        let ensure = |ok: bool, field, value: u32, reason| {
            if ok { Ok(()) } else { Err(Error::Invalid { field, value: value.into(), reason }) }
        };
        ensure(
            data.inq_len as usize == self.received.len(),
            "inq_len",
            data.inq_len,
            "not the length of the bytes given",
        )?;
        ensure(
            data.outq_len as usize == self.sent.len(),
            "outq_len",
            data.outq_len,
            "not the length of the bytes given",
        )?;
        data.check_lengths()?;
        ensure(data.unsq_len <= data.outq_len, "unsq_len", data.unsq_len, "more than the send queue has")?;
        if state == State::Close {
            return Ok(state);
        }
        ensure(self.local.is_ipv4() == self.peer.is_ipv4(), "peer", 0, "not of the local address's family")?;
        ensure(
            v4(&self.local).is_some() == v4(&self.peer).is_some(),
            "peer",
            0,
            "one address is IPv4, the other is not",
        )?;
        ensure(self.peer.port() != 0, "peer port", 0, "a connection has one")?;
        if state == State::SynSent {
            ensure(data.outq_len == 0, "outq_len", data.outq_len, "nothing can be queued in state SYN_SENT")?;
            ensure(data.inq_len == 0, "inq_len", data.inq_len, "nothing can be received in state SYN_SENT")?;
            return Ok(state);
        }
        ensure(self.local.port() != 0, "local port", 0, "a connection has one")?;
        ensure((1..=0xffff).contains(&data.mss_clamp), "mss_clamp", data.mss_clamp, "not a segment size")?;
        ensure(
            data.outq_len == 0 || !state.fin_acknowledged(),
            "outq_len",
            data.outq_len,
            "nothing is left to acknowledge behind an acknowledged FIN",
        )?;
        if data.opt_mask & OPT_WSCALE != 0 {
            ensure(data.snd_wscale <= 14, "snd_wscale", data.snd_wscale, "at most 14")?;
            ensure(data.rcv_wscale <= 14, "rcv_wscale", data.rcv_wscale, "at most 14")?;
        }
        Ok(state)
    }
}

/// The IPv4 address that packets carry, if they carry one.
pub(crate) fn v4(address: &SocketAddr) -> Option<std::net::Ipv4Addr> {
    match address.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped(),
    }
}
