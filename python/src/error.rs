//! The one conversion of errors to exceptions. The classes are Python's own: `pycriu._errors`.

use criu_client::{Blocker, Code, Error};
use criu_images::ImageError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("pycriu._errors")?.getattr(name)
}

fn made(object: PyResult<Bound<'_, PyAny>>) -> PyErr {
    object.map_or_else(|e| e, PyErr::from_value)
}

/// The exception for an image that cannot be read or made.
pub fn image(py: Python<'_>, error: ImageError) -> PyErr {
    match error {
        ImageError::Io { file, call, source } => {
            let reason = format!("{call}: {source}");
            made(py.get_type::<pyo3::exceptions::PyOSError>().call1((source.raw_os_error().unwrap_or(0), reason, file)))
        }
        ImageError::Corrupt { file, offset, reason } => {
            made(class(py, "ImageError").and_then(|c| c.call1((file, offset, reason))))
        }
        ImageError::Invalid { what, reason } => invalid(py, &what, &reason),
        ImageError::Missing { file } => invalid(py, &file, "there is none of this name"),
    }
}

/// The exception for values of which no image can be made.
pub fn invalid(py: Python<'_>, what: &str, reason: &str) -> PyErr {
    made(class(py, "ImageError").and_then(|c| c.call1((what, py.None(), reason))))
}

/// The exception for magic bytes that belong to no image.
pub fn unknown_magic(py: Python<'_>, file: &str, magic: u32) -> PyErr {
    made(class(py, "MagicException").and_then(|c| c.call1((magic, file))))
}

/// The exception for an operation that failed: its class tells the kind, its attributes the rest.
pub fn operation(py: Python<'_>, error: Error) -> PyErr {
    let name = match error.code {
        Code::Blocked => "Blocked",
        Code::Options | Code::Argument => "OptionError",
        Code::NoProcess => "NoProcess",
        Code::PidTaken => "PidTaken",
        Code::Cancelled => "Cancelled",
        Code::Deadline => "DeadlineExceeded",
        Code::Connect | Code::Transport | Code::Protocol => "WorkerError",
        Code::Unsupported => "Unsupported",
        Code::Callback => "CallbackRefused",
        _ => "Error",
    };
    made(class(py, name).and_then(|class| {
        let fields = PyDict::new(py);
        fields.set_item("pid", error.pid)?;
        fields.set_item("phase", error.phase)?;
        fields.set_item("object", error.object)?;
        fields.set_item("cause", error.cause)?;
        fields.set_item("hint", error.hint)?;
        fields.set_item("errno", error.errno)?;
        fields.set_item("blockers", blockers(py, error.blockers)?)?;
        class.call((error.message,), Some(&fields))
    }))
}

/// The tuple of `pycriu.Blocker`s.
pub fn blockers<'py>(py: Python<'py>, blockers: Vec<Blocker>) -> PyResult<Bound<'py, PyTuple>> {
    let class = class(py, "Blocker")?;
    let made: PyResult<Vec<_>> =
        blockers.into_iter().map(|b| class.call1((b.pid, b.phase, b.object, b.cause, b.hint, b.errno))).collect();
    PyTuple::new(py, made?)
}
