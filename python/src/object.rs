//! The sink that makes Python objects: dicts, lists, integers and strings, as `json` would read them from the text.

use std::io::{self, Write};

use criu_images::json::{Sink, base64_into};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::build::Builder;

pub struct Objects<'py> {
    py: Python<'py>,
    pretty: bool,
    payloads: bool,
    objects: Builder<'py>,
    /// Text under construction.
    text: Vec<u8>,
}

impl<'py> Objects<'py> {
    pub fn new(py: Python<'py>, pretty: bool, payloads: bool) -> Self {
        Objects { py, pretty, payloads, objects: Builder::new(py), text: Vec::new() }
    }

    /// What was made, or why Python could not make it.
    pub fn finish(self) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.objects.finish()
    }
}

impl Sink for Objects<'_> {
    fn pretty(&self) -> bool {
        self.pretty
    }

    fn payloads(&self) -> bool {
        self.payloads
    }

    fn can_start_over(&self) -> bool {
        true
    }

    fn start_over(&mut self) {
        self.objects.clear();
    }

    #[inline]
    fn open(&mut self, bracket: u8) {
        match bracket {
            b'{' => self.objects.open_dict(),
            _ => self.objects.open_list(),
        }
    }

    #[inline]
    fn close(&mut self, _bracket: u8, _empty: bool) {
        self.objects.close();
    }

    #[inline]
    fn next(&mut self, _first: bool) -> io::Result<()> {
        if self.objects.has_failed() { Err(io::Error::other("Python refused an object")) } else { Ok(()) }
    }

    #[inline]
    fn key(&mut self, name: &'static str) {
        self.objects.key(name);
    }

    fn unknown_key(&mut self, number: u32) {
        self.objects.other_key(&format!("#{number}"));
    }

    #[inline]
    fn unsigned(&mut self, value: u64) {
        self.objects.unsigned(value);
    }

    #[inline]
    fn signed(&mut self, value: i64) {
        self.objects.signed(value);
    }

    fn hex(&mut self, negative: bool, value: u64) {
        self.text.clear();
        let sign = if negative { "-" } else { "" };
        // Writing to memory does not fail.
        let _ = write!(self.text, "{sign}{value:#x}");
        self.objects.ascii(&self.text);
    }

    fn bool(&mut self, value: bool) {
        self.objects.bool(value);
    }

    fn label(&mut self, text: &str) {
        self.objects.text(text);
    }

    fn name(&mut self, text: &'static str) {
        self.objects.name(text);
    }

    fn string(&mut self, bytes: &[u8]) -> io::Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.objects.text(text),
            Err(_) => {
                let bytes = PyBytes::new(self.py, bytes);
                match PyString::from_encoded_object(&bytes, Some(c"utf-8"), Some(c"surrogateescape")) {
                    Ok(text) => self.objects.object(text.into_any()),
                    Err(e) => self.objects.fail(e),
                }
            }
        }
        Ok(())
    }

    fn base64(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.clear();
        base64_into(bytes, &mut self.text);
        self.objects.ascii(&self.text);
        Ok(())
    }

    fn fixed(&mut self, bits: u32, value: u64) {
        self.objects.open_dict();
        self.objects.other_key(&format!("fixed{bits}"));
        self.objects.unsigned(value);
        self.objects.close();
    }
}
