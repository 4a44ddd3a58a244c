//! Open files: every kind of object that a descriptor can refer to, in both directions.

/// Identity of an open file description in `files.img`.
pub type FileId = u32;
