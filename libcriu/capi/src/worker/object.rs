//! The ELF object that holds this code, as the dynamic loader mapped it.

use std::ffi::CString;

use crate::ffi;

/// What is needed to execute the object again.
#[derive(Debug)]
pub(crate) struct Object {
    /// The mapping of its first segment, in whole pages.
    pub(crate) first_segment: (usize, usize),
    /// The loader it names; programs do, libraries that can be executed do.
    pub(crate) loader: Option<CString>,
    /// It is the program itself.
    pub(crate) is_program: bool,
}

impl Object {
    pub(crate) fn own() -> Option<Self> {
        ffi::find_object(Object::own as fn() -> Option<Self> as usize)
    }

    /// Whether this is libcriu.so, not a program (or another library) that libcriu.a was linked into.
    pub(crate) fn is_executable_library(&self) -> bool {
        self.loader.is_some() && !self.is_program
    }
}
