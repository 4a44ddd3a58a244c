//! What takes the values of an image while it is walked: JSON text, a tree, objects of another language.

use std::io;

use super::base64;

/// Takes values in the order in which they are printed. Keys come before their values; `next` before each element of an
/// object (before its key) and of a list.
pub trait Sink {
    /// Whether values come as their display options say.
    fn pretty(&self) -> bool;

    /// Whether the raw bytes behind entries are wanted; if not, [`Sink::payload_left_out`] tells their size.
    fn payloads(&self) -> bool {
        true
    }

    /// Whether [`Sink::start_over`] works.
    fn can_start_over(&self) -> bool {
        false
    }

    /// Takes back all that was put into the innermost open object.
    fn start_over(&mut self) {}

    /// Opens an object (`{`) or a list (`[`).
    fn open(&mut self, bracket: u8);

    /// Closes what was opened (`}`, `]`); `empty` when nothing was put into it.
    fn close(&mut self, bracket: u8, empty: bool);

    /// Another element, the first one or a later one.
    ///
    /// # Errors
    /// The sink takes no more; the walk ends with this error.
    fn next(&mut self, first: bool) -> io::Result<()>;

    /// The name of a field. It needs no escapes.
    fn key(&mut self, name: &'static str);

    /// The key of a field that the schema does not know: `#` and its number.
    fn unknown_key(&mut self, number: u32);

    fn unsigned(&mut self, value: u64);

    fn signed(&mut self, value: i64);

    /// A number as text, in hexadecimal.
    fn hex(&mut self, negative: bool, value: u64);

    fn bool(&mut self, value: bool);

    /// A name, flags, an address: printable ASCII that needs no escapes.
    fn label(&mut self, text: &str);

    /// A label out of the schema.
    fn name(&mut self, text: &'static str) {
        self.label(text);
    }

    /// A string; bytes that are not UTF-8 stand for lone low surrogates.
    ///
    /// # Errors
    /// As [`Sink::next`].
    fn string(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Bytes, shown as [`base64_text`].
    ///
    /// # Errors
    /// As [`Sink::next`].
    fn base64(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The value of an unknown field of 32 or 64 fixed bits.
    fn fixed(&mut self, bits: u32, value: u64);

    /// Stands where a payload of so many bytes was left out.
    fn payload_left_out(&mut self, bytes: u64) {
        self.label(&format!("... <{}>", size_text(bytes)));
    }
}

/// Takes everything and keeps nothing: a check.
pub(super) struct Nothing;

impl Sink for Nothing {
    fn pretty(&self) -> bool {
        false
    }
    fn can_start_over(&self) -> bool {
        true
    }
    fn open(&mut self, _: u8) {}
    fn close(&mut self, _: u8, _: bool) {}
    fn next(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }
    fn key(&mut self, _: &'static str) {}
    fn unknown_key(&mut self, _: u32) {}
    fn unsigned(&mut self, _: u64) {}
    fn signed(&mut self, _: i64) {}
    fn hex(&mut self, _: bool, _: u64) {}
    fn bool(&mut self, _: bool) {}
    fn label(&mut self, _: &str) {}
    fn string(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn base64(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn fixed(&mut self, _: u32, _: u64) {}
}

/// Base64 in lines of 76 characters, each ended by a newline.
pub fn base64_text(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    base64_into(bytes, &mut out);
    out
}

/// Appends [`base64_text`].
pub fn base64_into(bytes: &[u8], out: &mut Vec<u8>) {
    let lines = bytes.len().div_ceil(base64::LINE_BYTES);
    out.reserve(bytes.len().div_ceil(3) * 4 + lines);
    for line in bytes.chunks(base64::LINE_BYTES) {
        base64::encode_line(line, out);
        out.push(b'\n');
    }
}

/// A size people can read: `512B`, `4KiB`, `1.5MiB`.
pub fn size_text(bytes: u64) -> String {
    let (mut unit, mut scale) = ("B", 0);
    for (i, name) in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter().enumerate() {
        if bytes >> (10 * (i + 1)) > 0 {
            (unit, scale) = (name, 10 * (i + 1));
        }
    }
    let (whole, rest) = (bytes >> scale, bytes & ((1 << scale) - 1));
    let tenths = if scale == 0 { 0 } else { (rest * 10) >> scale };
    if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}.{tenths}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1536, "1.5KiB"), (u64::MAX, "15.9EiB")] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
