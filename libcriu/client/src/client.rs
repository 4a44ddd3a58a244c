//! The operations: each builds one request, and asks whichever engine the transport reaches.

use std::os::fd::OwnedFd;
use std::time::Duration;

use criu_images::messages::{CriuFeatures, CriuOpts, CriuReq, CriuReqType, CriuResp, CriuVersion};

use crate::cancel::Canceller;
use crate::error::{Blocker, Code, Error, Result};
use crate::session::Session;
use crate::transport::{Purpose, Transport};

/// Options and the way to an engine. Clients are independent of each other; one may be used for any number of operations.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The options as they are sent. The client itself sets those that depend on the operation and the callbacks.
    pub opts: CriuOpts,
    pub transport: Transport,
    /// The longest an operation may take; it is undone when it takes longer.
    pub deadline: Option<Duration>,
    pub(crate) canceller: Canceller,
}

/// What an operation tells while it runs. Every method has a default that wants nothing.
pub trait Callbacks {
    fn wants_notifications(&self) -> bool {
        false
    }

    fn wants_progress(&self) -> bool {
        false
    }

    /// The level up to which log lines are wanted.
    fn log_level(&self) -> Option<i32> {
        None
    }

    /// A stage of the operation; false fails it.
    fn notify(&mut self, _notification: Notification<'_>) -> bool {
        true
    }

    /// `total` is 0 while unknown; the unit is bytes in the memory phases, objects in the others.
    fn progress(&mut self, _phase: &str, _done: u64, _total: u64) {}

    fn log(&mut self, _level: i32, _line: &str) {}

    /// Called while an operation is waited for: about once a second, and whenever a signal interrupts the wait. False
    /// cancels the operation.
    fn goes_on(&mut self) -> bool {
        true
    }
}

/// No callbacks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Callbacks for Silent {}

/// A stage that an operation has reached.
#[derive(Debug)]
pub struct Notification<'a> {
    /// `pre-dump`, `post-restore`, ...
    pub stage: &'a str,
    /// The root task's pid, at the stages that have one.
    pub pid: Option<i32>,
    /// Comes with `orphan-pts-master`.
    pub fd: Option<OwnedFd>,
}

/// How a dump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// The tree is saved; this process is the one that asked.
    Saved,
    /// This process has dumped itself and is now the restored one.
    Restored,
}

impl Client {
    pub fn new() -> Self {
        let opts = CriuOpts { images_dir_fd: -1, ..Default::default() };
        Client { opts, ..Default::default() }
    }

    /// Stops this client's operations from another thread.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Dumps the tree rooted at `opts.pid`, or this very process when that is unset.
    ///
    /// # Errors
    /// The tree then runs on as before.
    pub fn dump(&self, callbacks: &mut dyn Callbacks) -> Result<Dumped> {
        let response = self.ask(CriuReqType::Dump, callbacks)?;
        Ok(dumped(&response))
    }

    /// Saves memory only and leaves the tree running; the next dump saves what has changed.
    ///
    /// # Errors
    /// The tree then runs on as before.
    pub fn pre_dump(&self, callbacks: &mut dyn Callbacks) -> Result<()> {
        self.ask(CriuReqType::SinglePreDump, callbacks).map(drop)
    }

    /// Everything that would make a dump fail; changes nothing.
    ///
    /// # Errors
    /// It could not be found out.
    pub fn preflight(&self, callbacks: &mut dyn Callbacks) -> Result<Vec<Blocker>> {
        match self.ask(CriuReqType::Preflight, callbacks) {
            Ok(response) => Ok(response.blockers.into_iter().map(Blocker::from).collect()),
            Err(e) if e.code == Code::Blocked => Ok(e.blockers),
            Err(e) => Err(e),
        }
    }

    /// Restores the tree in the images directory and returns the pid of its root.
    ///
    /// # Errors
    /// Nothing is then left of it.
    pub fn restore(&self, callbacks: &mut dyn Callbacks) -> Result<i32> {
        restored(&self.ask(CriuReqType::Restore, callbacks)?)
    }

    /// As [`Client::restore`]; the root becomes a child of this process.
    ///
    /// The worker is a child of this process, too, until the call returns: a `wait(-1)` elsewhere in the process may
    /// collect it, which does no harm.
    ///
    /// # Errors
    /// Nothing is then left of it.
    pub fn restore_child(&self, callbacks: &mut dyn Callbacks) -> Result<i32> {
        let mut request = self.request(CriuReqType::Restore, callbacks);
        if let Some(opts) = &mut request.opts {
            opts.rst_sibling = Some(true);
        }
        restored(&Session::open(self, self.purpose(&request))?.exchange(&request, callbacks)?)
    }

    /// Whether this kernel has what the engine needs.
    ///
    /// # Errors
    /// It has not.
    pub fn check(&self, callbacks: &mut dyn Callbacks) -> Result<()> {
        self.ask(CriuReqType::Check, callbacks).map(drop)
    }

    /// Which of the features that are set in `wanted` there are.
    ///
    /// # Errors
    /// It could not be found out.
    pub fn features(&self, wanted: CriuFeatures) -> Result<CriuFeatures> {
        let mut request = self.request(CriuReqType::FeatureCheck, &Silent);
        request.features = Some(wanted);
        let response = Session::open(self, Purpose::Look { traces_us: false })?.exchange(&request, &mut Silent)?;
        response.features.ok_or_else(|| incomplete("features"))
    }

    /// The engine's version.
    ///
    /// # Errors
    /// The engine was not reached.
    pub fn version(&self) -> Result<CriuVersion> {
        let request = self.request(CriuReqType::Version, &Silent);
        let response = Session::open(self, Purpose::Look { traces_us: false })?.exchange(&request, &mut Silent)?;
        response.version.ok_or_else(|| incomplete("version"))
    }

    /// Sends a request as it is, but for what the callbacks ask for, and returns its answer.
    ///
    /// # Errors
    /// The engine was not reached, or it says no.
    pub fn exchange(&self, request: CriuReq, callbacks: &mut dyn Callbacks) -> Result<CriuResp> {
        let client = Client { opts: request.opts.clone().unwrap_or_default(), ..self.clone() };
        let request = client.completed(request, callbacks);
        Session::open(&client, client.purpose(&request))?.exchange(&request, callbacks)
    }

    /// Opens a connection for pre-dumps, one after the other, and the dump that ends them.
    ///
    /// # Errors
    /// The engine was not reached.
    pub fn iterations(&self) -> Result<Iterations> {
        Session::open(self, Purpose::Look { traces_us: false }).map(|session| Iterations { session })
    }

    fn ask(&self, kind: CriuReqType, callbacks: &mut dyn Callbacks) -> Result<CriuResp> {
        let request = self.request(kind, callbacks);
        Session::open(self, self.purpose(&request))?.exchange(&request, callbacks)
    }

    /// Whether this process is the root of the tree to be dumped.
    pub fn targets_us(&self) -> bool {
        let us = rustix::process::getpid().as_raw_nonzero().get();
        matches!(self.opts.pid, None | Some(0)) || self.opts.pid == Some(us)
    }

    fn purpose(&self, request: &CriuReq) -> Purpose {
        use CriuReqType::{Dump, PreDump, Preflight, Restore, SinglePreDump};
        match request.r#type() {
            Restore if request.opts.as_ref().is_some_and(CriuOpts::rst_sibling) => Purpose::RestoreChild,
            Restore => Purpose::Restore,
            Dump | PreDump | SinglePreDump | Preflight => Purpose::Look { traces_us: self.targets_us() },
            _ => Purpose::Look { traces_us: false },
        }
    }

    fn request(&self, kind: CriuReqType, callbacks: &dyn Callbacks) -> CriuReq {
        let request = CriuReq { r#type: kind as i32, opts: Some(self.opts.clone()), ..Default::default() };
        self.completed(request, callbacks)
    }

    /// The request with what depends on the callbacks and the deadline.
    fn completed(&self, mut request: CriuReq, callbacks: &dyn Callbacks) -> CriuReq {
        if let Some(opts) = &mut request.opts {
            opts.notify_scripts = callbacks.wants_notifications().then_some(true).or(opts.notify_scripts);
            opts.extended = Some(true);
            opts.progress = callbacks.wants_progress().then_some(true);
            opts.log_messages = callbacks.log_level();
            opts.deadline_ms = self.deadline.map(|d| d.as_millis().try_into().unwrap_or(u64::MAX));
        }
        request
    }
}

/// Pre-dumps on one connection, then a dump.
#[derive(Debug)]
pub struct Iterations {
    session: Session,
}

impl Iterations {
    /// One pre-dump with `client`'s options.
    ///
    /// # Errors
    /// The tree then runs on as before.
    pub fn pre_dump(&mut self, client: &Client, callbacks: &mut dyn Callbacks) -> Result<()> {
        let mut request = client.request(CriuReqType::PreDump, callbacks);
        request.keep_open = Some(true);
        self.session.exchange(&request, callbacks).map(drop)
    }

    /// One request as it is, but for what the callbacks ask for; the connection stays open if it says `keep_open`.
    ///
    /// # Errors
    /// As [`Client::exchange`].
    pub fn exchange(&mut self, client: &Client, request: CriuReq, callbacks: &mut dyn Callbacks) -> Result<CriuResp> {
        self.session.exchange(&client.completed(request, callbacks), callbacks)
    }

    /// The dump that ends the series.
    ///
    /// # Errors
    /// The tree then runs on as before.
    pub fn dump(mut self, client: &Client, callbacks: &mut dyn Callbacks) -> Result<Dumped> {
        let request = client.request(CriuReqType::Dump, callbacks);
        self.session.exchange(&request, callbacks).map(|response| dumped(&response))
    }
}

fn dumped(response: &CriuResp) -> Dumped {
    match &response.dump {
        Some(dump) if dump.restored() => Dumped::Restored,
        _ => Dumped::Saved,
    }
}

fn restored(response: &CriuResp) -> Result<i32> {
    response.restore.as_ref().map(|r| r.pid).filter(|&pid| pid > 0).ok_or_else(|| incomplete("the restored pid"))
}

fn incomplete(what: &str) -> Error {
    Error::new(Code::Protocol, "answer", format!("it lacks {what}")).errno(libc::EBADMSG)
}
