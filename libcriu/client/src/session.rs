//! One connection and the requests on it: sends, answers notifications, watches cancellation and deadline.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use criu_images::messages::{CriuReq, CriuReqType, CriuResp};

use crate::cancel::{Registered, cancelled};
use crate::client::{Callbacks, Client, Notification};
use crate::connection::{Connection, Received};
use crate::error::{Code, Error, Result};
use crate::sys;
use crate::transport::{Purpose, Worker, collect};

/// How often a waiting thread looks whether it was told to stop.
const TICK: Duration = Duration::from_secs(1);
/// How long an engine may take to put everything back once it was told to stop, before it is cut off.
const GRACE: Duration = Duration::from_secs(10);
/// How long a child of a failed restore may take to die.
const UNBORN: Duration = Duration::from_secs(1);
/// The engine knows the deadline, too; its answer says more than ours would.
const AFTER_DEADLINE: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(crate) struct Session {
    registered: Registered,
    connection: Option<Connection>,
    worker: Option<Worker>,
    tracer_allowed: bool,
    deadline: Option<Instant>,
    /// A child that is being restored: dead and to be collected by us if that fails.
    unborn: Option<i32>,
}

impl Session {
    /// Connects to the client's engine.
    pub(crate) fn open(client: &Client, purpose: Purpose) -> Result<Self> {
        let deadline = client.deadline.map(|d| Instant::now() + d);
        let (connection, worker) = client.transport.connect(purpose)?;
        let registered = client.canceller.register(&connection);
        let mut tracer_allowed = false;
        if let (Purpose::Look { traces_us: true }, Some(worker), true) = (purpose, &worker, yama_asks()) {
            sys::allow_tracer(Some(worker.pid()));
            tracer_allowed = true;
        }
        Ok(Session { registered, connection: Some(connection), worker, tracer_allowed, deadline, unborn: None })
    }

    /// Sends `request` and returns its successful answer.
    ///
    /// # Errors
    /// The connection failed, the answer says no or is none to this request, or the operation was stopped.
    pub(crate) fn exchange(&mut self, request: &CriuReq, callbacks: &mut dyn Callbacks) -> Result<CriuResp> {
        self.registered.send(self.connection()?, request)?;
        loop {
            let (response, passed) = self.next(callbacks)?;
            match CriuReqType::try_from(response.r#type) {
                Ok(CriuReqType::Notify) => self.notify(&response, passed, callbacks)?,
                Ok(CriuReqType::Progress) if response.restore.is_some() => {
                    self.unborn = response.restore.map(|r| r.pid);
                }
                Ok(CriuReqType::Progress) => {
                    let p = response.progress.unwrap_or_default();
                    callbacks.progress(p.phase(), p.done(), p.total());
                }
                Ok(CriuReqType::Log) => {
                    let line = response.log.unwrap_or_default();
                    callbacks.log(line.level() as i32, line.text());
                }
                _ if answers(&response, request) => {
                    if !response.success {
                        return Err(self.refusal(response));
                    }
                    self.unborn = None;
                    return Ok(response);
                }
                Ok(CriuReqType::Empty) => {
                    let cause = response.cr_errmsg.filter(|m| !m.is_empty());
                    let cause = cause.unwrap_or_else(|| "the engine does not know this request".into());
                    return Err(Error::new(Code::Unsupported, "request", cause).errno(libc::EINVAL));
                }
                _ => {
                    let cause =
                        format!("an answer of type {} to a request of type {}", response.r#type, request.r#type);
                    return Err(Error::new(Code::Protocol, "answer", cause).errno(libc::EBADMSG));
                }
            }
        }
    }

    fn connection(&self) -> Result<&Connection> {
        self.connection.as_ref().ok_or_else(|| Error::new(Code::Transport, "the connection to the engine", "closed"))
    }

    /// An engine that knows nothing of CANCEL fails in its own words.
    fn refusal(&self, response: CriuResp) -> Error {
        let error = Error::refused(response);
        match self.registered.cancelled() {
            Some(_) if !matches!(error.code, Code::Cancelled | Code::Deadline) => self.stopped(),
            _ => error,
        }
    }

    fn stopped(&self) -> Error {
        if self.deadline.is_some_and(|d| Instant::now() >= d) {
            return Error::new(Code::Deadline, "the operation", "did not end within its deadline")
                .errno(libc::ETIMEDOUT);
        }
        cancelled()
    }

    /// Why the engine went away without an answer.
    fn ended(&self) -> Error {
        if self.registered.cancelled().is_some() {
            return self.stopped();
        }
        Error::new(Code::Transport, "the engine", "ended without an answer")
            .errno(libc::ECONNRESET)
            .hint("its log may say why")
    }

    /// Waits for a message, but not longer than cancellation and deadline allow.
    fn next(&self, callbacks: &mut dyn Callbacks) -> Result<(CriuResp, Option<OwnedFd>)> {
        let connection = self.connection()?;
        loop {
            let now = Instant::now();
            let until_deadline = self.deadline.map(|d| (d + AFTER_DEADLINE).saturating_duration_since(now));
            if connection.readable(until_deadline.filter(|d| !d.is_zero()).map_or(TICK, |d| d.min(TICK)))? {
                return match connection.receive()? {
                    Received::Response(response, passed) => Ok((*response, passed)),
                    Received::Closed => Err(self.ended()),
                };
            }
            // A process that the host forked meanwhile may hold a copy of the worker's end: then nothing tells its death.
            if self.worker.as_ref().is_some_and(|w| sys::has_ended(w.pid())) && !connection.readable(Duration::ZERO)? {
                return Err(self.ended());
            }
            let late = self.deadline.is_some_and(|d| Instant::now() >= d + AFTER_DEADLINE);
            if !callbacks.goes_on() || late {
                self.registered.cancel();
            }
            if self.registered.cancelled().is_some_and(|since| since.elapsed() > GRACE) {
                // The connection is still open, so the worker lives and the pid is its own.
                if let Some(worker) = &self.worker {
                    sys::kill(worker.pid());
                }
                connection.shut_down();
                return Err(self.stopped());
            }
        }
    }

    fn notify(&self, response: &CriuResp, passed: Option<OwnedFd>, callbacks: &mut dyn Callbacks) -> Result<()> {
        let message = response.notify.clone().unwrap_or_default();
        let stage = message.script.unwrap_or_default();
        let ok = callbacks.notify(Notification { stage: &stage, pid: message.pid, fd: passed });
        let request = CriuReq { r#type: CriuReqType::Notify as i32, notify_success: Some(ok), ..Default::default() };
        self.registered.acknowledge(self.connection()?, &request)
    }
}

/// A page server that was started in the background answers as one in the foreground.
fn answers(response: &CriuResp, request: &CriuReq) -> bool {
    let pair = (request.r#type(), response.r#type());
    response.r#type == request.r#type || pair == (CriuReqType::PageServerChld, CriuReqType::PageServer)
}

impl Drop for Session {
    fn drop(&mut self) {
        self.registered.unregister();
        if let Some(connection) = self.connection.take() {
            connection.end();
        }
        if self.tracer_allowed {
            sys::allow_tracer(None);
        }
        if let Some(worker) = self.worker.take() {
            worker.finish();
        }
        if let Some(child) = self.unborn {
            // It died with the worker at the latest. One that lives nevertheless is restored.
            collect(child, UNBORN);
        }
    }
}

/// Yama lets only ancestors trace, and whom a process names.
fn yama_asks() -> bool {
    fs::read("/proc/sys/kernel/yama/ptrace_scope").is_ok_and(|scope| scope.first() == Some(&b'1'))
}
