//! Memory of a stopped task, through /proc/PID/mem: the kernel lets a tracer write where the task itself could not.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};

/// Open memory of one task.
#[derive(Debug)]
pub struct Memory {
    tid: i32,
    file: File,
}

impl Memory {
    /// Through a living thread: a dead leader has no memory any more.
    ///
    /// # Errors
    /// When /proc does not let us.
    pub fn open(pid: i32, tid: i32) -> Result<Memory> {
        let path = format!("/proc/{pid}/task/{tid}/mem");
        let file = OpenOptions::new().read(true).write(true).open(path);
        Ok(Memory { tid, file: file.map_err(|e| Error::os(tid, "opening /proc/PID/mem", e))? })
    }

    /// # Errors
    /// `EIO` where nothing is mapped.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(bytes, address).map_err(|e| Error::os(self.tid, "reading /proc/PID/mem", e))
    }

    /// # Errors
    /// `EIO` where nothing is mapped.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, address).map_err(|e| Error::os(self.tid, "writing /proc/PID/mem", e))
    }

    pub(crate) fn read_u64(&self, address: u64) -> Result<u64> {
        let mut word = [0; 8];
        self.read(address, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }
}

/// The bytes of plain integers in `repr(C)`.
///
/// # Safety
/// `T` has no padding and no pointers.
pub(crate) unsafe fn bytes_of<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: the slice covers exactly these values, which the caller vouches for to be initialised throughout.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The same to write into.
///
/// # Safety
/// `T` has no padding, no pointers, and every bit pattern is a value.
pub(crate) unsafe fn bytes_of_mut<T: Copy>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and whatever is written is a value.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}
