//! How an error reaches a C caller: the log function, errno, a negative number.

use std::ffi::c_int;

use criu_soccr::{Error, Result};

use crate::ffi;

const LOG_ERR: u32 = 1;
const LOG_DBG: u32 = 2;

/// Value of a success; else logs, sets errno, and gives `-1`.
pub(crate) fn number(call: &str, result: Result<c_int>) -> c_int {
    result.unwrap_or_else(|e| {
        failed(call, &e);
        -1
    })
}

pub(crate) fn failed(call: &str, error: &Error) {
    ffi::log(LOG_ERR, &format!("{call}: {error}\n"));
    ffi::set_errno(error.errno());
}

pub(crate) fn debug(text: &str) {
    ffi::log(LOG_DBG, text);
}

/// A NULL or an unknown flag or number in the arguments.
pub(crate) fn misuse(call: &str, what: &str) -> c_int {
    ffi::log(LOG_ERR, &format!("{call}: {what}\n"));
    ffi::set_errno(libc::EINVAL);
    -1
}
