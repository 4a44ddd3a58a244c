//! Pipes without a name, and named ones (fifos): ends, sizes, unread data.
//!
//! Data is copied by tee(2), which leaves it where it is. It is saved when the tree holds an end that reads; otherwise it
//! is not the tree's. Of a pipe whose other end is outside only the own end comes back, as with CRIU: the other end of
//! the new pipe is closed, unless `inherit_fd` names it.

mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Pipe, FdTypes::Fifo],
    dump: || Box::<dump::Pipes>::default(),
    restore: || Box::<restore::Pipes>::default(),
};

/// The largest pipe anyone may have asked for: what CAP_SYS_RESOURCE allows is bounded by the kernel at 2^31.
pub(super) const MAX_PIPE_BYTES: u32 = 1 << 30;
