//! What a `struct libsoccr_sk` is.

use std::mem::size_of;
use std::net::SocketAddr;

use criu_soccr::{Connection, Data, Paused, Result};

use crate::ffi::{Address, Bytes};

/// Size of the oldest `struct libsoccr_sk_data`; shorter ones are refused.
pub(crate) const DATA_BYTES: usize = size_of::<Data>();

/// A paused socket with what was saved of it, or is to be restored.
pub struct libsoccr_sk {
    pub(crate) paused: Paused<'static>,
    pub(crate) local: Option<Address>,
    pub(crate) peer: Option<Address>,
    pub(crate) received: Bytes,
    pub(crate) sent: Bytes,
}

impl libsoccr_sk {
    pub(crate) fn new(paused: Paused<'static>) -> Self {
        libsoccr_sk { paused, local: None, peer: None, received: Bytes::None, sent: Bytes::None }
    }

    pub(crate) fn save(&mut self) -> Result<Data> {
        let Connection { data, local, peer, received, sent } = self.paused.save()?;
        self.local = Some(Address::new(local));
        self.peer = Some(Address::new(peer));
        self.received = Bytes::copy(&received);
        self.sent = Bytes::copy(&sent);
        Ok(data)
    }

    pub(crate) fn restore(&self, data: Data) -> Result<()> {
        data.check_lengths()?;
        let connection = Connection {
            data,
            local: address(&self.local, "local address")?,
            peer: address(&self.peer, "peer's address")?,
            received: self.received.read(data.inq_len),
            sent: self.sent.read(data.outq_len),
        };
        self.paused.restore(&connection)
    }

    pub(crate) fn queue(&mut self, id: i32) -> Option<&mut Bytes> {
        match id {
            RECEIVE_QUEUE => Some(&mut self.received),
            SEND_QUEUE => Some(&mut self.sent),
            _ => None,
        }
    }
}

/// `TCP_RECV_QUEUE` and `TCP_SEND_QUEUE` of linux/tcp.h.
const RECEIVE_QUEUE: i32 = 1;
const SEND_QUEUE: i32 = 2;

fn address(given: &Option<Address>, field: &'static str) -> Result<SocketAddr> {
    given.as_ref().map(Address::get).ok_or(criu_soccr::Error::Invalid { field, value: 0, reason: "it was not set" })
}
