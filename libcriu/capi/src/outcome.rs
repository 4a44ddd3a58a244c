//! The outcome of an operation in C: return value, errno, and the record that criu-ext.h reads.

use std::cell::RefCell;
use std::ffi::{CString, c_int};
use std::sync::Arc;

use criu_client::{Blocker, Client, Code, Error};

use crate::callbacks::Called;
use crate::ext::types::criu_error;
use crate::ffi;
use crate::state::{Opts, Target};
use crate::worker;

thread_local! {
    /// The record of this thread's last operation.
    static LAST: RefCell<Option<Arc<Record>>> = const { RefCell::new(None) };
}

/// An error with its texts as C strings, and what stood in the way.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) error: Entry,
    pub(crate) blockers: Vec<Entry>,
}

/// One error or blocker.
#[derive(Debug)]
pub(crate) struct Entry {
    #[allow(dead_code)] // Owns what `view` points to.
    texts: [CString; 5],
    pub(crate) view: criu_error,
}

impl Entry {
    fn new(code: c_int, errno: c_int, pid: c_int, texts: [&str; 5]) -> Self {
        let texts = texts.map(c_string);
        let [phase, object, cause, hint, message] = texts.each_ref().map(|t| t.as_ptr());
        let view = criu_error { code, error_number: errno, pid, phase, object, cause, hint, message };
        Entry { texts, view }
    }

    fn blocker(b: &Blocker) -> Self {
        let message = b.to_string();
        let texts = [&b.phase, &b.object, &b.cause, &b.hint, &message].map(String::as_str);
        Entry::new(Code::Blocked as c_int, b.errno, b.pid, texts)
    }
}

impl Record {
    fn failed(e: &Error) -> Self {
        let texts = [&e.phase, &e.object, &e.cause, &e.hint, &e.message].map(String::as_str);
        let error = Entry::new(e.code as c_int, e.errno, e.pid, texts);
        Record { error, blockers: e.blockers.iter().map(Entry::blocker).collect() }
    }

    /// What a preflight found.
    pub(crate) fn found(blockers: &[Blocker]) -> Self {
        let hint = Code::Blocked.advice();
        let texts = ["collect", "the tree", "cannot be dumped", hint, "the tree cannot be dumped as it is"];
        let error = Entry::new(Code::Blocked as c_int, 0, 0, texts);
        Record { error, blockers: blockers.iter().map(Entry::blocker).collect() }
    }
}

/// A text for C; a NUL in it (from a hostile peer) becomes a space.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

/// The record of this thread's last operation; `None` when it succeeded.
pub(crate) fn last_of_thread() -> Option<Arc<Record>> {
    LAST.with_borrow(Clone::clone)
}

/// An operation's result and what is to be recorded of a successful one.
pub(crate) type Answer = Result<(c_int, Option<Record>), Error>;

/// Runs an operation with a copy of the options, and turns its result into return value, errno and record.
pub(crate) fn operate(target: Target, operation: impl FnOnce(&Client, &mut Called) -> Result<c_int, Error>) -> c_int {
    operate_recording(target, |_, client, called| operation(client, called).map(|value| (value, None)))
}

/// As [`operate`], for operations that change options between requests or record more than success.
pub(crate) fn operate_recording(
    target: Target,
    operation: impl FnOnce(&Arc<Opts>, &Client, &mut Called) -> Answer,
) -> c_int {
    let internal =
        || Err(Error::new(Code::Internal, "libcriu", "a defect of the library (panic)").errno(libc::ENOTRECOVERABLE));
    let opts = target.find();
    let result = match &opts {
        None => Err(Error::new(Code::Argument, "options", "not initialized").errno(libc::EINVAL)),
        Some(opts) => ffi::guard(internal, || {
            let (client, mut called) = snapshot(opts);
            operation(opts, &client, &mut called)
        }),
    };
    let (value, errno, record) = match result {
        Ok((value, record)) => (value, None, record),
        Err(e) => (returned(&e), Some(e.errno), Some(Record::failed(&e))),
    };
    let record = record.map(Arc::new);
    LAST.replace(record.clone());
    if let Some(opts) = opts {
        opts.set_last(record);
    }
    if let Some(errno) = errno {
        ffi::set_errno(errno);
    }
    value
}

/// Records why a setting was refused, for this thread.
pub(crate) fn complain(e: Error) {
    LAST.set(Some(Arc::new(Record::failed(&e))));
}

/// The settings as they are now.
pub(crate) fn snapshot(opts: &Opts) -> (Client, Called) {
    let settings = opts.settings().clone();
    let mut client = settings.client;
    client.transport = settings.transport.unwrap_or_else(|| criu_client::Transport::Worker(worker::program()));
    (client, Called::new(settings.functions))
}

/// The return value of a failed operation.
fn returned(e: &Error) -> c_int {
    match e.code {
        Code::Connect => -libc::ECONNREFUSED,
        Code::Transport => -libc::ECOMM,
        Code::Unsupported | Code::Argument => -libc::EINVAL,
        Code::Protocol => -libc::EBADMSG,
        Code::NoMemory => -libc::ENOMEM,
        Code::Internal => -libc::ENOTRECOVERABLE,
        _ => -libc::EBADE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_show_their_texts() {
        let e = Error::new(Code::Engine, "fd 7\0", "gone").errno(libc::ENOENT).hint("look");
        let record = Arc::new(Record::failed(&e));
        assert_eq!(record.error.texts[4].to_str(), Ok("fd 7 : gone; look"));
        assert_eq!(record.error.texts[1].as_ptr(), record.error.view.object);
        assert_eq!(record.error.texts[1].to_str(), Ok("fd 7 "));
        assert_eq!((returned(&e), record.error.view.error_number), (-libc::EBADE, libc::ENOENT));
    }
}
