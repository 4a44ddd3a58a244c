//! Making of dicts, lists, integers and strings by Python's C interface itself: what a binding does around each call would
//! cost as much as the call. All `unsafe` of this crate is here.
//!
//! Objects are `Owned` (a reference of ours) or borrowed from what the builder keeps until it is dropped: keys, names and
//! small integers, which are made once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ptr::{self, NonNull};

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A new object, or null when Python has raised an exception instead.
type Made = *mut ffi::PyObject;
type Object = NonNull<ffi::PyObject>;

/// Integers below it are kept.
const SMALL: usize = 1024;

/// A tree of objects under construction.
pub struct Builder<'py> {
    py: Python<'py>,
    open: Vec<Open>,
    /// Owned elements of the lists that are open, the innermost last.
    elements: Vec<Object>,
    whole: Option<Bound<'py, PyAny>>,
    /// Owned, by where the text is.
    names: HashMap<(usize, usize), Object, BuildHasherDefault<Spread>>,
    small: Vec<Made>,
    failed: Option<PyErr>,
}

/// A dict (owned) with the key of its next value, which is owned or borrowed; a list with where its elements start.
enum Open {
    Dict { dict: Object, key: Made, key_is_owned: bool },
    List(usize),
}

impl<'py> Builder<'py> {
    pub fn new(py: Python<'py>) -> Self {
        Builder {
            py,
            open: Vec::new(),
            elements: Vec::new(),
            whole: None,
            names: HashMap::default(),
            small: vec![ptr::null_mut(); SMALL],
            failed: None,
        }
    }

    /// What was made, or why Python could not make it.
    pub fn finish(mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(self.whole.take()),
        }
    }

    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    pub fn fail(&mut self, error: PyErr) {
        self.failed.get_or_insert(error);
    }

    pub fn open_dict(&mut self) {
        // SAFETY: the interpreter is attached, as `self.py` says; so it is in all that follows.
        let dict = unsafe { ffi::PyDict_New() };
        let Some(dict) = self.made(dict) else { return };
        self.open.push(Open::Dict { dict, key: ptr::null_mut(), key_is_owned: false });
    }

    pub fn open_list(&mut self) {
        self.open.push(Open::List(self.elements.len()));
    }

    /// Ends the innermost dict or list and puts it into the one around it.
    pub fn close(&mut self) {
        match self.open.pop() {
            Some(Open::Dict { dict, key, key_is_owned }) => {
                release_key(key, key_is_owned);
                self.put_owned(dict.as_ptr());
            }
            Some(Open::List(start)) => {
                let list = list_of(self.elements.drain(start..));
                self.put_owned(list);
            }
            None => {}
        }
    }

    /// Empties the innermost dict.
    pub fn clear(&mut self) {
        if let Some(Open::Dict { dict, .. }) = self.open.last() {
            // SAFETY: a dict of ours.
            unsafe { ffi::PyDict_Clear(dict.as_ptr()) };
        }
    }

    /// The key of the next value: a name of the schema.
    #[inline]
    pub fn key(&mut self, name: &'static str) {
        if let Some(object) = self.named(name) {
            self.set_key(object, false);
        }
    }

    /// The key of the next value.
    pub fn other_key(&mut self, name: &str) {
        if let Some(key) = self.made(text_of(name.as_bytes())) {
            self.set_key(key, true);
        }
    }

    #[inline]
    fn set_key(&mut self, object: Object, owned: bool) {
        if let Some(Open::Dict { key, key_is_owned, .. }) = self.open.last_mut() {
            release_key(*key, *key_is_owned);
            (*key, *key_is_owned) = (object.as_ptr(), owned);
        } else if owned {
            release(object);
        }
    }

    #[inline]
    pub fn unsigned(&mut self, value: u64) {
        let kept = if value < SMALL as u64 { Some(value as usize) } else { None };
        if let Some(&object) = kept.and_then(|at| self.small.get(at)).filter(|object| !object.is_null()) {
            return self.put_borrowed(object);
        }
        // SAFETY: see `open_dict`.
        let object = unsafe { ffi::PyLong_FromUnsignedLongLong(value) };
        match kept.and_then(|at| self.small.get_mut(at)) {
            Some(slot) if !object.is_null() => {
                *slot = object;
                self.put_borrowed(object);
            }
            _ => self.put_owned(object),
        }
    }

    #[inline]
    pub fn signed(&mut self, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.unsigned(value),
            // SAFETY: see `open_dict`.
            Err(_) => self.put_owned(unsafe { ffi::PyLong_FromLongLong(value) }),
        }
    }

    pub fn bool(&mut self, value: bool) {
        // SAFETY: see `open_dict`; True and False are always there.
        self.put_borrowed(unsafe { if value { ffi::Py_True() } else { ffi::Py_False() } });
    }

    /// A string that is UTF-8.
    pub fn text(&mut self, text: &str) {
        self.put_owned(text_of(text.as_bytes()));
    }

    /// A string of ASCII.
    pub fn ascii(&mut self, text: &[u8]) {
        debug_assert!(text.is_ascii());
        self.put_owned(text_of(text));
    }

    /// A string of the schema.
    pub fn name(&mut self, name: &'static str) {
        if let Some(object) = self.named(name) {
            self.put_borrowed(object.as_ptr());
        }
    }

    /// An object that was made elsewhere.
    pub fn object(&mut self, object: Bound<'py, PyAny>) {
        self.put_owned(object.into_ptr());
    }

    /// The string of a name, borrowed.
    #[inline]
    fn named(&mut self, name: &'static str) -> Option<Object> {
        let at = (name.as_ptr() as usize, name.len());
        if let Some(&object) = self.names.get(&at) {
            return Some(object);
        }
        let object = NonNull::new(PyString::intern(self.py, name).into_ptr())?;
        self.names.insert(at, object);
        Some(object)
    }

    /// Puts an object of which we have a reference, and gives that up.
    #[inline]
    fn put_owned(&mut self, object: Made) {
        let Some(object) = self.made(object) else { return };
        match self.open.last_mut() {
            Some(Open::Dict { dict, key, .. }) => {
                let done = set_item(*dict, *key, object);
                release(object);
                self.check(done);
            }
            Some(Open::List(_)) => self.elements.push(object),
            // SAFETY: an owned reference, see above.
            None => self.whole = Some(unsafe { Bound::from_owned_ptr(self.py, object.as_ptr()) }),
        }
    }

    /// Puts an object to which somebody else holds a reference.
    #[inline]
    fn put_borrowed(&mut self, object: Made) {
        let Some(object) = NonNull::new(object) else { return };
        if let Some(Open::Dict { dict, key, .. }) = self.open.last() {
            let done = set_item(*dict, *key, object);
            return self.check(done);
        }
        // SAFETY: the object is alive, as its holder is.
        unsafe { ffi::Py_IncRef(object.as_ptr()) };
        self.put_owned(object.as_ptr());
    }

    #[inline]
    fn made(&mut self, object: Made) -> Option<Object> {
        let object = NonNull::new(object);
        if object.is_none() {
            self.check(false);
        }
        object
    }

    /// Takes the exception when Python could not.
    #[inline]
    fn check(&mut self, done: bool) {
        if !done {
            let error = PyErr::take(self.py).unwrap_or_else(|| PyMemoryError::new_err(()));
            self.fail(error);
        }
    }
}

impl Drop for Builder<'_> {
    fn drop(&mut self) {
        for open in self.open.drain(..) {
            if let Open::Dict { dict, key, key_is_owned } = open {
                release_key(key, key_is_owned);
                release(dict);
            }
        }
        self.elements.drain(..).for_each(release);
        self.names.drain().for_each(|(_, name)| release(name));
        self.small.drain(..).filter_map(NonNull::new).for_each(release);
    }
}

/// Gives up a reference.
#[inline]
fn release(object: Object) {
    // SAFETY: called with references of ours, once each, while a `Builder` proves that the interpreter is attached.
    unsafe { ffi::Py_DecRef(object.as_ptr()) };
}

#[inline]
fn release_key(key: Made, owned: bool) {
    if let Some(key) = NonNull::new(key).filter(|_| owned) {
        release(key);
    }
}

#[inline]
fn set_item(dict: Object, key: Made, value: Object) -> bool {
    // SAFETY: all three are alive, the first is a dict; a value without a key is put nowhere.
    key.is_null() || unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key, value.as_ptr()) } == 0
}

fn text_of(text: &[u8]) -> Made {
    // SAFETY: as many bytes as the slice has, which Python copies.
    unsafe { ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as ffi::Py_ssize_t) }
}

/// A list of owned elements, which become its own.
fn list_of(elements: std::vec::Drain<'_, Object>) -> Made {
    // SAFETY: a new list of this length, each place of which is set once, before anybody else sees it.
    unsafe {
        let list = ffi::PyList_New(elements.len() as ffi::Py_ssize_t);
        for (i, element) in elements.enumerate() {
            if list.is_null() {
                release(element);
            } else {
                ffi::PyList_SetItem(list, i as ffi::Py_ssize_t, element.as_ptr());
            }
        }
        list
    }
}

/// Spreads addresses over a table.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_usize(usize::from(b)));
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.0 = (self.0 ^ value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}
