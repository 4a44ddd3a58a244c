//! Ghosts: which files are some, and their contents.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use criu_images::messages::{CriuOpts, GhostChunkEntry, GhostFileEntry, RemapFilePathEntry, RemapType, Timeval};
use criu_images::{ImageDir, ImageWriter, Kind};
use rustix::fs::{CWD, Mode, OFlags, SeekFrom, openat, readlinkat, seek};

use super::COPY_BYTES;
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::file::collect::saving;
use crate::file::kind::Unsaved;
use crate::file::path::shown;
use crate::file::seen::Seen;

#[derive(Debug)]
struct Ghost {
    id: u32,
    entry: GhostFileEntry,
    /// A description of our own to read the contents from; none for anything but a regular file.
    contents: Option<File>,
    size_bytes: u64,
    name: String,
}

/// The ghosts of a dump.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    ghosts: Vec<Ghost>,
    by_inode: HashMap<(u64, u64), u32>,
    remaps: Vec<RemapFilePathEntry>,
}

impl Ghosts {
    /// Takes in a file whose name `name` is gone; `id` is its entry's.
    pub(crate) fn remap(&mut self, seen: &Seen<'_>, id: FileId, name: &[u8], opts: &CriuOpts) -> Result<(), Unsaved> {
        let stat = &seen.stat;
        if stat.st_nlink > 0 && seen.file_type() != libc::S_IFDIR {
            let cause = format!("its name {} is gone, but it has {} other links", shown(name), stat.st_nlink);
            return Err(Unsaved::because(cause).hint("give it its name back; --link-remap is not supported yet"));
        }
        let key = (stat.st_dev, stat.st_ino);
        let ghost = match self.by_inode.get(&key) {
            Some(&ghost) => ghost,
            None => {
                let ghost = self.add(seen, name, opts)?;
                self.by_inode.insert(key, ghost);
                ghost
            }
        };
        let remap_type = Some(RemapType::Ghost as i32);
        self.remaps.push(RemapFilePathEntry { orig_id: id, remap_id: ghost, remap_type });
        Ok(())
    }

    fn add(&mut self, seen: &Seen<'_>, name: &[u8], opts: &CriuOpts) -> Result<u32, Unsaved> {
        let stat = &seen.stat;
        let size_bytes = stat.st_size as u64;
        let stored = size_bytes.min((stat.st_blocks as u64).saturating_mul(512));
        let limit = u64::from(opts.ghost_limit());
        let regular = seen.file_type() == libc::S_IFREG;
        if regular && stored > limit {
            let cause = format!("an unlinked file with {stored} bytes of contents, more than the limit of {limit}");
            return Err(Unsaved::because(cause).hint("raise the limit with --ghost-limit"));
        }
        let id = self.ghosts.len() as u32 + 1;
        let device = matches!(seen.file_type(), libc::S_IFCHR | libc::S_IFBLK);
        let symlnk_target = if seen.file_type() == libc::S_IFLNK {
            let target = readlinkat(&seen.dup, c"", Vec::new()).map_err(|e| Unsaved::os(seen, "readlinkat", e))?;
            Some(target.into_string().map_err(|_| Unsaved::because("a symbolic link whose target is not UTF-8"))?)
        } else {
            None
        };
        let contents = regular.then(|| reopen(seen)).transpose().map_err(|e| Unsaved::os(seen, "open", e))?;
        let entry = GhostFileEntry {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode,
            dev: Some(kernel_dev(stat.st_dev)),
            ino: Some(stat.st_ino),
            rdev: device.then(|| kernel_dev(stat.st_rdev)),
            atim: Some(timeval(stat.st_atime, stat.st_atime_nsec)),
            mtim: Some(timeval(stat.st_mtime, stat.st_mtime_nsec)),
            chunks: None,
            size: None,
            symlnk_target,
        };
        self.ghosts.push(Ghost { id, entry, contents: contents.map(File::from), size_bytes, name: shown(name) });
        Ok(id)
    }

    /// Writes `remap-fpath.img` and every ghost's image.
    pub(crate) fn save(&self, images: &ImageDir) -> Result<()> {
        if self.remaps.is_empty() {
            return Ok(());
        }
        let mut image = images.create(Kind::RemapFpath, 0).map_err(saving)?;
        for remap in &self.remaps {
            image.entry(remap).map_err(saving)?;
        }
        image.finish().map_err(saving)?;
        self.ghosts.iter().try_for_each(|g| g.save(images))
    }
}

impl Ghost {
    fn save(&self, images: &ImageDir) -> Result<()> {
        let failed =
            |call: &str, e: std::io::Error| Error::os(Phase::Save, format!("ghost file {}", self.name), call, e);
        let mut image = images.create(Kind::GhostFile, u64::from(self.id)).map_err(saving)?;
        let Some(file) = &self.contents else {
            image.entry(&self.entry).map_err(saving)?;
            return image.finish().map_err(saving);
        };
        let extents = extents(file, self.size_bytes).map_err(|e| failed("lseek", e))?;
        if extents == [(0, self.size_bytes)] || self.size_bytes == 0 {
            image.entry(&self.entry).map_err(saving)?;
            copy(file, 0, self.size_bytes, &mut image, failed)?;
        } else {
            let entry = GhostFileEntry { chunks: Some(true), size: Some(self.size_bytes), ..self.entry.clone() };
            image.entry(&entry).map_err(saving)?;
            for (off, len) in extents {
                image.entry(&GhostChunkEntry { len, off }).map_err(saving)?;
                copy(file, off, len, &mut image, failed)?;
            }
        }
        image.finish().map_err(saving)
    }
}

/// Parts that hold data, as (offset, length) in bytes.
fn extents(file: &File, size_bytes: u64) -> std::io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < size_bytes {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size_bytes);
        if end <= start {
            break;
        }
        found.push((start, end - start));
        at = end;
    }
    Ok(found)
}

fn copy(
    file: &File,
    start: u64,
    len: u64,
    image: &mut ImageWriter,
    failed: impl Fn(&str, std::io::Error) -> Error,
) -> Result<()> {
    let mut buf = vec![0; COPY_BYTES.min(len as usize)];
    let mut done = 0;
    while done < len {
        let want = buf.len().min((len - done) as usize);
        file.read_exact_at(&mut buf[..want], start + done).map_err(|e| failed("pread", e))?;
        image.raw(&buf[..want]).map_err(saving)?;
        done += want as u64;
    }
    Ok(())
}

/// A read-only description of our own of the same file: it may be read and sought without the task noticing.
pub(crate) fn reopen(seen: &Seen<'_>) -> std::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", seen.dup.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // O_NOATIME is for the owner and the privileged; without it a ghost's access time moves.
    match openat(CWD, &path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => Ok(openat(CWD, &path, flags, Mode::empty())?),
        other => Ok(other?),
    }
}

/// A device number as the kernel and the images have it: 12 bits major above 20 bits minor.
pub(crate) fn kernel_dev(dev: u64) -> u32 {
    (rustix::fs::major(dev) << 20) | (rustix::fs::minor(dev) & 0xf_ffff)
}

fn timeval(sec: i64, nsec: impl TryInto<u64>) -> Timeval {
    Timeval { tv_sec: sec as u64, tv_usec: nsec.try_into().unwrap_or(0) / 1000 }
}
