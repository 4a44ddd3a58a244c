//! Pipes and fifos: entries, and unread data without taking it out.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::{FdTypes, FifoEntry, FileEntry, PipeDataEntry, PipeEntry};
use criu_images::{ImageDir, Kind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{fcntl_dupfd_cloexec, ioctl_fionread, read};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, tee};

use crate::error::{Error, Phase, Result};
use crate::file::collect::{Collected, saving};
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;
use crate::file::{FileId, regular};
use crate::mem::pages::PagesIds;

const DIRECT: u32 = libc::O_DIRECT as u32;

#[derive(Debug)]
struct Pipe {
    id: u32,
    fifo: bool,
    pid: i32,
    object: String,
    /// An end of the tree that reads.
    reader: Option<OwnedFd>,
    /// An end of the tree that writes.
    writer: Option<OwnedFd>,
    /// An end writes packets (O_DIRECT).
    packets: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Pipes {
    pipes: Vec<Pipe>,
    by_inode: HashMap<(u64, u64), usize>,
    ids: HashMap<u32, ()>,
}

impl DumpKind for Pipes {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.file_type() == libc::S_IFIFO && !seen.is_o_path()
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let fifo = !seen.link.starts_with(b"pipe:[");
        let pipe_id = self.know(seen, fifo)?;
        if !fifo {
            let stat = &seen.stat;
            let pipe = PipeEntry {
                id,
                pipe_id,
                flags: seen.info.flags,
                fown: seen.fown,
                owner_uid: Some(stat.st_uid).filter(|&uid| uid != 0),
                owner_gid: Some(stat.st_gid).filter(|&gid| gid != 0),
                mode: Some(stat.st_mode & 0o7777).filter(|&mode| mode != 0o600),
            };
            return Ok(FileEntry { r#type: FdTypes::Pipe as i32, id, pipe: Some(pipe.into()), ..FileEntry::default() });
        }
        let regf_id = common.new_id();
        let reg = regular::entry(seen, regf_id, common)?;
        common.entries.push(FileEntry {
            r#type: FdTypes::Reg as i32,
            id: regf_id,
            reg: Some(reg.into()),
            ..FileEntry::default()
        });
        let no_hangup = Some(has_no_hangup(seen)?).filter(|&none| none);
        let fifo = FifoEntry { id, pipe_id, regf_id: Some(regf_id), no_hangup };
        Ok(FileEntry { r#type: FdTypes::Fifo as i32, id, fifo: Some(fifo.into()), ..FileEntry::default() })
    }

    fn save(&mut self, _common: &Collected, images: &ImageDir, _ids: &mut PagesIds) -> Result<()> {
        for pipe in self.pipes.iter().filter(|p| !p.fifo && p.ends_outside()) {
            log::warn!(
                "pid {} {}: its other end is outside the tree; a restore without --inherit-fd brings it back closed",
                pipe.pid,
                pipe.object
            );
        }
        let mut scratch = Scratch::default();
        for (fifo, kind) in [(false, Kind::PipesData), (true, Kind::FifoData)] {
            let mut image = None;
            for pipe in self.pipes.iter().filter(|p| p.fifo == fifo) {
                let Some(reader) = &pipe.reader else { continue };
                if image.is_none() {
                    image = Some(images.create(kind, 0).map_err(saving)?);
                }
                let Some(image) = &mut image else { continue };
                let (size, data, packets) = scratch.copy(pipe, reader)?;
                let entry = PipeDataEntry { pipe_id: pipe.id, bytes: data.len() as u32, size: Some(size), packets };
                image.entry(&entry).map_err(saving)?;
                image.raw(&data).map_err(saving)?;
            }
            if let Some(image) = image {
                image.finish().map_err(saving)?;
            }
        }
        Ok(())
    }
}

impl Pipe {
    /// Is the other side open, but nowhere in the tree?
    fn ends_outside(&self) -> bool {
        let (end, closed) = match (&self.reader, &self.writer) {
            (Some(reader), None) => (reader, PollFlags::HUP),
            (None, Some(writer)) => (writer, PollFlags::ERR),
            _ => return false,
        };
        let mut fds = [PollFd::new(end, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).is_ok() && !fds[0].revents().contains(closed)
    }
}

impl Pipes {
    /// Remembers the pipe behind an end; answers its id in the images.
    fn know(&mut self, seen: &Seen<'_>, fifo: bool) -> Result<u32, Unsaved> {
        let key = (seen.stat.st_dev, seen.stat.st_ino);
        let at = match self.by_inode.get(&key) {
            Some(&at) => at,
            None => {
                // Inode numbers of fifos may be longer, or agree on two file systems.
                let mut id = seen.stat.st_ino as u32;
                while self.ids.insert(id, ()).is_some() {
                    id = id.wrapping_add(1);
                }
                let object = seen.object();
                self.pipes.push(Pipe {
                    id,
                    fifo,
                    pid: seen.holder_pid,
                    object,
                    reader: None,
                    writer: None,
                    packets: false,
                });
                self.by_inode.insert(key, self.pipes.len() - 1);
                self.pipes.len() - 1
            }
        };
        let pipe = &mut self.pipes[at];
        let writes_only = seen.info.flags & libc::O_ACCMODE as u32 == libc::O_WRONLY as u32;
        if !writes_only && pipe.reader.is_none() {
            let dup = fcntl_dupfd_cloexec(&seen.dup, 0).map_err(|e| Unsaved::os(seen, "dup", e))?;
            pipe.reader = Some(dup);
        }
        let reads_only = seen.info.flags & libc::O_ACCMODE as u32 == libc::O_RDONLY as u32;
        if !reads_only && pipe.writer.is_none() {
            let dup = fcntl_dupfd_cloexec(&seen.dup, 0).map_err(|e| Unsaved::os(seen, "dup", e))?;
            pipe.writer = Some(dup);
        }
        pipe.packets |= seen.info.flags & DIRECT != 0 && seen.info.flags & libc::O_ACCMODE as u32 != 0;
        Ok(pipe.id)
    }
}

/// Whether a description that only reads is told of no end (POLLHUP): it has a writer, or waits for the first.
fn has_no_hangup(seen: &Seen<'_>) -> Result<bool, Unsaved> {
    if seen.info.flags & libc::O_ACCMODE as u32 != libc::O_RDONLY as u32 {
        return Ok(false);
    }
    let mut fds = [PollFd::new(&*seen.dup, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).map_err(|e| Unsaved::os(seen, "poll", e))?;
    Ok(!fds[0].revents().contains(PollFlags::HUP))
}

/// A pipe of our own that contents are copied through.
#[derive(Debug, Default)]
struct Scratch {
    ends: Option<(OwnedFd, OwnedFd)>,
    size: usize,
}

impl Scratch {
    /// The pipe's size, its unread bytes and, of a pipe that is written in packets, their lengths.
    fn copy(&mut self, pipe: &Pipe, reader: &OwnedFd) -> Result<(u32, Vec<u8>, Vec<u32>)> {
        let failed = |call: &str, e: rustix::io::Errno| Error::os(Phase::Save, &*pipe.object, call, e).pid(pipe.pid);
        let size = fcntl_getpipe_size(reader).map_err(|e| failed("fcntl F_GETPIPE_SZ", e))?;
        let bytes = ioctl_fionread(reader).map_err(|e| failed("ioctl FIONREAD", e))? as usize;
        if bytes == 0 {
            return Ok((size as u32, Vec::new(), Vec::new()));
        }
        let (out, into) = match &mut self.ends {
            Some(ends) => ends,
            none => none.insert(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|e| failed("pipe2", e))?),
        };
        if self.size < size {
            self.size = fcntl_setpipe_size(into.as_fd(), size).map_err(|e| failed("fcntl F_SETPIPE_SZ", e))?;
        }
        // tee looks at whole buffers: as many bytes as there could be, not as were counted.
        let copied = tee(reader, into.as_fd(), size.max(bytes), SpliceFlags::NONBLOCK).map_err(|e| failed("tee", e))?;
        let mut data = vec![0; copied];
        let (mut at, mut packets) = (0, Vec::new());
        while at < copied {
            let got = read(out.as_fd(), &mut data[at..]).map_err(|e| failed("read", e))?;
            packets.push(got as u32);
            at += got;
        }
        if copied != bytes {
            let cause = format!("only {copied} of {bytes} unread bytes could be copied");
            return Err(Error::new(Phase::Save, &*pipe.object, cause).pid(pipe.pid));
        }
        if !pipe.packets && packets.len() == 1 {
            packets.clear();
        }
        Ok((size as u32, data, packets))
    }
}
