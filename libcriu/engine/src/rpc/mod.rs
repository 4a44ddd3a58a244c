//! The RPC server: one loop for `criu swrk`, `criu service` and the library's own worker.
//!
//! A request is read, checked and turned into [`Options`](crate::Options); the engine works with the connection as its
//! [`Operator`](crate::Operator); the response repeats the request's type. With `keep_open` the next request follows.

mod connection;
mod operation;
mod operator;
pub mod peer;
mod request;
mod response;
mod rights;
pub mod service;
mod settings;
#[cfg(test)]
mod tests;
mod wait;

use std::os::fd::{AsRawFd, OwnedFd};

use criu_images::messages::{CriuReq, CriuReqType, CriuResp};
use criu_images::options::Settings;

use rustix::fs::{Mode, OFlags};

pub use connection::{Connection, MAX_EXTENDED_RESPONSE_BYTES, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Received};
pub use operator::{RpcOperator, Wishes};
pub use peer::Peer;
pub use request::open_path;
pub use rights::lent_capabilities;

use crate::config::Sources;
use crate::error::{Error, Phase, Result};

/// How the connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The client started this process: `criu swrk`, or the library's worker.
    Worker,
    /// The client connected to a service.
    Service,
}

/// One connection and who is at its other end.
pub struct Session {
    connection: Connection,
    peer: Peer,
    transport: Transport,
    /// The descriptors that a worker was started with, but for the connection.
    inherited: Vec<i32>,
    /// What default config files say; a wrong one fails every operation with its reason.
    defaults: Result<Settings>,
}

/// Serves the client that started this process, until it is satisfied or gone.
///
/// # Errors
/// The last request failed (the client has been told), or the connection is of no use.
pub fn serve(connection: OwnedFd) -> Result<()> {
    Session::new(connection, Transport::Worker, Sources::of_environment(None, false).load())?.run()
}

impl Session {
    /// # Errors
    /// The descriptor is no unix socket.
    pub fn new(connection: OwnedFd, transport: Transport, defaults: Result<Settings>) -> Result<Self> {
        let peer = Peer::of(&connection)?;
        let inherited =
            if transport == Transport::Worker { open_descriptors(connection.as_raw_fd()) } else { Vec::new() };
        Ok(Session { connection: Connection::new(connection), peer, transport, inherited, defaults })
    }

    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Serves requests until one does not ask to keep the connection open.
    ///
    /// # Errors
    /// The last request failed, or the connection did.
    pub fn run(self) -> Result<()> {
        crate::sys::signal::outlive_size_limit();
        let mut last = Ok(());
        loop {
            let request = match self.connection.receive(None) {
                Ok(Received::Request(r)) => *r,
                Ok(Received::Closed | Received::Nothing) => return last,
                Err(e) => return self.refuse(e),
            };
            if request.r#type == CriuReqType::Cancel as i32 {
                // It came too late: what it was to stop has been answered.
                continue;
            }
            let keep_open = request.keep_open();
            last = self.answer(request);
            if !keep_open {
                return last;
            }
        }
    }

    /// Answers what could not be understood, if the client still listens.
    fn refuse(&self, error: Error) -> Result<()> {
        let response = response::failure(CriuReqType::Empty as i32, &error, false);
        // The error that counts is the one being told.
        let _ = self.connection.send(&response, None);
        Err(error)
    }

    fn answer(&self, request: CriuReq) -> Result<()> {
        let kind = request.r#type;
        let extended = request.opts.as_ref().is_some_and(|o| o.extended());
        let serving = std::process::id();
        let done = self.dispatch(request);
        if std::process::id() != serving {
            // A restored task's process that came back here: it must never speak to the client.
            std::process::exit(1);
        }
        let response = match &done {
            Ok(answer) => answer.response.clone(),
            Err(e) => {
                crate::log::report(e);
                response::failure(kind, e, extended)
            }
        };
        crate::log::stop();
        let sent = self.connection.send(&response, None);
        let answer = done?;
        sent?;
        match answer.then {
            Some(command) => Err(command.exec()),
            None if answer.response.success => Ok(()),
            None => Err(Error::new(Phase::Service, "request", answer.response.cr_errmsg.unwrap_or_default())),
        }
    }
}

/// The numbers of this process's open descriptors, without one of them.
fn open_descriptors(without: i32) -> Vec<i32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::open("/proc/self/fd", flags, Mode::empty()) else { return Vec::new() };
    let reading = folder.as_raw_fd();
    let Ok(own) = rustix::fs::Dir::new(folder) else { return Vec::new() };
    let numbers = own.flatten().filter_map(|e| e.file_name().to_str().ok()?.parse().ok());
    numbers.filter(|&n| n != without && n != reading).collect()
}

/// What a request led to.
struct Answer {
    response: CriuResp,
    /// What this process becomes after the response.
    then: Option<operation::ExecCommand>,
}

impl From<CriuResp> for Answer {
    fn from(response: CriuResp) -> Self {
        Answer { response, then: None }
    }
}

/// For [`crate::parsers`].
pub(crate) fn merge_options(defaults: &Settings, opts: criu_images::messages::CriuOpts) -> Result<()> {
    settings::merge(defaults, opts).map(drop)
}
