//! The functions of `soccr/soccr.h`, documented there.

use std::ffi::{c_char, c_int, c_uint};
use std::ptr;

use criu_soccr::{Data, Paused};

use crate::ffi::{self, Address, Bytes, LogFn, guard, libsoccr_addr};
use crate::handle::{DATA_BYTES, libsoccr_sk};
use crate::report::{debug, failed, misuse, number};

/// Memory changes hands.
const MEM_EXCL: c_uint = 1;

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_set_log(level: c_uint, function: Option<LogFn>) {
    guard((), || ffi::set_log(level, function));
}

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_pause(fd: c_int) -> *mut libsoccr_sk {
    guard(ptr::null_mut(), || {
        let Some(socket) = ffi::descriptor(fd) else {
            ffi::set_errno(libc::EBADF);
            return ptr::null_mut();
        };
        match Paused::pause(socket) {
            Ok(paused) => {
                debug(&format!("libsoccr_pause: descriptor {fd} is in repair mode\n"));
                ffi::into_handle(libsoccr_sk::new(paused))
            }
            Err(e) => {
                failed("libsoccr_pause", &e);
                ptr::null_mut()
            }
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_resume(sk: *mut libsoccr_sk) {
    guard((), || {
        if let Some(sk) = ffi::from_handle(sk) {
            number("libsoccr_resume", sk.paused.resume().map(|()| 0));
        }
    });
}

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_release(sk: *mut libsoccr_sk) {
    guard((), || {
        if let Some(sk) = ffi::from_handle(sk) {
            sk.paused.release();
        }
    });
}

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_save(sk: *mut libsoccr_sk, data: *mut Data, data_size: c_uint) -> c_int {
    const NAME: &str = "libsoccr_save";
    guard(-1, || {
        let Some(sk) = ffi::handle(sk) else { return misuse(NAME, "the handle is NULL") };
        if data.is_null() || (data_size as usize) < DATA_BYTES {
            return misuse(NAME, "no room for the data");
        }
        number(
            NAME,
            sk.save().map(|saved| {
                ffi::write(data, saved);
                ffi::zero_behind(data, data_size as usize);
                DATA_BYTES as c_int
            }),
        )
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_restore(sk: *mut libsoccr_sk, data: *mut Data, data_size: c_uint) -> c_int {
    const NAME: &str = "libsoccr_restore";
    guard(-1, || {
        let Some(sk) = ffi::handle(sk) else { return misuse(NAME, "the handle is NULL") };
        if (data_size as usize) < DATA_BYTES {
            return misuse(NAME, "the data are too short");
        }
        match ffi::read(data) {
            Some(data) => number(NAME, sk.restore(data).map(|()| 0)),
            None => misuse(NAME, "the data are NULL"),
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_get_queue_bytes(sk: *mut libsoccr_sk, queue_id: c_int, flags: c_uint) -> *mut c_char {
    const NAME: &str = "libsoccr_get_queue_bytes";
    guard(ptr::null_mut(), || {
        let bytes = ffi::handle(sk).filter(|_| flags & !MEM_EXCL == 0).and_then(|sk| sk.queue(queue_id));
        match bytes {
            Some(bytes) if flags & MEM_EXCL != 0 => bytes.hand_over(),
            Some(bytes) => bytes.pointer(),
            None => {
                misuse(NAME, "no such queue, flag or handle");
                ptr::null_mut()
            }
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_set_queue_bytes(
    sk: *mut libsoccr_sk,
    queue_id: c_int,
    bytes: *mut c_char,
    flags: c_uint,
) -> c_int {
    const NAME: &str = "libsoccr_set_queue_bytes";
    guard(-1, || {
        let slot = ffi::handle(sk).filter(|_| flags & !MEM_EXCL == 0).and_then(|sk| sk.queue(queue_id));
        let Some(slot) = slot else { return misuse(NAME, "no such queue, flag or handle") };
        // The same pointer again must not be freed by the assignment.
        let again = slot.pointer() == bytes;
        if again {
            std::mem::forget(std::mem::replace(slot, Bytes::None));
        }
        *slot = Bytes::Given { at: bytes, owned: flags & MEM_EXCL != 0 };
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_get_addr(sk: *mut libsoccr_sk, self_: c_int, flags: c_uint) -> *mut libsoccr_addr {
    const NAME: &str = "libsoccr_get_addr";
    guard(ptr::null_mut(), || {
        let known = ffi::handle(sk).filter(|_| flags & !MEM_EXCL == 0);
        let Some(sk) = known else {
            misuse(NAME, "no such flag or handle");
            return ptr::null_mut();
        };
        match if self_ != 0 { &mut sk.local } else { &mut sk.peer } {
            Some(address) if flags & MEM_EXCL != 0 => address.hand_over(),
            Some(address) => address.pointer(),
            None => ptr::null_mut(),
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn libsoccr_set_addr(
    sk: *mut libsoccr_sk,
    self_: c_int,
    address: *mut libsoccr_addr,
    flags: c_uint,
) -> c_int {
    const NAME: &str = "libsoccr_set_addr";
    guard(-1, || {
        let known = ffi::handle(sk).filter(|_| flags & !MEM_EXCL == 0);
        let Some(sk) = known else { return misuse(NAME, "no such flag or handle") };
        let Some(address) = Address::given(address, flags & MEM_EXCL != 0) else {
            return misuse(NAME, "neither an IPv4 nor an IPv6 address");
        };
        *(if self_ != 0 { &mut sk.local } else { &mut sk.peer }) = Some(address);
        0
    })
}
