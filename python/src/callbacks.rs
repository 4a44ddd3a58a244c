//! Python functions that are called while an operation runs.

use std::os::fd::IntoRawFd;

use criu_client::{Callbacks, Canceller, Notification};
use pyo3::prelude::*;

/// The functions, any of which may be missing, and the exception that one of them has raised.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Functions {
    /// `progress(phase, done, total)`.
    progress: Option<Py<PyAny>>,
    /// `log(level, line)`.
    log: Option<Py<PyAny>>,
    log_level: i32,
    /// `notify(stage, pid, fd)`; False fails the operation.
    notify: Option<Py<PyAny>>,
}

pub struct Calls {
    functions: Functions,
    canceller: Canceller,
    /// Whether the operation was cancelled before there was anything to cancel.
    is_cancelled: Box<dyn Fn() -> bool + Send>,
    pub raised: Option<PyErr>,
}

impl Calls {
    pub fn new(functions: Functions, canceller: Canceller, is_cancelled: Box<dyn Fn() -> bool + Send>) -> Self {
        Calls { functions, canceller, is_cancelled, raised: None }
    }

    /// Calls into Python. What is raised there ends the operation.
    fn call<T>(&mut self, failed: T, call: impl FnOnce(Python<'_>, &Functions) -> PyResult<T>) -> T {
        if self.raised.is_some() {
            return failed;
        }
        match Python::attach(|py| call(py, &self.functions)) {
            Ok(done) => done,
            Err(e) => {
                self.raised = Some(e);
                self.canceller.cancel();
                failed
            }
        }
    }
}

impl Callbacks for Calls {
    fn wants_notifications(&self) -> bool {
        self.functions.notify.is_some()
    }

    fn wants_progress(&self) -> bool {
        self.functions.progress.is_some()
    }

    fn log_level(&self) -> Option<i32> {
        self.functions.log.as_ref().map(|_| self.functions.log_level)
    }

    fn notify(&mut self, notification: Notification<'_>) -> bool {
        let Notification { stage, pid, fd } = notification;
        self.call(false, |py, functions| {
            let Some(notify) = &functions.notify else { return Ok(true) };
            // The descriptor becomes the function's; one it does not want, it closes.
            let answer = notify.call1(py, (stage, pid, fd.map(IntoRawFd::into_raw_fd)))?;
            Ok(answer.is_none(py) || answer.is_truthy(py)?)
        })
    }

    fn progress(&mut self, phase: &str, done: u64, total: u64) {
        self.call((), |py, functions| match &functions.progress {
            Some(progress) => progress.call1(py, (phase, done, total)).map(drop),
            None => Ok(()),
        });
    }

    fn log(&mut self, level: i32, line: &str) {
        self.call((), |py, functions| match &functions.log {
            Some(log) => log.call1(py, (level, line)).map(drop),
            None => Ok(()),
        });
    }

    /// Lets Python's signal handlers run: Ctrl-C ends the operation.
    fn goes_on(&mut self) -> bool {
        self.call((), |py, _| py.check_signals());
        self.raised.is_none() && !(self.is_cancelled)()
    }
}
