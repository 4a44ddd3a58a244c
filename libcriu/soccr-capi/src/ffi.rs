//! Everything unsafe of the C interface: pointers, memory that changes hands, the variadic log function, the panic boundary.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Mutex;

use crate::handle::libsoccr_sk;

pub type LogFn = unsafe extern "C" fn(level: c_uint, format: *const c_char, ...);

static LOG: Mutex<(c_uint, Option<LogFn>)> = Mutex::new((0, None));

pub(crate) fn set_log(level: c_uint, function: Option<LogFn>) {
    *LOG.lock().unwrap_or_else(|e| e.into_inner()) = (level, function);
}

/// Hands `text` to the caller's log function if it wants this level.
pub(crate) fn log(level: c_uint, text: &str) {
    let (wanted, function) = *LOG.lock().unwrap_or_else(|e| e.into_inner());
    let (Some(function), true, Ok(text)) = (function, level <= wanted, CString::new(text)) else { return };
    // SAFETY: the interface asks for a printf-like function; the format takes one string and gets one.
    unsafe { function(level, c"%s".as_ptr(), text.as_ptr()) };
}

/// Runs the body of an export; a panic must not reach the caller's frames.
pub(crate) fn guard<R>(on_panic: R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        set_errno(libc::EFAULT);
        on_panic
    })
}

pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = errno };
}

/// The caller's descriptor, for as long as the handle lives; `None` for one that cannot be open.
pub(crate) fn descriptor(fd: c_int) -> Option<BorrowedFd<'static>> {
    // SAFETY: not -1; the interface asks that it stays open until the handle is released.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

pub(crate) fn into_handle(handle: libsoccr_sk) -> *mut libsoccr_sk {
    Box::into_raw(Box::new(handle))
}

/// The handle back, to be ended; `None` for NULL.
pub(crate) fn from_handle(handle: *mut libsoccr_sk) -> Option<Box<libsoccr_sk>> {
    // SAFETY: not NULL; the interface asks for a handle of `into_handle`, and this is its last use.
    (!handle.is_null()).then(|| unsafe { Box::from_raw(handle) })
}

/// The handle for one call; `None` for NULL.
pub(crate) fn handle<'a>(handle: *mut libsoccr_sk) -> Option<&'a mut libsoccr_sk> {
    // SAFETY: NULL, or as the interface asks a live handle of `into_handle` that no other thread uses during the call.
    unsafe { handle.as_mut() }
}

/// Reads what the caller owns; `None` for NULL.
pub(crate) fn read<T: Copy>(from: *const T) -> Option<T> {
    // SAFETY: not NULL; the interface asks for a valid object, whatever its alignment.
    (!from.is_null()).then(|| unsafe { from.read_unaligned() })
}

/// Writes what the caller owns; false for NULL.
pub(crate) fn write<T>(to: *mut T, value: T) -> bool {
    if to.is_null() {
        return false;
    }
    // SAFETY: not NULL; the interface asks for room for one T, whatever its alignment.
    unsafe { to.write_unaligned(value) };
    true
}

/// Zeroes the rest of the `bytes` of a structure that has more members than `T`.
pub(crate) fn zero_behind<T>(at: *mut T, bytes: usize) {
    let more = bytes.saturating_sub(size_of::<T>());
    if !at.is_null() {
        // SAFETY: not NULL; the interface asks for room for as many bytes as the caller says.
        unsafe { at.add(1).cast::<u8>().write_bytes(0, more) };
    }
}

/// Bytes from malloc: they can become the caller's, who frees them. NULL when there are none, or no memory.
fn allocate(bytes: &[u8]) -> *mut c_char {
    if bytes.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: malloc has no precondition; what it returns is NULL or writable for `bytes.len()` bytes, and fresh.
    unsafe {
        let to = libc::malloc(bytes.len()).cast::<u8>();
        if !to.is_null() {
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        to.cast()
    }
}

fn free(at: *mut c_void) {
    // SAFETY: NULL, or from malloc and not used again: of `allocate`, or handed over by the caller with SOCCR_MEM_EXCL.
    unsafe { libc::free(at) }
}

/// The bytes of a queue.
pub(crate) enum Bytes {
    None,
    /// Ours, from malloc.
    Saved(*mut c_char),
    /// The caller's; freed here if `owned`.
    Given {
        at: *mut c_char,
        owned: bool,
    },
}

impl Bytes {
    pub(crate) fn copy(bytes: &[u8]) -> Self {
        Bytes::Saved(allocate(bytes))
    }

    pub(crate) fn pointer(&self) -> *mut c_char {
        match self {
            Bytes::None => ptr::null_mut(),
            Bytes::Saved(at) | Bytes::Given { at, .. } => *at,
        }
    }

    /// The pointer, whose memory is the caller's from now on.
    pub(crate) fn hand_over(&mut self) -> *mut c_char {
        let at = self.pointer();
        let stays = match self {
            Bytes::Given { .. } => Bytes::Given { at, owned: false },
            Bytes::None | Bytes::Saved(_) => Bytes::None,
        };
        // Not dropped: that would free what is handed over.
        std::mem::forget(std::mem::replace(self, stays));
        at
    }

    /// The first `len` bytes; none where there is no queue.
    pub(crate) fn read(&self, len: u32) -> Vec<u8> {
        let at = self.pointer().cast::<u8>();
        if at.is_null() || len == 0 {
            return Vec::new();
        }
        // SAFETY: not NULL; the interface asks for as many bytes as the connection's data say.
        unsafe { std::slice::from_raw_parts(at, len as usize) }.to_vec()
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Bytes::Saved(at) | Bytes::Given { at, owned: true } = *self {
            free(at.cast());
        }
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
pub union libsoccr_addr {
    sa: libc::sockaddr,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// An address, and what of the caller's memory goes with it.
pub(crate) struct Address {
    raw: Box<libsoccr_addr>,
    address: SocketAddr,
    /// Freed with it, or NULL.
    owned: *mut libsoccr_addr,
}

impl Address {
    pub(crate) fn new(address: SocketAddr) -> Self {
        // SAFETY: plain C structures, for which zeroes are a value.
        let mut raw: libsoccr_addr = unsafe { std::mem::zeroed() };
        match address {
            SocketAddr::V4(a) => {
                let sin_addr = libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) };
                let sin_family = libc::AF_INET as libc::sa_family_t;
                raw.v4 = libc::sockaddr_in { sin_family, sin_port: a.port().to_be(), sin_addr, sin_zero: [0; 8] };
            }
            SocketAddr::V6(a) => {
                raw.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: a.port().to_be(),
                    sin6_flowinfo: a.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: a.ip().octets() },
                    sin6_scope_id: a.scope_id(),
                };
            }
        }
        Address { raw: Box::new(raw), address, owned: ptr::null_mut() }
    }

    /// A copy of the caller's address, whose memory is freed with it if `owned`; `None` for NULL and other families.
    pub(crate) fn given(at: *mut libsoccr_addr, owned: bool) -> Option<Self> {
        if at.is_null() {
            return None;
        }
        // SAFETY: not NULL; the interface asks for an address of its family's size, and every family has this field first.
        let family = i32::from(unsafe { (&raw const (*at).sa.sa_family).read_unaligned() });
        let address = match family {
            libc::AF_INET => {
                // SAFETY: as above, and the family says that it is a sockaddr_in.
                let a = unsafe { (&raw const (*at).v4).read_unaligned() };
                let ip = Ipv4Addr::from(a.sin_addr.s_addr.to_ne_bytes());
                SocketAddrV4::new(ip, u16::from_be(a.sin_port)).into()
            }
            libc::AF_INET6 => {
                // SAFETY: as above, and the family says that it is a sockaddr_in6.
                let a = unsafe { (&raw const (*at).v6).read_unaligned() };
                let ip = Ipv6Addr::from(a.sin6_addr.s6_addr);
                SocketAddrV6::new(ip, u16::from_be(a.sin6_port), a.sin6_flowinfo, a.sin6_scope_id).into()
            }
            _ => return None,
        };
        let mut copy = Address::new(address);
        copy.owned = if owned { at } else { ptr::null_mut() };
        Some(copy)
    }

    pub(crate) fn get(&self) -> SocketAddr {
        self.address
    }

    /// Valid while the handle lives.
    pub(crate) fn pointer(&mut self) -> *mut libsoccr_addr {
        &raw mut *self.raw
    }

    /// A copy that the caller frees.
    pub(crate) fn hand_over(&self) -> *mut libsoccr_addr {
        let source = (&raw const *self.raw).cast::<u8>();
        // SAFETY: the whole union was zeroed before one member was written: every byte of it is initialised.
        allocate(unsafe { std::slice::from_raw_parts(source, size_of::<libsoccr_addr>()) }).cast()
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        free(self.owned.cast());
    }
}
