//! Python objects as the values that images are made of.

use std::borrow::Cow;

use criu_images::json::{Data, Value};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyList, PyString, PyTuple};

/// Messages are nested less deep; an object that holds itself is not followed for ever.
const MAX_DEPTH: usize = 210;

/// The value of a Python object.
///
/// # Errors
/// TypeError for an object that no image holds, ValueError for one nested too deeply or a number of more than 64 bits.
pub fn of(object: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value<'static>> {
    if depth > MAX_DEPTH {
        return Err(PyValueError::new_err(format!("objects are nested deeper than {MAX_DEPTH}")));
    }
    let data = if let Ok(text) = object.cast::<PyString>() {
        Data::String(Cow::Owned(bytes_of(text)?))
    } else if let Ok(value) = object.cast::<PyBool>() {
        Data::Bool(value.is_true())
    } else if let Ok(value) = object.cast::<PyInt>() {
        Data::Integer(integer(value)?)
    } else if let Ok(dict) = object.cast::<PyDict>() {
        let mut members = Vec::with_capacity(dict.len());
        for (key, value) in dict {
            let key = key.cast::<PyString>().map_err(|_| PyTypeError::new_err("the keys of an entry are strings"))?;
            members.push((Cow::Owned(bytes_of(key)?), of(&value, depth + 1)?));
        }
        Data::Object(members)
    } else if let Ok(list) = object.cast::<PyList>() {
        Data::List(list.iter().map(|v| of(&v, depth + 1)).collect::<PyResult<_>>()?)
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        Data::List(tuple.iter().map(|v| of(&v, depth + 1)).collect::<PyResult<_>>()?)
    } else if object.is_none() {
        Data::Null
    } else {
        return Err(PyTypeError::new_err(format!(
            "{} is nothing that an image holds: dict, list, str, int, bool (bytes are base64 strings)",
            object.get_type().name()?
        )));
    };
    Ok(Value::new(data))
}

fn integer(value: &Bound<'_, PyInt>) -> PyResult<i128> {
    let wide = value.extract::<i64>().map(i128::from).or_else(|_| value.extract::<u64>().map(i128::from));
    wide.map_err(|_| PyValueError::new_err(format!("{value} does not fit 64 bits")))
}

/// UTF-8, lone surrogates as the bytes they stand for.
fn bytes_of(text: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    match text.to_cow() {
        Ok(text) => Ok(text.into_owned().into_bytes()),
        Err(_) => text.call_method1("encode", ("utf-8", "surrogateescape"))?.extract(),
    }
}
