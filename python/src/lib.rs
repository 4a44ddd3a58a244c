//! `pycriu._native`: what of the Python package is Rust. A thin layer: images by `criu-images`, operations by
//! `criu-client`, the image tool by `criu-crit`; Python objects and exceptions are made here.

// One error a minute is a lot: its size does not matter, its fields do.
#![allow(clippy::result_large_err)]

mod build;
mod callbacks;
mod error;
mod image;
mod object;
mod operation;
mod value;
mod worker;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::image::{count, dump, identify, load, magics, message_bytes, message_dict};
    #[pymodule_export]
    use super::operation::{Canceller, Connection, run};
    #[pymodule_export]
    use super::tool::crit;
    #[pymodule_export]
    use super::worker::set_worker;

    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("descriptors", PyBytes::new(module.py(), criu_images::DESCRIPTORS))?;
        module.add("version", env!("CARGO_PKG_VERSION"))
    }
}

/// The image tool.
mod tool {
    use pyo3::prelude::*;
    use std::ffi::OsString;

    /// Runs `crit` with these arguments and returns its exit status.
    #[pyfunction]
    pub fn crit(py: Python<'_>, args: Vec<OsString>) -> u8 {
        py.detach(|| criu_crit::main(&args))
    }
}
