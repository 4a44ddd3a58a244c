//! What is read: a named file, or standard input.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};

use criu_images::ImageError;
use criu_images::kind::Kind;

use crate::failure::{Failure, Result};

/// A file's bytes and the name it has in errors.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Input {
    /// The named file; standard input for none and for `-`.
    pub(crate) fn read(path: Option<&OsStr>) -> Result<Input> {
        match path.filter(|p| *p != "-") {
            Some(path) => {
                let name = path.to_string_lossy().into_owned();
                let bytes = fs::read(path).map_err(|source| Failure::Read { file: name.clone(), source })?;
                Ok(Input { name, bytes })
            }
            None => {
                let (name, mut bytes) = ("standard input".to_owned(), Vec::new());
                let read = io::stdin().lock().read_to_end(&mut bytes);
                read.map_err(|source| Failure::Read { file: name.clone(), source })?;
                Ok(Input { name, bytes })
            }
        }
    }

    /// The failure of a walk over this file; one that is no image at all is told from one that is damaged.
    pub(crate) fn failure(&self, error: ImageError) -> Failure {
        let word = |at: usize| self.bytes.get(at..at + 4).and_then(|w| Some(u32::from_le_bytes(w.try_into().ok()?)));
        match (&error, word(0)) {
            (ImageError::Corrupt { offset: 0, .. }, Some(magic)) if Kind::by_magic(magic).is_none() => {
                Failure::Magic { file: self.name.clone(), magic }
            }
            _ => error.into(),
        }
    }
}
