//! Checkpoint images and RPC messages: types, magics, bounded readers and writers, and the JSON form.
//!
//! [`ImageDir`] opens and creates images; [`ImageReader`] and [`ImageWriter`] move typed entries ([`messages`]) and the raw
//! bytes that follow some of them; [`json`] prints an image and reads it back. What comes from a file is checked against
//! its size and against the .proto files before it is used; an error names file, offset and reason.

/// The messages of every image and of the RPC protocol, compiled from `proto/`.
#[allow(clippy::all, missing_docs)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/_.rs"));
}

pub mod dir;
pub mod error;
pub mod json;
pub mod kind;
mod layout;
pub mod options;
pub mod pages;
pub mod reader;
mod schema;
mod wire;
pub mod writer;

/// The compiled .proto files, as a `google.protobuf.FileDescriptorSet`.
pub static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub use dir::ImageDir;
pub use error::{ImageError, Result};
pub use kind::Kind;
pub use layout::PAGE_BYTES;
pub use pages::{PageFile, Pagemap};
pub use reader::ImageReader;
pub use writer::ImageWriter;
