//! Pages: `pagemap-ID.img` says which pages of an object are kept and `pages-N.img` holds their bytes, back to back in the same order.

mod copy;
mod dump;
pub mod restore;
mod scan;

pub use copy::{Chunk, GoOn, PARALLEL_BYTES, Source};
pub use dump::{Known, PageTotals, PagesIds, dump_pagemap, dump_pages, dump_runs};
pub use scan::{Run, guard_regions, own_pages, private_runs};

/// Bits of `pagemap_entry.flags`.
pub mod flags {
    /// The page is in the parent image directory.
    pub const PARENT: u32 = 1;
    /// A restore may bring the page later, on demand.
    pub const LAZY: u32 = 2;
    /// The page is in this directory's `pages-N.img`.
    pub const PRESENT: u32 = 4;
}
