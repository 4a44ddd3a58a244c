//! What is registered with an instance: an eventfd, files, buffers. Found in the kernel's memory.

use std::io;

use criu_images::messages::{
    IoUringBufferEntry, IoUringBuffersEntry, IoUringEntry, IoUringFileEntry, IoUringFilesEntry,
};

use super::memory::Memory;
use super::record::Record;
use super::{MOST_BUFFERS, MOST_FILES};
use crate::file::seen::Seen;
use crate::file::table::open_files;
use crate::sys::kernel::{Address, Kernel};

/// What could not be found, in words that follow "an io_uring instance".
pub(super) type Refusal = String;

/// The kernel has marks of its own in the lower bits of a registered file's address.
const MARKS: u64 = 7;
/// Read from and written to: what buffers of programs are.
const BOTH_WAYS: u64 = 3;
const NODE: &str = "io_rsrc_node";

/// Adds to `uring` what is registered. Files go by their numbers in the task's table, as ids are not known yet.
///
/// # Errors
/// Outside, those of reading; inside, why it cannot be saved.
pub(super) fn find(record: &Record<'_>, seen: &Seen<'_>, uring: &mut IoUringEntry) -> io::Result<Result<(), Refusal>> {
    let (files, buffers) = (record.number("file_table.data.nr")? as u32, record.number("buf_table.nr")? as u32);
    let eventfd = record.number("io_ev_fd")?;
    if files > MOST_FILES || buffers > MOST_BUFFERS {
        return Ok(Err(format!("with {files} registered files and {buffers} buffers")));
    }
    let has_files = files > 0 || eventfd != 0;
    let open = if has_files { open_files(record.kernel, seen.task.pidfd)?.files } else { Vec::new() };
    if eventfd != 0
        && let Err(refusal) = find_eventfd(record.kernel, eventfd, &open, uring)?
    {
        return Ok(Err(refusal));
    }
    if files > 0 {
        match find_files(record, files, &open)? {
            Ok(files) => uring.files = Some(files),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    if buffers > 0 {
        match find_buffers(record, buffers, seen)? {
            Ok(buffers) => uring.buffers = Some(buffers),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(()))
}

fn find_eventfd(
    kernel: &Kernel,
    at: Address,
    open: &[(i32, Address)],
    uring: &mut IoUringEntry,
) -> io::Result<Result<(), Refusal>> {
    let context = kernel.number(at, "io_ev_fd", "cq_ev_fd")?;
    if kernel.number(at, "io_ev_fd", "ops.counter").unwrap_or(0) != 0 {
        return Ok(Err("that is about to signal its eventfd".into()));
    }
    for &(fd, file) in open {
        if kernel.number(file, "file", "private_data")? == context {
            uring.eventfd_id = Some(fd as u32);
            uring.eventfd_async = Some(kernel.number(at, "io_ev_fd", "eventfd_async")? != 0).filter(|is| *is);
            return Ok(Ok(()));
        }
    }
    Ok(Err("that signals an eventfd without a descriptor (IORING_REGISTER_EVENTFD)".into()))
}

/// The addresses in a table of the kernel's.
fn pointers(kernel: &Kernel, at: Address, count: u32) -> io::Result<Vec<Address>> {
    let mut bytes = vec![0; 8 * count as usize];
    kernel.read(at, &mut bytes)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|pointer| u64::from_le_bytes(*pointer)).collect())
}

fn tag(kernel: &Kernel, node: Address) -> io::Result<Option<u64>> {
    Ok(Some(kernel.number(node, NODE, "tag")?).filter(|tag| *tag != 0))
}

fn find_files(
    record: &Record<'_>,
    count: u32,
    open: &[(i32, Address)],
) -> io::Result<Result<IoUringFilesEntry, Refusal>> {
    let kernel = record.kernel;
    let mut files = Vec::new();
    for (place, node) in pointers(kernel, record.number("file_table.data.nodes")?, count)?.into_iter().enumerate() {
        if node == 0 {
            continue;
        }
        if kernel.number(node, NODE, "refs")? != 1 {
            return Ok(Err(format!("whose registered file {place} is in use")));
        }
        let file = kernel.number(node, NODE, "file_ptr")? & !MARKS;
        let Some((fd, _)) = open.iter().find(|(_, of)| *of == file) else {
            return Ok(Err(format!("whose registered file {place} has no descriptor (IORING_REGISTER_FILES)")));
        };
        files.push(IoUringFileEntry { place: place as u32, file_id: *fd as u32, tag: tag(kernel, node)? });
    }
    Ok(Ok(IoUringFilesEntry {
        count,
        files,
        first: record.number("file_alloc_start")? as u32,
        end: record.number("file_alloc_end")? as u32,
        next: record.number("file_table.alloc_hint")? as u32,
    }))
}

fn find_buffers(record: &Record<'_>, count: u32, seen: &Seen<'_>) -> io::Result<Result<IoUringBuffersEntry, Refusal>> {
    const BUFFER: &str = "io_mapped_ubuf";
    let kernel = record.kernel;
    let mut memory = None;
    let mut buffers = Vec::new();
    for (place, node) in pointers(kernel, record.number("buf_table.nodes")?, count)?.into_iter().enumerate() {
        if node == 0 {
            continue;
        }
        let at = kernel.number(node, NODE, "buf")?;
        let of = |member| kernel.number(at, BUFFER, member);
        let is_shared = kernel.number(node, NODE, "refs")? != 1 || of("refs.refs.counter")? != 1;
        if is_shared || of("is_kbuf")? != 0 || of("dir")? != BOTH_WAYS {
            return Ok(Err(format!(
                "whose registered buffer {place} is in use, another's too, or no program's memory"
            )));
        }
        let (address, bytes) = (of("ubuf")?, of("len")?);
        let memory = match &memory {
            Some(memory) => memory,
            None => memory.insert(Memory::of(kernel, seen.task.pid)?),
        };
        if !memory.shows(address, bytes, at)? {
            let why = "is not, or cannot be told to be, the memory of its process any more (IORING_REGISTER_BUFFERS)";
            return Ok(Err(format!("whose registered buffer {place} {why}")));
        }
        buffers.push(IoUringBufferEntry { place: place as u32, address, bytes, tag: tag(kernel, node)? });
    }
    Ok(Ok(IoUringBuffersEntry { count, buffers, pid: seen.task.vpid }))
}
