//! An images directory: opens its files for reading and creates them for writing.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use prost::{Message, Name};
use rustix::fs::{Mode, OFlags};

use crate::error::{ImageError, Result};
use crate::kind::Kind;
use crate::reader::ImageReader;
use crate::writer::ImageWriter;

/// The longest entry that is believed; the largest seen are a few megabytes (an mm with many areas).
pub const MAX_ENTRY_BYTES: u32 = 256 << 20;

/// The mode of every image, whatever the umask.
const MODE: Mode = Mode::from_bits_truncate(0o644);

/// An images directory, by descriptor.
#[derive(Debug)]
pub struct ImageDir {
    fd: OwnedFd,
    /// A new file of this directory has got the mode it was created with, so the next ones will.
    keeps_mode: AtomicBool,
}

impl ImageDir {
    /// The directory that this descriptor is open on.
    pub fn new(fd: OwnedFd) -> Self {
        ImageDir { fd, keeps_mode: AtomicBool::new(false) }
    }

    /// The directory's descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a file of the directory for reading; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`]; [`ImageError::Corrupt`] when it is no regular file.
    pub fn open_raw(&self, file: &str) -> Result<Option<File>> {
        Ok(self.open_sized(file)?.map(|(file, _)| file))
    }

    /// As [`Self::open_raw`], with its size.
    ///
    /// # Errors
    ///
    /// As [`Self::open_raw`].
    pub fn open_sized(&self, file: &str) -> Result<Option<(File, u64)>> {
        open_regular(self.fd.as_fd(), file)
    }

    /// The size of a file of the directory; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::open_raw`].
    pub fn size(&self, file: &str) -> Result<Option<u64>> {
        let name = CString::new(file).map_err(|e| failed(file, "stat", e.into()))?;
        let stat = match rustix::fs::statat(&self.fd, &name, rustix::fs::AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => other.map_err(|e| failed(file, "stat", e.into()))?,
        };
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(not_regular(file));
        }
        Ok(Some(stat.st_size as u64))
    }

    /// Creates (or truncates) a file of the directory, mode 0644, open for reading and writing. A symlink of that name
    /// is not followed.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn create_raw(&self, file: &str) -> Result<File> {
        let io = |call| move |source: std::io::Error| ImageError::Io { file: file.to_owned(), call, source };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let created = match openat(self.fd.as_fd(), file, flags | OFlags::EXCL) {
            Ok(new) if self.keeps_mode.load(Ordering::Relaxed) => return Ok(new),
            Ok(new) => {
                let mode = rustix::fs::fstat(&new).map_err(|e| io("fstat")(e.into()))?.st_mode;
                if Mode::from_raw_mode(mode) == MODE {
                    self.keeps_mode.store(true, Ordering::Relaxed);
                    return Ok(new);
                }
                new
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                openat(self.fd.as_fd(), file, flags | OFlags::TRUNC).map_err(io("openat"))?
            }
            Err(e) => return Err(io("openat")(e)),
        };
        // The umask may have taken bits away, or an earlier owner.
        rustix::fs::fchmod(&created, MODE).map_err(|e| io("fchmod")(e.into()))?;
        Ok(created)
    }

    /// Opens an image and checks its magics; `None` when the file does not exist, which means "none of that".
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`]; [`ImageError::Corrupt`] for a wrong magic.
    pub fn open(&self, kind: Kind, id: u64) -> Result<Option<ImageReader>> {
        self.open_named(kind, &kind.file_name(id))
    }

    /// As [`Self::open`], with the whole file name (`stats-dump`).
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_named(&self, kind: Kind, file: &str) -> Result<Option<ImageReader>> {
        self.open_sized(file)?.map(|(f, size)| ImageReader::new(file, f, size, kind)).transpose()
    }

    /// As [`Self::open`], a missing file being an error.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; [`ImageError::Missing`].
    pub fn require(&self, kind: Kind, id: u64) -> Result<ImageReader> {
        self.open(kind, id)?.ok_or_else(|| ImageError::Missing { file: kind.file_name(id) })
    }

    /// Reads every entry of an image whose entries carry no payload; an absent image has none.
    ///
    /// # Errors
    ///
    /// As [`ImageReader::entry`].
    pub fn read_all<M: Message + Default + Name>(&self, kind: Kind, id: u64) -> Result<Vec<M>> {
        let mut entries = Vec::new();
        if let Some(mut image) = self.open(kind, id)? {
            while let Some(e) = image.entry()? {
                entries.push(e);
            }
        }
        Ok(entries)
    }

    /// Reads the single entry of an image that must exist.
    ///
    /// # Errors
    ///
    /// As [`ImageReader::entry`]; when there is no entry, or more than one.
    pub fn read_one<M: Message + Default + Name>(&self, kind: Kind, id: u64) -> Result<M> {
        self.read_one_unless(kind, id, |_| None::<M>, |entry, _| entry)
    }

    /// As [`Self::read_one`], of an image whose contents may be known: `known` has made something of the same bytes before, or
    /// `make` does it now.
    ///
    /// # Errors
    ///
    /// As [`Self::read_one`].
    pub fn read_one_unless<M: Message + Default + Name, T>(
        &self,
        kind: Kind,
        id: u64,
        known: impl FnOnce(&[u8]) -> Option<T>,
        make: impl FnOnce(M, Vec<u8>) -> T,
    ) -> Result<T> {
        let mut image = self.require(kind, id)?;
        let bytes = image.encoded()?.ok_or_else(|| image.corrupt("the image holds no entry"))?;
        if let Some(known) = known(&bytes) {
            return image.end().map(|()| known);
        }
        let entry = image.decode(&bytes)?;
        image.end()?;
        Ok(make(entry, bytes))
    }

    /// Creates an image and writes its magics.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn create(&self, kind: Kind, id: u64) -> Result<ImageWriter> {
        self.create_named(kind, &kind.file_name(id))
    }

    /// As [`Self::create`], with the whole file name (`stats-dump`).
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn create_named(&self, kind: Kind, file: &str) -> Result<ImageWriter> {
        ImageWriter::new(file, self.create_raw(file)?, kind)
    }

    /// Writes an image of one entry.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn write_one<M: Message>(&self, kind: Kind, id: u64, entry: &M) -> Result<()> {
        let mut w = self.create(kind, id)?;
        w.entry(entry)?;
        w.finish()
    }

    /// As [`Self::write_one`], through a file of another name: the image is there whole or not at all.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`]; nothing is left then.
    pub fn write_one_atomically<M: Message>(&self, kind: Kind, id: u64, entry: &M) -> Result<()> {
        let name = kind.file_name(id);
        let part = format!("{name}.part");
        let written = self.create_named(kind, &part).and_then(|mut w| {
            w.entry(entry)?;
            w.finish()?;
            rustix::fs::renameat(&self.fd, &part, &self.fd, &name).map_err(|e| ImageError::Io {
                file: name.clone(),
                call: "renameat",
                source: e.into(),
            })
        });
        if written.is_err() {
            // What is wrong stands in the error; a part that was not even created is not there to be removed.
            let _ = self.remove(&part);
        }
        written
    }

    /// Removes all images of an earlier dump: those that the next one has no use for would be taken for its own.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn clear(&self) -> Result<()> {
        let io = |e: rustix::io::Errno| failed("images directory", "getdents", e.into());
        let mut old = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(io)? {
            let entry = entry.map_err(io)?;
            old.extend(entry.file_name().to_str().ok().filter(|name| Kind::is_of_image(name)).map(str::to_owned));
        }
        // A checkpoint without its inventory is none: that goes first.
        old.sort_by_key(|name| *name != Kind::Inventory.file_name(0));
        old.iter().try_for_each(|name| self.remove(name))
    }

    /// Removes a file of the directory, if it is there.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn remove(&self, file: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, file, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(e) => Err(ImageError::Io { file: file.to_owned(), call: "unlinkat", source: e.into() }),
        }
    }
}

/// Opens a file of the directory for reading. Images are regular files: another kind could block or never end.
fn failed(file: &str, call: &'static str, source: std::io::Error) -> ImageError {
    ImageError::Io { file: file.to_owned(), call, source }
}

fn not_regular(file: &str) -> ImageError {
    ImageError::Corrupt { file: file.to_owned(), offset: 0, reason: "not a regular file".into() }
}

fn open_regular(dir: BorrowedFd<'_>, file: &str) -> Result<Option<(File, u64)>> {
    let opened = match openat(dir, file, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| failed(file, "openat", e))?,
    };
    let stat = opened.metadata().map_err(|e| failed(file, "fstat", e))?;
    if !stat.is_file() {
        return Err(not_regular(file));
    }
    Ok(Some((opened, stat.len())))
}

fn openat(dir: BorrowedFd<'_>, file: &str, flags: OFlags) -> std::io::Result<File> {
    let name = CString::new(file)?;
    let fd = rustix::fs::openat(dir, &name, flags | OFlags::CLOEXEC, MODE)?;
    Ok(File::from(fd))
}

impl AsRawFd for ImageDir {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}
