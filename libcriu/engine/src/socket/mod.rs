//! Sockets: the kinds of open file that have peers and queues.

mod diag;
mod options;
pub(crate) mod unix;
