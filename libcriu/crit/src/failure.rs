//! Why a command failed.

use std::io;

use criu_images::ImageError;

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A failed command, told on standard error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Wrong arguments.
    #[error("{0}")]
    Usage(String),
    #[error("{file}: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file}: cannot be written: {source}")]
    Write { file: String, source: io::Error },
    #[error("{file}: magic {magic:#x} is that of no image; a pages-*.img, for one, holds raw memory without any")]
    Magic { file: String, magic: u32 },
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Something about these very files.
    #[error("{0}")]
    Said(String),
}
