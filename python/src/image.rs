//! Images and messages as Python objects, and back.

use criu_images::ImageError;
use criu_images::json::{self, Encoder};
use criu_images::kind::Kind;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::object::Objects;
use crate::{error, value};

/// From this size on, collecting garbage in between would only cost time.
const LARGE_BYTES: usize = 64 << 10;

/// The object of an image in memory; `name` stands in errors.
#[pyfunction]
pub fn load<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyBytes>,
    name: &str,
    pretty: bool,
    payloads: bool,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let bytes = image.as_bytes();
    let paused = if bytes.len() >= LARGE_BYTES { pause_collector(py)? } else { None };
    let mut objects = Objects::new(py, pretty, payloads);
    let walked = json::walk(name, bytes, &mut objects);
    let made = objects.finish();
    if let Some(collector) = paused {
        collector.call_method0("enable")?;
    }
    // An exception says more than the walk that it ended.
    let made = made?;
    walked.map_err(|e| recognised(py, bytes, name, e))?;
    Ok(made)
}

/// Stops the garbage collector if it runs. Nobody else does meanwhile: the interpreter stays locked.
fn pause_collector(py: Python<'_>) -> PyResult<Option<Bound<'_, PyModule>>> {
    let collector = py.import("gc")?;
    if !collector.call_method0("isenabled")?.is_truthy()? {
        return Ok(None);
    }
    collector.call_method0("disable")?;
    Ok(Some(collector.into_any().cast_into()?))
}

/// The image that an object stands for.
#[pyfunction]
pub fn dump<'py>(py: Python<'py>, image: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyBytes>> {
    let lacks = |what: &str| error::invalid(py, "image", &format!("it has no {what:?}"));
    let magic = image.get_item("magic")?.ok_or_else(|| lacks("magic"))?;
    let entries = image.get_item("entries")?.ok_or_else(|| lacks("entries"))?;
    let magic = magic.cast::<PyString>().map_err(|_| PyTypeError::new_err("an image's magic is a name"))?.to_cow()?;
    let mut encoder = Encoder::new(&magic).map_err(|e| error::image(py, e))?;
    for (i, entry) in entries.try_iter()?.enumerate() {
        let entry = value::of(&entry?, 0)?;
        encoder.entry(&entry).map_err(|e| match e {
            ImageError::Invalid { reason, .. } => error::invalid(py, &format!("{magic} entry {i}"), &reason),
            other => error::image(py, other),
        })?;
    }
    Ok(PyBytes::new(py, &encoder.finish()))
}

/// The magic's name and the number of entries.
#[pyfunction]
pub fn count(py: Python<'_>, image: &Bound<'_, PyBytes>, name: &str) -> PyResult<(&'static str, u64)> {
    let bytes = image.as_bytes();
    let counted = py.detach(|| json::count(name, bytes));
    counted.map(|(kind, n)| (kind.name(), n)).map_err(|e| recognised(py, bytes, name, e))
}

/// The magic number of an image and its name, if any image has it; `None` for less than four bytes.
#[pyfunction]
pub fn identify(image: &[u8]) -> Option<(u32, Option<&'static str>)> {
    magic_of(image).map(|magic| (magic, Kind::by_magic(magic).map(Kind::name)))
}

/// The magics by name; raw files have 0.
#[pyfunction]
pub fn magics() -> Vec<(&'static str, u32)> {
    Kind::all().map(|k| (k.name(), k.magic())).collect()
}

/// The object of a message in wire format.
#[pyfunction]
pub fn message_dict<'py>(
    py: Python<'py>,
    name: &str,
    bytes: &Bound<'py, PyBytes>,
    pretty: bool,
    hex: bool,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut objects = Objects::new(py, pretty, true);
    let walked = json::walk_message(name, bytes.as_bytes(), hex, &mut objects);
    let made = objects.finish()?;
    walked.map_err(|e| error::image(py, e))?;
    Ok(made)
}

/// The wire format of the message that an object stands for.
#[pyfunction]
pub fn message_bytes<'py>(py: Python<'py>, name: &str, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = json::encode_message(name, &value::of(object, 0)?).map_err(|e| error::image(py, e))?;
    Ok(PyBytes::new(py, &bytes))
}

/// The first word that is not one of those that only say "an image follows".
fn magic_of(image: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?));
    match word(0)? {
        lead @ (0x5456_4319 | 0x5510_5940) => Some(word(4).unwrap_or(lead)),
        magic => Some(magic),
    }
}

/// A file that is no image at all is told from one that is damaged.
fn recognised(py: Python<'_>, bytes: &[u8], name: &str, e: ImageError) -> PyErr {
    match magic_of(bytes) {
        Some(magic) if Kind::by_magic(magic).is_none() => error::unknown_magic(py, name, magic),
        _ => error::image(py, e),
    }
}
