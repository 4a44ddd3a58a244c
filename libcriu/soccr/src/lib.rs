//! One TCP connection at a time: pause it, save it, restore it in another process or on another host, resume it.
//!
//! The kernel's repair mode (`TCP_REPAIR`, tcp(7)) lets a privileged process read and write what makes a connection:
//! sequence numbers, queues, negotiated options, windows. This crate knows how the pieces go together, in every state a
//! socket can have. It needs nothing else of this workspace.
//!
//! ```no_run
//! use std::net::TcpStream;
//! use std::os::fd::AsFd;
//! use criu_soccr::Paused;
//!
//! fn take_over(stream: TcpStream) -> criu_soccr::Result<TcpStream> {
//!     let paused = Paused::pause(stream.as_fd())?;
//!     let connection = paused.save()?;
//!     paused.release(); // still in repair mode: the close says nothing to the peer
//!     drop(stream);
//!
//!     let socket = connection.socket()?; // in this process or any other one
//!     let paused = Paused::pause(socket.as_fd())?;
//!     paused.restore(&connection)?;
//!     paused.resume()?;
//!     Ok(socket.into())
//! }
//! ```
//!
//! # Who keeps the network away
//!
//! Repair mode does not stop packets. While a connection is moved nobody must answer its peer: neither the old socket
//! (it would acknowledge data that nobody saved), nor the kernel (it resets connections it does not know). So drop the
//! connection's packets first, in both directions, except those with the mark [`MARK`]; see [`Paused::restore`] for why the
//! mark. A connection whose peer is known to be silent needs no such lock.
//!
//! # What is kept
//!
//! - States: ESTABLISHED, CLOSE_WAIT, FIN_WAIT1, FIN_WAIT2, CLOSING, LAST_ACK, TIME_WAIT, SYN_SENT, CLOSE. Listening
//!   sockets have no connection and are made anew with `listen`.
//! - IPv4, IPv6, and IPv4 through an IPv6 socket.
//! - Data not read yet, data sent but not acknowledged, data not sent yet.
//! - Maximum segment size, window scales, SACK, timestamps (with their clock), windows.
//!
//! Socket options (`SO_*`, `TCP_NODELAY`, keepalive ...) are the caller's, before [`Paused::resume`]. Segments that arrived
//! out of order are sent again by the peer. ECN cannot be set in repair mode: the connection goes on without it.
//! Refused by name: urgent data not read yet, upper layer protocols (TLS in the kernel), listening sockets.
//!
//! # Kernel
//!
//! Linux 4.20 (`TCP_REPAIR_OFF_NO_WP`); `CAP_NET_ADMIN` in the user namespace of the socket's network namespace, and
//! `CAP_NET_RAW` for states in which the peer has closed or acknowledged a close.

mod buffers;
mod closed;
mod data;
mod error;
mod inject;
mod pause;
mod queue;
mod restore;
mod save;
mod segment;
mod socket;
mod state;
mod sys;

pub use data::{Connection, Data, FLAG_PENDING_ERROR, FLAG_WINDOW};
pub use error::{Error, Result};
pub use pause::Paused;
pub use state::State;

/// Packets with this mark (`SO_MARK`) pass a network lock: the segments that [`Paused::restore`] sends to the socket itself.
pub const MARK: u32 = 0xC114;
