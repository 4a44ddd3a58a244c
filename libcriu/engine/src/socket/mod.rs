//! Sockets: the kinds of open file that have peers and queues.

mod diag;
pub(crate) mod inet;
mod options;
pub(crate) mod unix;
