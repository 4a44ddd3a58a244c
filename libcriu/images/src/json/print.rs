//! The sink that writes JSON text: indentation, numbers, strings. Only ASCII comes out.

use std::io::{self, Write};

use super::parse::{Data, Value};
use super::sink::Sink;
use super::{FLUSH_BYTES, Form, base64, flush};
use crate::error::{ImageError, Result};

/// Writes JSON to `to`, holding no more than a piece of it.
pub(super) struct Printer<'w> {
    out: Vec<u8>,
    to: &'w mut dyn Write,
    pretty: bool,
    indent: usize,
}

impl<'w> Printer<'w> {
    pub fn new(form: Form, to: &'w mut dyn Write) -> Self {
        Printer { out: Vec::with_capacity(FLUSH_BYTES + 4096), to, pretty: form == Form::Pretty, indent: 0 }
    }

    pub fn finish(mut self) -> io::Result<()> {
        flush(&mut self.out, self.to)
    }

    #[inline]
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    #[inline]
    fn newline(&mut self) {
        if self.pretty {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + self.indent, b' ');
        }
    }

    fn char(&mut self, c: char) {
        match c {
            '"' => self.text("\\\""),
            '\\' => self.text("\\\\"),
            '\n' => self.text("\\n"),
            '\r' => self.text("\\r"),
            '\t' => self.text("\\t"),
            '\u{8}' => self.text("\\b"),
            '\u{c}' => self.text("\\f"),
            ' '..='~' => self.out.push(c as u8),
            _ => {
                for &unit in c.encode_utf16(&mut [0; 2]).iter() {
                    self.unit(unit);
                }
            }
        }
    }

    fn value(&mut self, value: &Value<'_>) -> io::Result<()> {
        match &value.data {
            Data::Null => self.text("null"),
            Data::Bool(value) => self.bool(*value),
            Data::Number(digits) => self.out.extend_from_slice(digits),
            Data::Integer(value) => self.text(&value.to_string()),
            Data::String(text) => self.string(text)?,
            Data::List(values) => {
                self.open(b'[');
                for (i, value) in values.iter().enumerate() {
                    self.next(i == 0)?;
                    self.value(value)?;
                }
                self.close(b']', values.is_empty());
            }
            Data::Object(members) => {
                self.open(b'{');
                for (i, (name, value)) in members.iter().enumerate() {
                    self.next(i == 0)?;
                    self.string(name)?;
                    self.text(": ");
                    self.value(value)?;
                }
                self.close(b'}', members.is_empty());
            }
        }
        Ok(())
    }

    fn unit(&mut self, unit: u16) {
        self.text("\\u");
        for shift in [12, 8, 4, 0] {
            self.out.push(b"0123456789abcdef"[usize::from(unit >> shift & 15)]);
        }
    }
}

impl Sink for Printer<'_> {
    fn pretty(&self) -> bool {
        self.pretty
    }

    fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.indent += 4;
    }

    fn close(&mut self, bracket: u8, empty: bool) {
        self.indent -= 4;
        if !empty {
            self.newline();
        }
        self.out.push(bracket);
    }

    #[inline]
    fn next(&mut self, first: bool) -> io::Result<()> {
        if self.out.len() >= FLUSH_BYTES {
            flush(&mut self.out, self.to)?;
        }
        if !first {
            self.text(if self.pretty { "," } else { ", " });
        }
        self.newline();
        Ok(())
    }

    #[inline]
    fn key(&mut self, name: &'static str) {
        self.out.push(b'"');
        self.text(name);
        self.text("\": ");
    }

    #[inline]
    fn unsigned(&mut self, value: u64) {
        let mut digits = [0u8; 20];
        let (mut at, mut rest) = (digits.len(), value);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    fn signed(&mut self, value: i64) {
        if value < 0 {
            self.out.push(b'-');
        }
        self.unsigned(value.unsigned_abs());
    }

    #[inline]
    fn hex(&mut self, negative: bool, value: u64) {
        self.text(if negative { "\"-0x" } else { "\"0x" });
        let digits = (67 - value.leading_zeros().min(63)) / 4;
        for i in (0..digits).rev() {
            self.out.push(b"0123456789abcdef"[(value >> (4 * i) & 15) as usize]);
        }
        self.out.push(b'"');
    }

    fn unknown_key(&mut self, number: u32) {
        self.text(&format!("\"#{number}\": "));
    }

    fn label(&mut self, text: &str) {
        self.out.push(b'"');
        self.text(text);
        self.out.push(b'"');
    }

    fn fixed(&mut self, bits: u32, value: u64) {
        self.text(&format!("{{\"fixed{bits}\": {value}}}"));
    }

    fn bool(&mut self, value: bool) {
        self.text(if value { "true" } else { "false" });
    }

    /// Bytes as base64, each line ended by an escaped newline.
    fn base64(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.push(b'"');
        for line in bytes.chunks(base64::LINE_BYTES) {
            if self.out.len() >= FLUSH_BYTES {
                flush(&mut self.out, self.to)?;
            }
            base64::encode_line(line, &mut self.out);
            self.text("\\n");
        }
        self.out.push(b'"');
        Ok(())
    }

    /// A string: ASCII, other characters as `\uXXXX`, bytes that are no UTF-8 as lone low surrogates.
    fn string(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.push(b'"');
        for piece in bytes.utf8_chunks() {
            for c in piece.valid().chars() {
                self.char(c);
                if self.out.len() >= FLUSH_BYTES {
                    flush(&mut self.out, self.to)?;
                }
            }
            for &b in piece.invalid() {
                self.unit(0xdc00 + u16::from(b));
            }
        }
        self.out.push(b'"');
        Ok(())
    }
}

/// Prints values as JSON.
///
/// # Errors
/// [`ImageError::Io`] when `to` fails.
pub fn print(value: &Value<'_>, form: Form, to: &mut dyn Write) -> Result<()> {
    let mut printer = Printer::new(form, to);
    let printed = printer.value(value).and_then(|()| printer.finish());
    printed.map_err(|source| ImageError::Io { file: "JSON".to_owned(), call: "write", source })
}
