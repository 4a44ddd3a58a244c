//! Images as JSON and back, in the forms that the reference image tool prints.
//!
//! `{"magic": "CORE", "entries": [...]}`: each entry is an object of the fields that are present, by ascending number;
//! bytes are base64, enums go by name, and what follows an entry in the file stands in its `extra`. The pretty form is
//! indented by 4 and honours the display options of the .proto files (hexadecimal numbers, flags by name, addresses,
//! `major:minor`); the compact one is a single line of plain numbers. Both are read back to the same bytes.
//!
//! What JSON cannot say is said so that nothing is lost: a field unknown to the schema stands under `#` and its number,
//! an enum value without a name is a number, and a byte of a string that is not UTF-8 is a lone surrogate
//! (`\udc80` to `\udcff`).

mod base64;
mod decode;
mod encode;
mod extra_decode;
mod extra_encode;
mod fields;
pub(crate) mod names;
mod parse;
mod print;
mod quoted;
mod sink;
mod tree;
mod values;

use std::io::Write;

pub use decode::{count, decode, walk, walk_message};
pub use encode::{Encoder, encode, encode_message};
pub use parse::{Data, Value, parse};
pub use print::print;
pub use sink::{Sink, base64_into, base64_text, size_text};
pub use tree::Tree;

use crate::error::Result;

/// How an image is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Indented by 4 spaces, values as their display options say.
    Pretty,
    /// On one line, numbers as numbers.
    Compact,
}

/// The JSON of an image in memory; `file` names it in errors.
///
/// # Errors
///
/// As [`decode()`].
pub fn decode_to_string(file: &str, image: &[u8], form: Form) -> Result<String> {
    let mut out = Vec::new();
    decode(file, image, form, &mut out)?;
    // Only ASCII is ever printed.
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The size of a base64 or JSON piece is written out before the next one is made.
const FLUSH_BYTES: usize = 64 << 10;

fn flush(out: &mut Vec<u8>, to: &mut dyn Write) -> std::io::Result<()> {
    to.write_all(out)?;
    out.clear();
    Ok(())
}
