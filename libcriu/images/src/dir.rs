//! An images directory: opens its files for reading and creates them for writing.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use prost::Message;

use crate::error::{ImageError, Result};
use crate::kind::Kind;

pub(crate) const COMMON_MAGIC: u32 = 0x5456_4319;
pub(crate) const SERVICE_MAGIC: u32 = 0x5510_5940;

/// The longest entry that is believed; CRIU's own largest are a few megabytes (an mm with many areas).
pub const MAX_ENTRY_BYTES: u32 = 256 << 20;

/// An images directory, by descriptor.
#[derive(Debug)]
pub struct ImageDir {
    fd: OwnedFd,
}

impl ImageDir {
    pub fn new(fd: OwnedFd) -> Self {
        ImageDir { fd }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a file of the directory for reading; `None` when there is none.
    pub fn open_raw(&self, file: &str) -> Result<Option<File>> {
        match openat(self.fd.as_fd(), file, libc_flags::READ) {
            Ok(f) => Ok(Some(f)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ImageError::Io { file: file.to_owned(), call: "openat", source }),
        }
    }

    /// Creates (or truncates) a file of the directory, mode 0644, open for reading and writing.
    pub fn create_raw(&self, file: &str) -> Result<File> {
        openat(self.fd.as_fd(), file, libc_flags::CREATE)
            .map_err(|source| ImageError::Io { file: file.to_owned(), call: "openat", source })
    }

    /// Opens an image and checks its magics; `None` when the file does not exist.
    pub fn open(&self, kind: Kind, id: u64) -> Result<Option<ImageReader>> {
        let name = kind.file_name(id);
        match self.open_raw(&name)? {
            None => Ok(None),
            Some(file) => ImageReader::new(name, file, kind).map(Some),
        }
    }

    /// As `open`, a missing file being an error.
    pub fn require(&self, kind: Kind, id: u64) -> Result<ImageReader> {
        self.open(kind, id)?.ok_or_else(|| ImageError::Missing { file: kind.file_name(id) })
    }

    /// Reads every entry of an image whose entries carry no payload; an absent image has none.
    pub fn read_all<M: Message + Default>(&self, kind: Kind, id: u64) -> Result<Vec<M>> {
        let mut entries = Vec::new();
        if let Some(mut image) = self.open(kind, id)? {
            while let Some(e) = image.entry()? {
                entries.push(e);
            }
        }
        Ok(entries)
    }

    /// Reads the single entry of an image that must exist.
    pub fn read_one<M: Message + Default>(&self, kind: Kind, id: u64) -> Result<M> {
        let mut image = self.require(kind, id)?;
        image.entry()?.ok_or_else(|| image.corrupt("the image holds no entry"))
    }

    /// Creates an image and writes its magics.
    pub fn create(&self, kind: Kind, id: u64) -> Result<ImageWriter> {
        let name = kind.file_name(id);
        let file = self.create_raw(&name)?;
        let mut w = ImageWriter { name, out: BufWriter::new(file) };
        match kind {
            Kind::Inventory => w.raw(&kind.magic().to_le_bytes())?,
            k if k.magic() == 0 => {}
            k => {
                let first = if k.is_service() { SERVICE_MAGIC } else { COMMON_MAGIC };
                w.raw(&first.to_le_bytes())?;
                w.raw(&k.magic().to_le_bytes())?;
            }
        }
        Ok(w)
    }

    /// Writes an image of one entry.
    pub fn write_one<M: Message>(&self, kind: Kind, id: u64, entry: &M) -> Result<()> {
        let mut w = self.create(kind, id)?;
        w.entry(entry)?;
        w.finish()
    }
}

mod libc_flags {
    pub(super) const READ: rustix::fs::OFlags = rustix::fs::OFlags::RDONLY;
    pub(super) const CREATE: rustix::fs::OFlags =
        rustix::fs::OFlags::RDWR.union(rustix::fs::OFlags::CREATE).union(rustix::fs::OFlags::TRUNC);
}

fn openat(dir: BorrowedFd<'_>, file: &str, flags: rustix::fs::OFlags) -> std::io::Result<File> {
    let name = CString::new(file)?;
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let fd = rustix::fs::openat(dir, &name, flags | rustix::fs::OFlags::CLOEXEC, mode)?;
    Ok(File::from(fd))
}

/// Writes entries and payloads of one image.
#[derive(Debug)]
pub struct ImageWriter {
    name: String,
    out: BufWriter<File>,
}

impl ImageWriter {
    /// Appends an entry: its length, then the message.
    pub fn entry<M: Message>(&mut self, entry: &M) -> Result<()> {
        let bytes = entry.encode_to_vec();
        let len = u32::try_from(bytes.len()).ok().filter(|&n| n <= MAX_ENTRY_BYTES).ok_or_else(|| {
            ImageError::Corrupt { file: self.name.clone(), offset: 0, reason: format!("an entry of {} bytes", bytes.len()) }
        })?;
        self.raw(&len.to_le_bytes())?;
        self.raw(&bytes)
    }

    /// Appends bytes as they are: the payload of the entry before.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all(bytes)
            .map_err(|source| ImageError::Io { file: self.name.clone(), call: "write", source })
    }

    /// Writes out what is buffered. An image is complete only after this.
    pub fn finish(mut self) -> Result<()> {
        self.out.flush().map_err(|source| ImageError::Io { file: self.name, call: "write", source })
    }
}

/// Reads entries and payloads of one image, never more than the file holds.
#[derive(Debug)]
pub struct ImageReader {
    name: String,
    file: std::io::BufReader<File>,
    size: u64,
    at: u64,
}

impl ImageReader {
    fn new(name: String, file: File, kind: Kind) -> Result<Self> {
        let size = file
            .metadata()
            .map_err(|source| ImageError::Io { file: name.clone(), call: "fstat", source })?
            .len();
        let mut r = ImageReader { name, file: std::io::BufReader::new(file), size, at: 0 };
        if kind.magic() == 0 {
            return Ok(r);
        }
        let mut magic = r.u32()?;
        // Version 1 images, like the inventory, start with the type's own magic.
        if magic == if kind.is_service() { SERVICE_MAGIC } else { COMMON_MAGIC } {
            magic = r.u32()?;
        }
        if magic != kind.magic() {
            r.at = 0;
            return Err(r.corrupt(format!("magic {magic:#x} is not that of {kind} ({:#x})", kind.magic())));
        }
        Ok(r)
    }

    /// The next entry; `None` at the end of the file.
    pub fn entry<M: Message + Default>(&mut self) -> Result<Option<M>> {
        if self.at == self.size {
            return Ok(None);
        }
        let len = self.u32()?;
        if len > MAX_ENTRY_BYTES {
            return Err(self.corrupt(format!("an entry of {len} bytes is larger than any image may hold")));
        }
        let start = self.at;
        let bytes = self.payload(u64::from(len))?;
        M::decode(bytes.as_slice()).map(Some).map_err(|e| {
            self.at = start;
            self.corrupt(format!("not a valid entry: {e}"))
        })
    }

    /// The next `len` raw bytes.
    pub fn payload(&mut self, len: u64) -> Result<Vec<u8>> {
        if len > self.size - self.at {
            return Err(self.corrupt(format!("{len} bytes are announced, {} are left", self.size - self.at)));
        }
        // Bounded by the file's size, which was checked just above.
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| self.corrupt("too long for this machine"))?];
        self.file
            .read_exact(&mut bytes)
            .map_err(|source| ImageError::Io { file: self.name.clone(), call: "read", source })?;
        self.at += len;
        Ok(bytes)
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.size - self.at
    }

    /// An error that names this file and the offset reached.
    pub fn corrupt(&self, reason: impl Into<String>) -> ImageError {
        ImageError::Corrupt { file: self.name.clone(), offset: self.at, reason: reason.into() }
    }

    fn u32(&mut self) -> Result<u32> {
        let b = self.payload(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
}

impl AsRawFd for ImageDir {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}
