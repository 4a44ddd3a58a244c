//! A TCP connection as images have it: numbers in an entry of `tcp-stream-INO.img`, both queues behind it; addresses and state
//! in the socket's own entry.

use criu_images::messages::{InetSkEntry, SkShutdown, TcpStreamEntry};
use criu_soccr::{Connection, Data, FLAG_PENDING_ERROR, FLAG_WINDOW, State};

use super::address::Addresses;
use super::state;

const RECEIVES_NOT: i32 = SkShutdown::Read as i32;
const SENDS_NOT: i32 = SkShutdown::Write as i32;

/// Has the socket a peer that is to hear of it?
pub(super) fn is_connection(isk: &InetSkEntry) -> bool {
    super::facts::is_tcp(super::more_options::SocketKind::of(isk)) && is_connected(isk.state)
}

pub(super) fn is_connected(state: u32) -> bool {
    !matches!(state, state::CLOSE | state::LISTEN)
}

/// A socket in state CLOSE that never was anything else.
pub(super) fn is_fresh(connection: &Connection) -> bool {
    let data = &connection.data;
    let has_left_nothing = data.inq_len == 0 && data.flags & FLAG_PENDING_ERROR == 0;
    // One that was taken back has no peer any more.
    data.state == state::CLOSE && has_left_nothing && (data.inq_seq == 0 || connection.peer.port() == 0)
}

/// Established, and with nothing to send.
pub(super) fn is_idle(connection: &Connection) -> bool {
    connection.data.state == state::ESTABLISHED && connection.sent.is_empty()
}

pub(super) fn entry(data: &Data) -> TcpStreamEntry {
    let window = |value: u32| Some(value).filter(|_| data.flags & FLAG_WINDOW != 0);
    TcpStreamEntry {
        inq_len: data.inq_len,
        inq_seq: data.inq_seq,
        outq_len: data.outq_len,
        outq_seq: data.outq_seq,
        opt_mask: data.opt_mask,
        snd_wscale: data.snd_wscale,
        mss_clamp: data.mss_clamp,
        rcv_wscale: Some(data.rcv_wscale),
        timestamp: Some(data.timestamp),
        cork: None,
        nodelay: None,
        unsq_len: Some(data.unsq_len),
        snd_wl1: window(data.snd_wl1),
        snd_wnd: window(data.snd_wnd),
        max_window: window(data.max_window),
        rcv_wnd: window(data.rcv_wnd),
        rcv_wup: window(data.rcv_wup),
        pending_error: Some(true).filter(|_| data.flags & FLAG_PENDING_ERROR != 0),
    }
}

/// What a connection is by now: between the first look and the lock the peer may have gone on.
/// What has not changed is not written to: its page is shared with the process that guards the connections.
pub(super) fn update(isk: &mut InetSkEntry, connection: &Connection) {
    if isk.state != connection.data.state {
        isk.state = connection.data.state;
    }
    let addresses = Addresses { local: connection.local, peer: connection.peer };
    if Addresses::of(isk, 0).as_ref() != Ok(&addresses) {
        addresses.put(isk);
    }
    if let Ok(state) = State::from_number(isk.state) {
        let mut shutdown = isk.shutdown.unwrap_or(0) & RECEIVES_NOT;
        shutdown |= if state.fin_received() { RECEIVES_NOT } else { 0 };
        shutdown |= if state.fin_sent() { SENDS_NOT } else { 0 };
        let shutdown = Some(shutdown).filter(|&s| s != 0);
        if isk.shutdown != shutdown {
            isk.shutdown = shutdown;
        }
    }
}

/// The owner has given up receiving without having seen the end.
pub(super) fn receives_not(isk: &InetSkEntry) -> bool {
    let ended = State::from_number(isk.state).is_ok_and(State::fin_received);
    !ended && isk.state != state::CLOSE && isk.shutdown.is_some_and(|s| s & RECEIVES_NOT != 0)
}

/// The connection of two entries, whose numbers libsoccr checks.
pub(super) fn connection(
    isk: &InetSkEntry,
    addresses: Addresses,
    stream: &TcpStreamEntry,
    received: Vec<u8>,
    sent: Vec<u8>,
) -> Connection {
    let window = stream.snd_wnd.is_some() && stream.rcv_wnd.is_some();
    let flags = if window { FLAG_WINDOW } else { 0 } | if stream.pending_error() { FLAG_PENDING_ERROR } else { 0 };
    let data = Data {
        state: isk.state,
        inq_len: stream.inq_len,
        inq_seq: stream.inq_seq,
        outq_len: stream.outq_len,
        outq_seq: stream.outq_seq,
        unsq_len: stream.unsq_len(),
        opt_mask: stream.opt_mask,
        mss_clamp: stream.mss_clamp,
        snd_wscale: stream.snd_wscale,
        rcv_wscale: stream.rcv_wscale(),
        timestamp: stream.timestamp(),
        flags,
        snd_wl1: stream.snd_wl1(),
        snd_wnd: stream.snd_wnd(),
        max_window: stream.max_window(),
        rcv_wnd: stream.rcv_wnd(),
        rcv_wup: stream.rcv_wup(),
    };
    Connection { data, local: addresses.local, peer: addresses.peer, received, sent }
}
