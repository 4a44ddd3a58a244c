//! States of a TCP socket and what they say about the two FINs.

use crate::{Error, Result};

/// As the kernel numbers them (`TCP_INFO`, `/proc/net/tcp`). LISTEN and SYN_RECV have no connection to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    Established = 1,
    SynSent = 2,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Closing = 11,
}

impl State {
    /// # Errors
    /// [`Error::State`] for numbers that are no state, LISTEN (10) and SYN_RECV (3, 12).
    pub fn from_number(number: u32) -> Result<State> {
        Ok(match number {
            1 => State::Established,
            2 => State::SynSent,
            4 => State::FinWait1,
            5 => State::FinWait2,
            6 => State::TimeWait,
            7 => State::Close,
            8 => State::CloseWait,
            9 => State::LastAck,
            11 => State::Closing,
            other => return Err(Error::State(u8::try_from(other).unwrap_or(u8::MAX))),
        })
    }

    /// This side's FIN has its place in the send sequence.
    pub fn fin_sent(self) -> bool {
        matches!(self, State::FinWait1 | State::FinWait2 | State::TimeWait | State::LastAck | State::Closing)
    }

    /// The peer has acknowledged it.
    pub fn fin_acknowledged(self) -> bool {
        matches!(self, State::FinWait2 | State::TimeWait)
    }

    /// The peer's FIN was received.
    pub fn fin_received(self) -> bool {
        matches!(self, State::CloseWait | State::LastAck | State::Closing | State::TimeWait)
    }
}
