//! The sink that makes Python objects: dicts, lists, integers and strings, as `json` would read them from the text.

use std::io;

use criu_images::json::{Sink, base64_text};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyString};

/// Keys are made once: how many slots remember them.
const SLOTS: usize = 1024;

pub struct Objects<'py> {
    py: Python<'py>,
    pretty: bool,
    payloads: bool,
    open: Vec<Open<'py>>,
    whole: Option<Bound<'py, PyAny>>,
    keys: Vec<Option<(&'static str, Bound<'py, PyString>)>>,
    failed: Option<PyErr>,
}

enum Open<'py> {
    Dict(Bound<'py, PyDict>, Option<Bound<'py, PyString>>),
    List(Bound<'py, PyList>),
}

impl<'py> Objects<'py> {
    pub fn new(py: Python<'py>, pretty: bool, payloads: bool) -> Self {
        let keys = std::iter::repeat_with(|| None).take(SLOTS).collect();
        Objects { py, pretty, payloads, open: Vec::new(), whole: None, keys, failed: None }
    }

    /// What was made, or why Python could not make it.
    pub fn finish(self) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.failed.map_or(Ok(self.whole), Err)
    }

    fn put(&mut self, object: Bound<'py, PyAny>) {
        let done = match self.open.last_mut() {
            Some(Open::Dict(dict, key)) => match key.take() {
                Some(key) => dict.set_item(key, object),
                None => Ok(()),
            },
            Some(Open::List(list)) => list.append(object),
            None => {
                self.whole = Some(object);
                Ok(())
            }
        };
        if let Err(e) = done {
            self.failed.get_or_insert(e);
        }
    }

    fn put_key(&mut self, name: Bound<'py, PyString>) {
        if let Some(Open::Dict(_, key)) = self.open.last_mut() {
            *key = Some(name);
        }
    }

    fn put_integer<T: IntoPyObject<'py, Target = pyo3::types::PyInt, Output = Bound<'py, pyo3::types::PyInt>>>(
        &mut self,
        value: T,
    ) {
        if let Ok(object) = value.into_pyobject(self.py) {
            self.put(object.into_any());
        }
    }
}

impl Sink for Objects<'_> {
    fn pretty(&self) -> bool {
        self.pretty
    }

    fn payloads(&self) -> bool {
        self.payloads
    }

    fn open(&mut self, bracket: u8) {
        self.open.push(match bracket {
            b'{' => Open::Dict(PyDict::new(self.py), None),
            _ => Open::List(PyList::empty(self.py)),
        });
    }

    fn close(&mut self, _bracket: u8, _empty: bool) {
        match self.open.pop() {
            Some(Open::Dict(dict, _)) => self.put(dict.into_any()),
            Some(Open::List(list)) => self.put(list.into_any()),
            None => {}
        }
    }

    fn next(&mut self, _first: bool) -> io::Result<()> {
        match self.failed {
            Some(_) => Err(io::Error::other("Python refused an object")),
            None => Ok(()),
        }
    }

    fn key(&mut self, name: &'static str) {
        let at = name.as_ptr() as usize;
        let slot = &mut self.keys[(at ^ at >> 10) % SLOTS];
        let key = match slot {
            Some((known, key)) if std::ptr::eq(*known, name) => key.clone(),
            _ => {
                let key = PyString::intern(self.py, name);
                *slot = Some((name, key.clone()));
                key
            }
        };
        self.put_key(key);
    }

    fn unknown_key(&mut self, number: u32) {
        let key = PyString::new(self.py, &format!("#{number}"));
        self.put_key(key);
    }

    fn unsigned(&mut self, value: u64) {
        self.put_integer(value);
    }

    fn signed(&mut self, value: i64) {
        self.put_integer(value);
    }

    fn hex(&mut self, negative: bool, value: u64) {
        let sign = if negative { "-" } else { "" };
        self.label(&format!("{sign}{value:#x}"));
    }

    fn bool(&mut self, value: bool) {
        self.put(PyBool::new(self.py, value).to_owned().into_any());
    }

    fn label(&mut self, text: &str) {
        let text = PyString::new(self.py, text);
        self.put(text.into_any());
    }

    fn string(&mut self, bytes: &[u8]) -> io::Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.label(text),
            Err(_) => {
                let bytes = PyBytes::new(self.py, bytes);
                match PyString::from_encoded_object(&bytes, Some(c"utf-8"), Some(c"surrogateescape")) {
                    Ok(text) => self.put(text.into_any()),
                    Err(e) => drop(self.failed.get_or_insert(e)),
                }
            }
        }
        Ok(())
    }

    fn base64(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Base64 is ASCII.
        self.label(&String::from_utf8(base64_text(bytes)).unwrap_or_default());
        Ok(())
    }

    fn fixed(&mut self, bits: u32, value: u64) {
        let dict = PyDict::new(self.py);
        if let Err(e) = dict.set_item(format!("fixed{bits}"), value) {
            self.failed.get_or_insert(e);
        }
        self.put(dict.into_any());
    }
}
