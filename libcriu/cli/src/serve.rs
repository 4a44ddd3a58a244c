//! `criu swrk` and `criu service`.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use criu_engine::rpc::service::{DEFAULT_ADDRESS, Service};
use criu_engine::rpc::{Session, Transport, open_path};
use criu_engine::sys::process::{Forked, fork, inherited};
use criu_engine::{Error, Phase, Result};
use criu_images::options::Settings;

use crate::prepare::{self, PidFile, StatusFd};
use crate::{FAILED, Failure};

/// Serves the process that started this one on an inherited socket. It has been told of every failure.
pub fn swrk(settings: Settings, words: &[String]) -> std::result::Result<u8, Failure> {
    let [fd] = words else { return Err(Failure::Usage("swrk needs a descriptor number".into())) };
    let number: i32 = fd.parse().map_err(|_| Failure::Usage(format!("swrk {fd}: not a descriptor number")))?;
    let connection = inherited(number).map_err(|e| Failure::Usage(format!("swrk {fd}: {e}")))?;
    let session = Session::new(connection, Transport::Worker, Ok(request_defaults(settings)))?;
    Ok(if session.run().is_ok() { 0 } else { FAILED })
}

/// What options of this command mean for the requests it serves: everything but its own files and address.
fn request_defaults(mut settings: Settings) -> Settings {
    settings.msg.log_file = None;
    settings.msg.images_dir = None;
    settings.msg.status_fd = None;
    settings.msg.ps = None;
    settings.msg.pid = None;
    settings.command.work_dir = None;
    settings.command.pidfile = None;
    settings
}

/// Serves whoever connects to a socket with a name, until a signal asks to end.
pub fn service(settings: Settings) -> std::result::Result<u8, Failure> {
    let work = open_path(settings.command.work_dir.as_deref().unwrap_or("."), "work directory")?;
    prepare::start_log(&settings, &work)?;
    let pidfile = settings.command.pidfile.as_deref().map(|name| PidFile::create(&work, name)).transpose()?;
    let status = settings.msg.status_fd.map(StatusFd::take).transpose()?;
    let address = settings.msg.ps.as_ref().and_then(|ps| ps.address.clone());
    let daemon = settings.command.daemon || settings.command.restore_detached;
    let service =
        Service::listen(Path::new(address.as_deref().unwrap_or(DEFAULT_ADDRESS)), request_defaults(settings))?;
    crate::dump::note_signals();
    let service = if daemon {
        match go_background(service)? {
            Some(service) => service,
            None => return Ok(0),
        }
    } else {
        service
    };
    if let Some(pidfile) = pidfile {
        pidfile.write(std::process::id() as i32)?;
    }
    if let Some(status) = status {
        status.ready();
    }
    let serving = std::process::id();
    match service.run() {
        // What serves one client has told it.
        Err(_) if std::process::id() != serving => Ok(FAILED),
        r => r.map(|()| 0).map_err(Failure::from),
    }
}

/// Leaves the terminal, the session and the caller. `None` in the caller's process, which is to exit.
fn go_background(service: Service) -> Result<Option<Service>> {
    let failed = |call: &str, e: std::io::Error| Error::os(Phase::Service, "--daemon", call, e);
    if let Forked::Parent { .. } = fork().map_err(|e| failed("fork", e))? {
        service.leave();
        return Ok(None);
    }
    rustix::process::setsid().map_err(|e| failed("setsid", e.into()))?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(|e| failed("open /dev/null", e))?;
    let null = null.as_fd();
    rustix::stdio::dup2_stdin(null).map_err(|e| failed("dup2", e.into()))?;
    rustix::stdio::dup2_stdout(null).map_err(|e| failed("dup2", e.into()))?;
    rustix::stdio::dup2_stderr(null).map_err(|e| failed("dup2", e.into()))?;
    Ok(Some(service))
}
