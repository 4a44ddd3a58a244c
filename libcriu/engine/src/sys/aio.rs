//! Contexts of asynchronous I/O (io_setup) of this process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::mapping::Mapped;

/// The kernel's `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Event([u64; 4]);

/// The kernel's `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: u32,
}

const PREAD: u16 = 0;
/// Requests given, or completions taken, by one call.
pub const BATCH: usize = 64;

/// A context, known by the address of its ring. It stays when this is dropped.
#[derive(Debug)]
pub struct Context(u64);

impl Context {
    /// # Errors
    /// EAGAIN: all contexts together would have more requests than fs.aio-max-nr; ENOSYS: a kernel without CONFIG_AIO.
    ///
    /// # References
    /// io_setup(2)
    pub fn set_up(requests: u32) -> io::Result<Context> {
        let mut id: libc::c_ulong = 0;
        // SAFETY: `id` is a writable aio_context_t with the value 0 that io_setup asks for.
        match unsafe { libc::syscall(libc::SYS_io_setup, requests, &raw mut id) } {
            0 => Ok(Context(id)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The first `len` bytes of its ring, which has a page at least.
    pub fn ring(&self, len: u64) -> Mapped {
        Mapped::inherited(self.0, len)
    }

    /// Moves the ring, `place.len()` bytes, to where this process has reserved room, and with it the context's name.
    ///
    /// # References
    /// mremap(2), MREMAP_FIXED
    pub fn move_to(&mut self, place: Mapped) -> io::Result<()> {
        place.take(&self.ring(place.len()), 0)?;
        self.0 = place.start();
        Ok(())
    }

    /// Gives `count` (at most [`BATCH`]) requests to read nothing from `file`, a regular one, so that they are complete when this
    /// returns; tells how many were taken.
    ///
    /// # Errors
    /// EAGAIN: the ring has no room for any.
    ///
    /// # References
    /// io_submit(2)
    pub fn read_nothing(&self, file: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
        let mut request = Request { opcode: PREAD, fd: file.as_raw_fd() as u32, ..Request::default() };
        let list = [&raw mut request; BATCH];
        // SAFETY: `list` has pointers to a request that lives as long as the call, at whose end all that were taken are done.
        let taken = unsafe { libc::syscall(libc::SYS_io_submit, self.0, count.min(BATCH), list.as_ptr()) };
        usize::try_from(taken).map_err(|_| io::Error::last_os_error())
    }

    /// Takes up to `count` (at most [`BATCH`]) completions out of the ring, without waiting for any.
    ///
    /// # References
    /// io_getevents(2)
    pub fn take(&self, count: usize) -> io::Result<usize> {
        let mut events = [Event::default(); BATCH];
        let wait = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let count = count.min(BATCH);
        // SAFETY: `events` has room for `count`, `wait` lives as long as the call.
        let taken =
            unsafe { libc::syscall(libc::SYS_io_getevents, self.0, 0, count, events.as_mut_ptr(), &raw const wait) };
        usize::try_from(taken).map_err(|_| io::Error::last_os_error())
    }

    /// # References
    /// io_destroy(2)
    pub fn destroy(self) -> io::Result<()> {
        // SAFETY: of a context of this process's own; its ring, to which no reference points, is unmapped.
        match unsafe { libc::syscall(libc::SYS_io_destroy, self.0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
