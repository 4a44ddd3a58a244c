//! Copies the bytes of runs of pages to a file, with two threads when there is much to copy.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Run;
use crate::error::{Error, Result};
use crate::mem::vma::PAGE_BYTES;
use crate::sys::memory::{MAX_RANGES, RemoteRange, process_vm_readv};

/// Where pages come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A task's memory; `mem` is its open /proc/PID/mem, which reads what the task itself cannot. `kin`: pages may be shared
    /// copy-on-write. process_vm_readv(2) pins what it reads, and the kernel gives a task its own copy of a shared page
    /// before it is pinned (since Linux 5.19): the dump would end the sharing. /proc/PID/mem does not pin.
    Task { pid: i32, mem: BorrowedFd<'a>, kin: bool },
    /// A file at the same offsets; behind its end stand zeros.
    File(BorrowedFd<'a>),
    /// As `File`; but behind its `end`, up to that of the page, stand these bytes, which only a mapping shows.
    Tailed { file: BorrowedFd<'a>, end: u64, tail: &'a [u8] },
}

/// What one thread copies at a time: fits a second-level cache.
const CHUNK_BYTES: usize = 512 << 10;
/// From here on a second thread pays.
pub const PARALLEL_BYTES: u64 = 4 << 20;

/// Ranges of the source whose bytes stand together in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    ranges: Vec<RemoteRange>,
    unreadable: bool,
    bytes: usize,
    offset: u64,
}

/// What failed, and whose fault it was.
#[derive(Debug)]
pub(super) enum CopyError {
    Read {
        address: u64,
        source: io::Error,
    },
    Write(io::Error),
    /// The operation was told to stop.
    Stopped(Error),
}

/// Asked between chunks whether to go on.
pub type GoOn<'a> = &'a mut dyn FnMut() -> Result<()>;

/// Copies all `runs` to `out`, back to back from offset 0; gives the number of bytes.
pub(super) fn copy(source: Source<'_>, runs: &[Run], out: BorrowedFd<'_>, go_on: GoOn<'_>) -> Result<u64, CopyError> {
    let total: u64 = runs.iter().map(|r| r.pages * PAGE_BYTES).sum();
    let mut chunks = Chunks { runs, run: 0, within: 0, offset: 0 };
    if total < PARALLEL_BYTES {
        let mut buffer = vec![0; CHUNK_BYTES.min(total as usize)];
        for chunk in chunks {
            copy_chunk(source, &chunk, &mut buffer, out)?;
        }
        return Ok(total);
    }
    // The second thread, which does not ask, may be through before this one has a turn.
    go_on().map_err(CopyError::Stopped)?;
    // The list is bounded: a chunk stands for half a megabyte, or for 1024 ranges.
    let list: Vec<Chunk> = chunks.by_ref().collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = |go_on: GoOn<'_>| {
        let mut buffer = vec![0; CHUNK_BYTES];
        while !failed.load(Ordering::Relaxed) {
            let Some(chunk) = list.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let done = go_on().map_err(CopyError::Stopped).and_then(|()| copy_chunk(source, chunk, &mut buffer, out));
            done.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|s| {
        // Without a second thread (a limit on tasks) one does it all.
        let second = std::thread::Builder::new().name("pages".into()).spawn_scoped(s, || work(&mut || Ok(()))).ok();
        let mine = work(go_on);
        let theirs = second.map_or(Ok(()), |t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
        mine.and(theirs)
    })?;
    Ok(total)
}

/// Cuts runs into chunks.
struct Chunks<'a> {
    runs: &'a [Run],
    run: usize,
    /// Bytes of the current run that are in chunks already.
    within: u64,
    offset: u64,
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let unreadable = self.runs.get(self.run)?.unreadable;
        let mut chunk = Chunk { ranges: Vec::new(), unreadable, bytes: 0, offset: self.offset };
        while let Some(run) = self.runs.get(self.run) {
            if run.unreadable != unreadable || chunk.ranges.len() == MAX_RANGES || chunk.bytes == CHUNK_BYTES {
                break;
            }
            let left = run.pages * PAGE_BYTES - self.within;
            let len = left.min((CHUNK_BYTES - chunk.bytes) as u64);
            chunk.ranges.push(RemoteRange { start: run.start + self.within, len: len as usize });
            chunk.bytes += len as usize;
            self.within += len;
            if len == left {
                self.run += 1;
                self.within = 0;
            }
        }
        self.offset += chunk.bytes as u64;
        Some(chunk)
    }
}

fn copy_chunk(source: Source<'_>, chunk: &Chunk, buffer: &mut [u8], out: BorrowedFd<'_>) -> Result<(), CopyError> {
    let buffer = &mut buffer[..chunk.bytes];
    match source {
        Source::Task { pid, mem, kin } => {
            let got =
                if chunk.unreadable || kin { 0 } else { process_vm_readv(pid, &chunk.ranges, buffer).unwrap_or(0) };
            if got < chunk.bytes {
                read_ranges(mem, &chunk.ranges, got, buffer, false)?;
            }
        }
        Source::File(file) => read_ranges(file, &chunk.ranges, 0, buffer, true)?,
        Source::Tailed { file, end, tail } => {
            read_ranges(file, &chunk.ranges, 0, buffer, true)?;
            let mut at = 0;
            for r in &chunk.ranges {
                if (r.start..r.start + r.len as u64).contains(&end) {
                    let from = at + (end - r.start) as usize;
                    buffer[from..from + tail.len()].copy_from_slice(tail);
                }
                at += r.len;
            }
        }
    }
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pwrite(out, &buffer[done..], chunk.offset + done as u64) {
            Ok(0) => return Err(CopyError::Write(io::ErrorKind::WriteZero.into())),
            Ok(n) => done += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(CopyError::Write(e.into())),
        }
    }
    Ok(())
}

/// Reads the ranges into the buffer, the first `skip` bytes being there already.
fn read_ranges(
    file: impl AsFd,
    ranges: &[RemoteRange],
    mut skip: usize,
    buffer: &mut [u8],
    may_end: bool,
) -> Result<(), CopyError> {
    let mut rest = buffer;
    for r in ranges {
        let (piece, tail) = rest.split_at_mut(r.len);
        rest = tail;
        let mut done = skip.min(r.len);
        skip -= done;
        while done < r.len {
            let address = r.start + done as u64;
            match rustix::io::pread(&file, &mut piece[done..], address) {
                Ok(0) if may_end => {
                    piece[done..].fill(0);
                    done = r.len;
                }
                Ok(0) => return Err(CopyError::Read { address, source: io::ErrorKind::UnexpectedEof.into() }),
                Ok(n) => done += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(CopyError::Read { address, source: e.into() }),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn run(start: u64, pages: u64) -> Run {
        Run { start, pages, flags: 4, unreadable: false }
    }

    #[test]
    fn chunks_cover_every_byte_once() {
        let runs = [run(0x1000, 3), run(0x10000, 300), Run { unreadable: true, ..run(0x900000, 1) }, run(0xa00000, 2)];
        let chunks: Vec<Chunk> = Chunks { runs: &runs, run: 0, within: 0, offset: 0 }.collect();
        let mut offset = 0;
        for c in &chunks {
            assert_eq!(c.offset, offset);
            assert!(c.bytes <= CHUNK_BYTES && c.bytes == c.ranges.iter().map(|r| r.len).sum::<usize>());
            offset += c.bytes as u64;
        }
        assert_eq!(offset, 306 * PAGE_BYTES);
        assert_eq!(chunks.iter().filter(|c| c.unreadable).count(), 1);
    }

    #[test]
    fn own_memory_by_two_threads() {
        let data: Vec<u8> = (0..12usize << 20).map(|i| (i / 7 + (i >> 12)) as u8).collect();
        let start = (data.as_ptr() as u64).next_multiple_of(PAGE_BYTES);
        let skip = (start - data.as_ptr() as u64) as usize;
        let runs = [run(start, 1), run(start + (2 << 12), 2000)];
        let out = std::fs::File::from(rustix::fs::memfd_create("out", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        let mem = std::fs::File::open("/proc/self/mem").unwrap();
        let source = Source::Task { pid: std::process::id() as i32, mem: mem.as_fd(), kin: false };
        assert_eq!(copy(source, &runs, out.as_fd(), &mut || Ok(())).unwrap(), 2001 << 12);
        let mut back = vec![0; 2001 << 12];
        out.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(back[..4096], data[skip..skip + 4096]);
        assert_eq!(back[4096..], data[skip + 8192..skip + 8192 + (2000 << 12)]);
    }
    #[test]
    fn stops_when_told() {
        let data = vec![1u8; 12 << 20];
        let start = (data.as_ptr() as u64).next_multiple_of(PAGE_BYTES);
        let out = std::fs::File::from(rustix::fs::memfd_create("out", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        let mem = std::fs::File::open("/proc/self/mem").unwrap();
        let source = Source::Task { pid: std::process::id() as i32, mem: mem.as_fd(), kin: false };
        let mut stop = || Err(Error::new(crate::error::Phase::Save, "the operation", "stopped"));
        let e = copy(source, &[run(start, 2000)], out.as_fd(), &mut stop).unwrap_err();
        assert!(matches!(e, CopyError::Stopped(e) if e.cause == "stopped"));
    }
}
