//! What is wrong with an image: the file, the offset and the reason.

use std::io;

pub type Result<T> = std::result::Result<T, ImageError>;

/// An image that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("{file}: {call}: {source}")]
    Io { file: String, call: &'static str, source: io::Error },
    #[error("{file}: offset {offset}: {reason}")]
    Corrupt { file: String, offset: u64, reason: String },
    /// Values of which no image can be made.
    #[error("{what}: {reason}")]
    Invalid { what: String, reason: String },
    #[error("{file}: missing")]
    Missing { file: String },
}
