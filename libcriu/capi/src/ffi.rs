//! Everything unsafe of the C interface: conversions of pointers, errno, the panic boundary.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::ext::types::criu_error;
use crate::types::criu_notify_arg_t;
use crate::worker::Object;

pub(crate) mod rpc;

/// Runs the body of an export; a panic must not reach the caller's frames.
pub(crate) fn guard<R>(on_panic: impl FnOnce() -> R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| on_panic())
}

pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = errno };
}

/// Copies a string. NULL is EINVAL, bytes that are not UTF-8 are EILSEQ: messages carry text.
pub(crate) fn text(string: *const c_char) -> Result<String, c_int> {
    optional_text(string)?.ok_or(-libc::EINVAL)
}

/// Copies a string that may be NULL.
pub(crate) fn optional_text(string: *const c_char) -> Result<Option<String>, c_int> {
    if string.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL; the interface asks for a terminated string.
    let string = unsafe { CStr::from_ptr(string) };
    string.to_str().map(|s| Some(s.to_owned())).map_err(|_| -libc::EILSEQ)
}

/// Copies `count` strings.
pub(crate) fn texts(count: c_int, strings: *mut *mut c_char) -> Result<Vec<String>, c_int> {
    let count = usize::try_from(count).map_err(|_| -libc::EINVAL)?;
    if strings.is_null() && count > 0 {
        return Err(-libc::EINVAL);
    }
    // SAFETY: not NULL; the interface asks for an array of at least `count` pointers.
    (0..count).map(|i| text(unsafe { *strings.add(i) })).collect()
}

/// Reads what the caller owns; `None` for NULL.
pub(crate) fn read<T: Copy>(from: *const T) -> Option<T> {
    // SAFETY: not NULL; the interface asks for a valid object.
    (!from.is_null()).then(|| unsafe { from.read() })
}

/// Writes what the caller owns; false for NULL.
pub(crate) fn write<T>(to: *mut T, value: T) -> bool {
    if to.is_null() {
        return false;
    }
    // SAFETY: not NULL; the interface asks for room for one T.
    unsafe { to.write(value) };
    true
}

/// The pid in a notification that this library made, else 0.
pub(crate) fn notified_pid(na: criu_notify_arg_t) -> c_int {
    if na.is_null() {
        return 0;
    }
    // SAFETY: not NULL; the interface asks for the argument of the callback.
    let (has_pid, pid) = unsafe { ((*na).has_pid, (*na).pid) };
    if has_pid != 0 { pid } else { 0 }
}

/// Lets `change` work on the first `len` bytes of a caller's struct.
pub(crate) fn with_bytes<R>(at: *mut u8, len: usize, change: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
    // SAFETY: not NULL; the interface asks for `len` valid bytes, which nobody else uses during the call.
    (!at.is_null()).then(|| change(unsafe { std::slice::from_raw_parts_mut(at, len) }))
}

/// Copies `len` bytes of the caller's; `None` for NULL.
pub(crate) fn bytes(at: *const u8, len: usize) -> Option<Vec<u8>> {
    // SAFETY: not NULL; the interface asks for `len` valid bytes.
    (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at, len) }.to_vec())
}

/// A copy that the caller frees by `free`; NULL without memory.
pub(crate) fn for_caller(bytes: &[u8]) -> *mut u8 {
    // SAFETY: what malloc returns is NULL or has room for the bytes, and is nobody else's.
    unsafe {
        let room = libc::malloc(bytes.len().max(1)).cast::<u8>();
        if !room.is_null() {
            room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        room
    }
}

/// The number behind a C enum, which may be any.
pub(crate) fn number<E>(value: MaybeUninit<E>) -> c_uint {
    const { assert!(size_of::<E>() == size_of::<c_uint>()) };
    // SAFETY: same size (above), and C always passes an initialized one.
    unsafe { value.as_ptr().cast::<c_uint>().read() }
}

/// Takes over a descriptor that this process was started with.
pub(crate) fn inherited(fd: RawFd) -> Option<OwnedFd> {
    if fd < 3 {
        return None;
    }
    // SAFETY: fcntl touches no memory; the descriptor is open, and nothing else of this fresh process knows it.
    unsafe { (libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) == 0).then(|| OwnedFd::from_raw_fd(fd)) }
}

/// Closes every descriptor above 2 but `kept`: the one of the library file, when the loader was started with it.
pub(crate) fn close_others(kept: &OwnedFd) {
    let kept = kept.as_raw_fd() as c_uint;
    // SAFETY: the process is fresh: nothing of it holds another descriptor yet.
    unsafe {
        if kept > 3 {
            libc::syscall(libc::SYS_close_range, 3 as c_uint, kept - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, kept + 1, c_uint::MAX, 0);
    }
}

/// Opens /dev/null at those of the descriptors 0-2 that are closed, so that no file gets such a number.
pub(crate) fn fill_standard() {
    // SAFETY: touches no memory but a constant path; open takes the lowest free number.
    unsafe {
        for fd in 0..3 {
            if libc::fcntl(fd, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
}

pub(crate) fn ignore_sigpipe() {
    // SAFETY: installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

// SAFETY: the pointers lead to strings of the `outcome::Entry` that owns the view; nothing ever writes to either.
unsafe impl Send for criu_error {}
// SAFETY: as above.
unsafe impl Sync for criu_error {}

/// A string for the lifetime of the library, as C data.
#[repr(transparent)]
pub struct ConstantText(*const c_char);

impl ConstantText {
    pub(crate) const fn new(text: &'static CStr) -> Self {
        ConstantText(text.as_ptr())
    }
}

// SAFETY: points to a constant.
unsafe impl Sync for ConstantText {}

/// Closes a descriptor that the library kept as a number.
pub(crate) fn close(fd: RawFd) {
    if fd >= 0 {
        // SAFETY: the library's own; the caller hands over the only copy of the number.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

struct Search {
    address: usize,
    found: Option<Object>,
}

/// The loaded object that `address` belongs to.
pub(crate) fn find_object(address: usize) -> Option<Object> {
    let mut search = Search { address, found: None };
    // SAFETY: `search` outlives the call, which hands it to `visit` alone.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: called by dl_iterate_phdr with a valid description and our `Search`; the program headers and what they
    // describe stay mapped while the object is loaded, and ours is.
    unsafe {
        let (info, search) = (&*info, &mut *data.cast::<Search>());
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        let base = info.dlpi_addr as usize;
        let loaded = |h: &&libc::Elf64_Phdr| h.p_type == libc::PT_LOAD;
        let covers = |h: &libc::Elf64_Phdr| {
            let start = base + h.p_vaddr as usize;
            (start..start + h.p_memsz as usize).contains(&search.address)
        };
        if !headers.iter().filter(loaded).any(covers) {
            return 0;
        }
        let Some(first) = headers.iter().find(loaded) else { return 0 };
        let page = rustix::param::page_size();
        let start = base + first.p_vaddr as usize;
        let end = (start + first.p_filesz as usize).next_multiple_of(page);
        let loader = headers.iter().find(|h| h.p_type == libc::PT_INTERP);
        let loader = loader.map(|h| CStr::from_ptr((base + h.p_vaddr as usize) as *const c_char));
        search.found = Some(Object {
            first_segment: (start & !(page - 1), end),
            loader: loader.map(CString::from),
            is_program: libc::getauxval(libc::AT_PHDR) as usize == info.dlpi_phdr as usize,
        });
        1
    }
}
