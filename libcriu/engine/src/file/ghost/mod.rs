//! Files whose name is gone: unlinked ones (ghosts), whose contents go into `ghost-file-%x.img`, and ones that have other
//! names left (link-remap). `remap-fpath.img` says which entry of `files.img` is which.
//!
//! A ghost comes back under its old path for the moment it takes to unlink it, so that /proc shows the same name; where
//! that name is taken, beside it.
//!
//! For a file with other names left the dump makes a link beside the old name (`link_remap`), which the restore opens and,
//! when it is done, removes.
//!
//! Owner, mode, times, extended attributes and access lists come back.
//!
//! Limits: contents up to `ghost_limit`; holes stay holes; a ghost directory comes back empty, as it was.

mod dump;
mod restore;

pub(crate) use dump::{Ghosts, attributes, kernel_dev, remap, reopen};
pub(crate) use restore::{GhostFiles, Remap, open_made};

/// Of what chattr(1) sets: what does not keep a restore from making the file.
pub(super) const KEPT_FLAGS: rustix::fs::IFlags =
    rustix::fs::IFlags::NOATIME.union(rustix::fs::IFlags::NODUMP).union(rustix::fs::IFlags::SYNC);

/// Chunks and raw contents are copied in pieces of this size.
pub(super) const COPY_BYTES: usize = 1 << 20;
