//! The worker that the package carries: where its file is, and what starts it.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use criu_client::{Image, Program, Transport};
use pyo3::prelude::*;
use rustix::fs::{CWD, Mode, OFlags};

static WORKER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Names the `libcriu.so.2` to execute; `None` for the `criu` command.
#[pyfunction]
#[pyo3(signature = (path))]
pub fn set_worker(path: Option<PathBuf>) {
    *WORKER.lock().unwrap_or_else(PoisonError::into_inner) = path;
}

/// The default transport.
pub fn transport() -> Transport {
    let named = WORKER.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    Transport::Worker(if named { Program::Found(find) } else { Program::Command })
}

fn find() -> io::Result<Image> {
    let path = WORKER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let path = path.ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let loader = interpreter(&File::open(&path).map_err(named)?).map_err(named)?;
    let file = rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    Ok(Image { file: file.map_err(|e| named(e.into()))?, loader })
}

const PT_INTERP: u32 = 3;
/// ELF64: where the program headers are, their size and number.
const E_PHOFF: usize = 32;
const E_PHENTSIZE: usize = 54;
const E_PHNUM: usize = 56;
const LONGEST_PATH: usize = 4096;

/// The dynamic loader that an ELF file names. An installer may take the file's permission to be executed away; the loader
/// starts it all the same.
fn interpreter(file: &File) -> io::Result<Option<CString>> {
    let mut head = [0u8; 64];
    file.read_exact_at(&mut head, 0)?;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Err(io::Error::new(ErrorKind::InvalidData, "not a 64-bit ELF file"));
    }
    let (size, number) = (u64::from(half(&head, E_PHENTSIZE)), u64::from(half(&head, E_PHNUM)));
    for i in 0..number {
        let mut entry = [0u8; 56];
        file.read_exact_at(&mut entry, double(&head, E_PHOFF).saturating_add(i * size))?;
        if entry[..4] == PT_INTERP.to_le_bytes() {
            let mut path = vec![0u8; usize::try_from(double(&entry, 32)).unwrap_or(LONGEST_PATH).min(LONGEST_PATH)];
            file.read_exact_at(&mut path, double(&entry, 8))?;
            path.retain(|&b| b != 0);
            return Ok(CString::new(path).ok());
        }
    }
    Ok(None)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn double(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}
