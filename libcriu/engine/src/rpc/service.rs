//! `criu service`: a socket with a name; every connection is served by a process of its own, with the rights of its client.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use criu_images::options::Settings;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use super::{Session, Transport};
use crate::error::{Error, Phase, Result};
use crate::sys::process::{Forked, fork};
use crate::sys::signal;

/// Where the service listens when nothing else is said.
pub const DEFAULT_ADDRESS: &str = "criu_service.socket";
/// More connections than this wait.
const MAX_CONNECTIONS: usize = 512;

/// A listening service. Its socket file goes away with it.
pub struct Service {
    listener: OwnedFd,
    file: SocketFile,
    defaults: Settings,
    /// The processes that serve connections.
    serving: Vec<OwnedFd>,
}

/// The name of the socket, removed at the end.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Service {
    /// Listens at `path`. A socket file that nobody serves any more is replaced. Anybody may connect: what a client may
    /// do is what it could do itself.
    ///
    /// # Errors
    /// The address is taken, too long, or cannot be created.
    pub fn listen(path: &Path, defaults: Settings) -> Result<Self> {
        let failed =
            |call: &str, e: Errno| Error::os(Phase::Service, format!("service address {}", path.display()), call, e);
        let address = SocketAddrUnix::new(path).map_err(|e| failed("address", e))?;
        let listener = socket().map_err(|e| failed("socket", e))?;
        match rustix::net::bind(&listener, &address) {
            Err(Errno::ADDRINUSE) if is_stale(&address) => {
                rustix::fs::unlink(path).map_err(|e| failed("unlink", e))?;
                rustix::net::bind(&listener, &address).map_err(|e| failed("bind", e))?;
            }
            r => r.map_err(|e| failed("bind", e))?,
        }
        let everybody = fs::Permissions::from_mode(0o666);
        fs::set_permissions(path, everybody)
            .map_err(|e| Error::os(Phase::Service, format!("service address {}", path.display()), "chmod", e))?;
        rustix::net::listen(&listener, 16).map_err(|e| failed("listen", e))?;
        let file = SocketFile(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
        Ok(Service { listener, file, defaults, serving: Vec::new() })
    }

    /// Serves until a signal asks to end (see [`signal::note_termination`]). Returns also in the process that has
    /// served a connection, with what became of it.
    ///
    /// # Errors
    /// The listening socket failed; the client's last request did.
    pub fn run(mut self) -> Result<()> {
        while !signal::terminated() {
            self.wait()?;
            self.collect();
            if self.serving.len() >= MAX_CONNECTIONS {
                continue;
            }
            let Some(connection) = self.accept()? else { continue };
            match fork() {
                Ok(Forked::Child) => return self.into_worker(connection),
                Ok(Forked::Parent { child }) => self.remember(child),
                Err(e) => log::error!("a connection was not served: fork: {e}"),
            }
        }
        log::info!("the service ends");
        Ok(())
    }

    /// Lets go of the service without removing its name: another process goes on with it.
    pub fn leave(self) {
        std::mem::forget(self.file);
    }

    /// In a process of its own: nothing of the service stays open, then the client is served with its own rights.
    fn into_worker(self, connection: OwnedFd) -> Result<()> {
        let Service { listener, file, defaults, serving } = self;
        drop((listener, serving));
        // The name belongs to the service.
        std::mem::forget(file);
        crate::log::stop();
        let session = Session::new(connection, Transport::Service, Ok(defaults))?;
        match session.become_client() {
            Ok(()) => session.run(),
            Err(e) => session.refuse(e),
        }
    }

    /// Waits for a connection, for the end of a serving process, or for a second: a signal may ask to end.
    fn wait(&self) -> Result<()> {
        let mut fds: Vec<PollFd<'_>> = self.serving.iter().map(|p| PollFd::new(p, PollFlags::IN)).collect();
        if self.serving.len() < MAX_CONNECTIONS {
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, Some(&second)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(Error::os(Phase::Service, "the service's socket", "poll", e)),
        }
    }

    /// Reaps the serving processes that have ended.
    fn collect(&mut self) {
        self.serving.retain(|process| {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            matches!(rustix::process::waitid(WaitId::PidFd(process.as_fd()), options), Ok(None) | Err(Errno::INTR))
        });
    }

    fn accept(&self) -> Result<Option<OwnedFd>> {
        match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(e @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)) => {
                log::warn!("accept: {}", io::Error::from(e));
                Ok(None)
            }
            Err(e) => Err(Error::os(Phase::Service, "the service's socket", "accept", e)),
        }
    }

    fn remember(&mut self, child: i32) {
        let Some(pid) = Pid::from_raw(child) else { return };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => self.serving.push(process),
            Err(e) => log::warn!("pidfd_open({child}): {}", io::Error::from(e)),
        }
    }
}

fn socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Whether nobody answers at this address any more.
fn is_stale(address: &SocketAddrUnix) -> bool {
    socket().is_ok_and(|s| rustix::net::connect(&s, address) == Err(Errno::CONNREFUSED))
}
