//! Sockets: the kinds of open file that have peers and queues.

mod diag;
pub(crate) mod inet;
mod likeness;
pub(crate) mod netlink;
mod options;
pub(crate) mod packet;
pub(crate) mod unix;

pub(crate) use diag::{Waiting, waiting_for};
pub(crate) use likeness::{Likenesses, Told};

/// For [`crate::parsers`].
pub(crate) fn diag_body(body: &[u8]) {
    let _ = (diag::parse(body), diag::parse_inet(body));
}
