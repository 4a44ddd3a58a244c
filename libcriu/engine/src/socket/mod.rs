//! Sockets: the kinds of open file that have peers and queues.

mod diag;
pub(crate) mod inet;
pub(crate) mod netlink;
mod options;
pub(crate) mod unix;
