//! What a `criu_opts` stands for, and the one behind the functions without it.
//!
//! A handle is the address of its state, kept in a register: a stale or foreign pointer is found out, not followed. Locks
//! are held for the time of one change or one copy, never during an operation or a callback. Order: LIVE or GLOBAL, then
//! one state.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use criu_client::{Client, Transport};
use criu_images::messages::CriuOpts;

use crate::ffi;
use crate::outcome::Record;
use crate::types::{criu_notify_arg_t, criu_opts};

static LIVE: Mutex<BTreeMap<usize, Arc<Opts>>> = Mutex::new(BTreeMap::new());
static GLOBAL: Mutex<Option<Arc<Opts>>> = Mutex::new(None);

pub(crate) type NotifyCallback = extern "C" fn(action: *mut c_char, na: criu_notify_arg_t) -> c_int;
pub(crate) type StageCallback = extern "C" fn(stage: *const c_char, pid: c_int, fd: c_int, user: *mut c_void) -> c_int;
pub(crate) type ProgressCallback = extern "C" fn(phase: *const c_char, done: u64, total: u64, user: *mut c_void);
pub(crate) type LogCallback = extern "C" fn(level: c_int, line: *const c_char, user: *mut c_void);

/// The functions a C program set. The address that each is called with is the program's own, so it is kept as a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions {
    pub(crate) notify: Option<NotifyCallback>,
    pub(crate) stage: Option<(StageCallback, usize)>,
    pub(crate) progress: Option<(ProgressCallback, usize)>,
    pub(crate) log: Option<(LogCallback, usize, c_int)>,
}

/// One set of options.
#[derive(Debug, Default)]
pub(crate) struct Opts {
    settings: Mutex<Settings>,
    last: Mutex<Option<Arc<Record>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) client: Client,
    pub(crate) functions: Functions,
    /// `None`: the library's own worker.
    pub(crate) transport: Option<Transport>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { client: Client::new(), functions: Functions::default(), transport: None }
    }
}

/// Which options a function is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Global,
    Local(*mut criu_opts),
}

impl Target {
    pub(crate) fn find(self) -> Option<Arc<Opts>> {
        match self {
            Target::Global => lock(&GLOBAL).clone(),
            Target::Local(handle) => lock(&LIVE).get(&handle.addr()).cloned(),
        }
    }
}

impl Opts {
    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    /// How the last operation failed; `None` when it did not.
    pub(crate) fn last(&self) -> Option<Arc<Record>> {
        lock(&self.last).clone()
    }

    pub(crate) fn set_last(&self, record: Option<Arc<Record>>) {
        *lock(&self.last) = record;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a handle; one that is in `place` already is freed.
pub(crate) fn create(place: *mut *mut criu_opts) -> c_int {
    let Some(old) = ffi::read(place) else { return -libc::EINVAL };
    let opts = Arc::new(Opts::default());
    let address = Arc::as_ptr(&opts).addr();
    let mut live = lock(&LIVE);
    live.remove(&old.addr());
    live.insert(address, opts);
    drop(live);
    ffi::write(place, ptr::without_provenance_mut(address));
    0
}

/// Frees a handle; an operation that still uses it keeps its state.
pub(crate) fn free(handle: *mut criu_opts) {
    let freed = lock(&LIVE).remove(&handle.addr());
    drop(freed);
}

pub(crate) fn create_global() {
    let old = lock(&GLOBAL).replace(Arc::default());
    drop(old);
}

pub(crate) fn free_global() {
    let old = lock(&GLOBAL).take();
    drop(old);
}

/// Changes an option of the message. Without options to change (not initialized) nothing happens.
pub(crate) fn set(target: Target, change: impl FnOnce(&mut CriuOpts)) {
    try_set(target, |opts| {
        change(opts);
        Ok(())
    });
}

/// Changes an option of the message unless its value is refused: 0 or a negative errno.
pub(crate) fn try_set(target: Target, change: impl FnOnce(&mut CriuOpts) -> Result<(), c_int>) -> c_int {
    configure(target, |settings| change(&mut settings.client.opts))
}

/// Sets an option to the number of a C enum, which the engine checks.
pub(crate) fn choose(target: Target, number: c_uint, change: impl FnOnce(&mut CriuOpts, i32)) -> c_int {
    try_set(target, |opts| {
        change(opts, number as i32);
        Ok(())
    })
}

/// Changes any setting: 0 or a negative errno.
pub(crate) fn configure(target: Target, change: impl FnOnce(&mut Settings) -> Result<(), c_int>) -> c_int {
    ffi::guard(
        || -libc::ENOTRECOVERABLE,
        || match target.find() {
            Some(opts) => change(&mut opts.settings()).err().unwrap_or(0),
            None => -libc::EINVAL,
        },
    )
}
