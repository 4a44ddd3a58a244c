//! Pipes and fifos: made, filled, and opened as often as they were.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use criu_images::messages::{FdTypes, FileEntry, PipeDataEntry, PipeEntry, RegFileEntry};
use criu_images::{ImageDir, Kind};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, fcntl_getfl, fcntl_setfl, fstat, openat};
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use super::MAX_PIPE_BYTES;
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::file::inherit::{Wanted, unfit_direction};
use crate::file::kind::RestoreKind;
use crate::file::load::{Plan, loading};
use crate::file::object::Object;
use crate::file::path::shown;
use crate::file::regular;

/// What F_SETFL may set on an end of a pipe; O_ASYNC comes with the owner.
const SETTABLE: OFlags = OFlags::NONBLOCK.union(OFlags::DIRECT).union(OFlags::APPEND).union(OFlags::NOATIME);

#[derive(Debug)]
struct Contents {
    size: Option<u32>,
    data: Vec<u8>,
    packets: Vec<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Pipes {
    contents: HashMap<Object, Contents>,
}

impl RestoreKind for Pipes {
    fn load(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        for (kind, fifo) in [(Kind::PipesData, false), (Kind::FifoData, true)] {
            let Some(mut image) = images.open(kind, 0).map_err(loading)? else { continue };
            while let Some(e) = image.entry::<PipeDataEntry>().map_err(loading)? {
                let size = e.size.unwrap_or(1 << 16);
                let told: u64 = e.packets.iter().map(|&n| u64::from(n)).sum();
                if size > MAX_PIPE_BYTES || e.bytes > size || (!e.packets.is_empty() && told != u64::from(e.bytes)) {
                    let why = format!("pipe {}: {} bytes cannot be in a pipe of {size}", e.pipe_id, e.bytes);
                    return Err(loading(image.corrupt(why)));
                }
                let data = image.payload(u64::from(e.bytes)).map_err(loading)?;
                let object = if fifo { Object::Fifo(e.pipe_id) } else { Object::Pipe(e.pipe_id) };
                self.contents.insert(object, Contents { size: e.size, data, packets: e.packets });
            }
        }
        for entry in plan.entries.values() {
            match entry.r#type() {
                FdTypes::Pipe if entry.pipe.is_none() => return Err(no_body(entry)),
                FdTypes::Fifo => drop(path_of(plan, entry)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn object(&self, entry: &FileEntry) -> Object {
        match (&entry.pipe, &entry.fifo) {
            (Some(pipe), _) => Object::Pipe(pipe.pipe_id),
            (_, Some(fifo)) => Object::Fifo(fifo.pipe_id),
            _ => Object::Alone(entry.id),
        }
    }

    fn open(&mut self, plan: &mut Plan, object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        match object {
            Object::Pipe(id) => self.open_pipe(plan, id, members),
            _ => self.open_fifo(plan, object, members),
        }
    }
}

impl Pipes {
    fn open_pipe(&mut self, plan: &Plan, id: u32, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let name = format!("pipe:[{id}]");
        let flags = members.iter().map(|m| m.pipe.as_ref().map(|p| p.flags).ok_or_else(|| no_body(m)));
        let flags = flags.collect::<Result<Vec<u32>>>()?;
        if let Some(inherited) = plan.inherited(&name, Wanted::Pipe)? {
            return flags.iter().map(|&f| end(inherited.as_fd(), f, &name)).collect();
        }
        let (reader, writer) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|e| Error::os(Phase::Files, &*name, "pipe2", e))?;
        self.fill(Object::Pipe(id), writer.as_fd(), &name)?;
        if let Some(pipe) = members.first().and_then(|m| m.pipe.as_ref()) {
            own(pipe, writer.as_fd()).map_err(|e| Error::os(Phase::Files, &*name, "fchown or fchmod", e))?;
        }
        let (mut reader, mut writer) = (Some(reader), Some(writer));
        let (r, w) = (reader.as_ref().map(AsRawFd::as_raw_fd), writer.as_ref().map(AsRawFd::as_raw_fd));
        let mut fds = Vec::new();
        for &f in &flags {
            // The two ends made by pipe2 serve the first that wants them, which saves opening them again.
            let made = match f & libc::O_ACCMODE as u32 {
                0 => reader.take(),
                1 => writer.take(),
                _ => None,
            };
            fds.push(match made {
                Some(fd) => fd,
                None => {
                    let other = if f & 1 == 0 { r } else { w }.or(r);
                    let other = other.ok_or_else(|| Error::new(Phase::Files, &*name, "has no end"))?;
                    reopen(other, f, &name)?
                }
            });
        }
        // Only now: F_SETFL on an end that was handed out must not disturb the opening of the others.
        for (fd, &f) in fds.iter().zip(&flags) {
            set_flags(fd, f, &name)?;
        }
        Ok(fds)
    }

    fn open_fifo(&mut self, plan: &Plan, object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let writes = |m: &&FileEntry| path_of(plan, m).is_ok_and(|r| r.flags & libc::O_ACCMODE as u32 != 0);
        let has_writer = members.iter().any(writes);
        let waits = |m: &FileEntry| !has_writer && m.fifo.as_ref().is_some_and(|f| f.no_hangup());
        let open = |m: &FileEntry| {
            let reg = path_of(plan, m)?;
            let fd = regular::open_path(plan, reg, reg.flags | libc::O_NONBLOCK as u32)?;
            set_flags(&fd, reg.flags, &shown(&reg.name)).map(|()| fd)
        };
        let Some(first) = members.first() else { return Ok(Vec::new()) };
        let reg = path_of(plan, first)?;
        // Reads and writes: nobody has to wait for a partner, and data has somewhere to stay.
        let both = regular::open_path(plan, reg, (libc::O_RDWR | libc::O_NONBLOCK) as u32)?;
        self.fill(object, both.as_fd(), &shown(&reg.name))?;
        let mut opened: HashMap<FileId, OwnedFd> = HashMap::new();
        for member in members.iter().filter(|m| !waits(m)) {
            opened.insert(member.id, open(member)?);
        }
        // Who is opened while there is a writer is told of its end.
        let _reader = regular::open_path(plan, reg, (libc::O_RDONLY | libc::O_NONBLOCK) as u32)?;
        drop(both);
        members.iter().map(|m| opened.remove(&m.id).map_or_else(|| open(m), Ok)).collect()
    }

    fn fill(&self, object: Object, writer: BorrowedFd<'_>, name: &str) -> Result<()> {
        let Some(contents) = self.contents.get(&object) else { return Ok(()) };
        let failed = |call: &str, e: rustix::io::Errno| Error::os(Phase::Files, name, call, e);
        if let Some(size) = contents.size.filter(|&s| s > 0) {
            let now = fcntl_getpipe_size(writer).map_err(|e| failed("fcntl F_GETPIPE_SZ", e))?;
            if now != size as usize {
                fcntl_setpipe_size(writer, size as usize).map_err(|e| {
                    failed(&format!("fcntl F_SETPIPE_SZ {size}"), e).hint("raise the sysctl fs.pipe-max-size")
                })?;
            }
        }
        let whole = [contents.data.len() as u32];
        let (lengths, mode) = match contents.packets.as_slice() {
            [] => (&whole[..], OFlags::NONBLOCK),
            packets => (packets, OFlags::NONBLOCK | OFlags::DIRECT),
        };
        fcntl_setfl(writer, mode).map_err(|e| failed("fcntl F_SETFL", e))?;
        let mut rest = contents.data.as_slice();
        for &len in lengths.iter().filter(|&&n| n > 0) {
            let (packet, after) = rest.split_at_checked(len as usize).unwrap_or((rest, &[]));
            let wrote = rustix::io::write(writer, packet).map_err(|e| failed("write", e))?;
            if wrote != packet.len() {
                let cause = format!("took only {wrote} of {} bytes of its data", packet.len());
                return Err(Error::new(Phase::Files, name, cause));
            }
            rest = after;
        }
        fcntl_setfl(writer, OFlags::empty()).map_err(|e| failed("fcntl F_SETFL", e))
    }
}

/// Makes the pipe's owner and permissions what they were: whoever opens it again (/dev/stdout) is measured by them.
fn own(pipe: &PipeEntry, end: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let stat = fstat(end)?;
    if (stat.st_uid, stat.st_gid) != (pipe.owner_uid(), pipe.owner_gid()) {
        fchown(end, Some(Uid::from_raw(pipe.owner_uid())), Some(Gid::from_raw(pipe.owner_gid())))?;
    }
    match pipe.mode {
        Some(mode) => fchmod(end, Mode::from_raw_mode(mode & 0o7777)),
        None => Ok(()),
    }
}

/// An end of an inherited pipe: a description of its own when the pipe can be opened that way, else, and of what stands in for
/// a pipe, a duplicate.
fn end(inherited: BorrowedFd<'_>, flags: u32, name: &str) -> Result<OwnedFd> {
    let failed = |call: &str, e: rustix::io::Errno| Error::os(Phase::Files, name, call, e);
    let file_type = fstat(inherited).map_err(|e| failed("fstat", e))?.st_mode & libc::S_IFMT;
    let given = fcntl_getfl(inherited).map_err(|e| failed("fcntl F_GETFL", e))?.bits() & libc::O_ACCMODE as u32;
    let unfit = unfit_direction(given, flags, name);
    if (file_type == libc::S_IFIFO || unfit.is_some() && file_type == libc::S_IFCHR)
        && let Ok(fd) = reopen(inherited.as_raw_fd(), flags, name)
    {
        return set_flags(&fd, flags, name).map(|()| fd);
    }
    match unfit {
        Some(e) => Err(e),
        None => inherited.try_clone_to_owned().map_err(|e| Error::os(Phase::Files, name, "dup", e)),
    }
}

fn reopen(fd: i32, flags: u32, name: &str) -> Result<OwnedFd> {
    let access = OFlags::from_bits_retain(flags & libc::O_ACCMODE as u32);
    let path = format!("/proc/self/fd/{fd}");
    openat(CWD, path, access | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .map_err(|e| Error::os(Phase::Files, name, "open", e))
}

fn set_flags(fd: &OwnedFd, flags: u32, name: &str) -> Result<()> {
    fcntl_setfl(fd, OFlags::from_bits_retain(flags) & SETTABLE)
        .map_err(|e| Error::os(Phase::Files, name, "fcntl F_SETFL", e))
}

fn path_of<'a>(plan: &'a Plan, entry: &FileEntry) -> Result<&'a RegFileEntry> {
    let fifo = entry.fifo.as_ref().ok_or_else(|| no_body(entry))?;
    let reg = fifo.regf_id.and_then(|id| plan.entries.get(&id)).and_then(|e| e.reg.as_deref());
    reg.ok_or_else(|| Error::new(Phase::Check, format!("file {} (fifo)", entry.id), "its path is not in files.img"))
}

fn no_body(entry: &FileEntry) -> Error {
    Error::new(Phase::Check, format!("file {}", entry.id), "its entry has no body")
}
