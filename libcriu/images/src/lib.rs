//! Checkpoint images and RPC messages: types, magics, bounded readers and writers, and the JSON form.

/// The messages of every image and of the RPC protocol, compiled from `proto/`.
#[allow(clippy::all, missing_docs)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/_.rs"));
}

pub mod dir;
pub mod error;
pub mod kind;

pub use dir::{ImageDir, ImageReader, ImageWriter};
pub use error::{ImageError, Result};
pub use kind::Kind;
