//! Parsers of what comes from outside, by themselves, for the fuzzer. Not part of the API.

use criu_images::messages::CriuOpts;
use criu_images::options::Settings;

use crate::error::Result;

/// Reads `text` as the file of /proc, or the answer of the kernel, that is called `name`.
pub fn read(name: &str, text: &[u8]) {
    match name {
        "fdinfo" => crate::file::fdinfo_text(&String::from_utf8_lossy(text)),
        "sysvipc" => crate::ipc::table_text(&String::from_utf8_lossy(text)),
        "unix_diag" | "inet_diag" => crate::socket::diag_body(text),
        _ => crate::proc::text(name, text),
    }
}

/// A request's options over defaults; see [`crate::rpc`].
///
/// # Errors
/// They do not fit.
pub fn merge(defaults: &Settings, opts: CriuOpts) -> Result<()> {
    crate::rpc::merge_options(defaults, opts)
}
