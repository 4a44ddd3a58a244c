//! Where the connection to an engine comes from.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use crate::connection::Connection;
use crate::error::{Code, Error, Result};
use crate::sys::{self, Exec, Launch, Relation};

/// How the engine is reached.
#[derive(Clone, Debug)]
pub enum Transport {
    /// A worker of the client's own, started for each operation.
    Worker(Program),
    /// `BINARY swrk FD`, started for each operation; a name without `/` is looked up in PATH.
    Binary(PathBuf),
    /// A service that listens on a socket.
    Address(PathBuf),
    /// A connected socket of the caller's; it is not closed.
    Fd(RawFd),
}

/// What a worker executes.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    /// `criu` from PATH.
    Command,
    /// Whatever the function finds: a library that is its own worker.
    Found(fn() -> io::Result<Image>),
    /// A copy of this process (fork) that runs the function with the connection. Only for a program that has the engine
    /// in itself and no file to execute.
    Forked(fn(OwnedFd) -> i32),
}

/// An executable file.
#[derive(Debug)]
pub struct Image {
    /// Open, if only with O_PATH.
    pub file: OwnedFd,
    /// The dynamic loader to start it with when the file itself may not be executed.
    pub loader: Option<CString>,
}

impl Default for Transport {
    fn default() -> Self {
        Transport::Worker(Program::Command)
    }
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Anything that restores nothing; `traces_us`: it stops this very process.
    Look {
        traces_us: bool,
    },
    Restore,
    /// The restored root is to be this process's child.
    RestoreChild,
}

impl Purpose {
    /// What is restored may belong to this process's session and terminal; nothing else needs them.
    fn leaves_session(self) -> bool {
        matches!(self, Purpose::Look { .. })
    }
}

/// A process started for one connection.
#[derive(Debug)]
pub(crate) struct Worker {
    pid: i32,
    /// It has to be collected by us.
    child: bool,
}

/// How long a worker may take to end once its connection is closed.
const PATIENCE: Duration = Duration::from_secs(5);

impl Transport {
    /// Whether every connection gets a process of its own, which may be killed.
    pub fn is_private(&self) -> bool {
        matches!(self, Transport::Worker(_) | Transport::Binary(_))
    }

    pub(crate) fn connect(&self, purpose: Purpose) -> Result<(Connection, Option<Worker>)> {
        match self {
            Transport::Address(path) => Ok((Connection::to_service(path)?, None)),
            Transport::Fd(fd) => Ok((Connection::lent(*fd), None)),
            Transport::Binary(path) => start_command(path.as_os_str(), purpose),
            Transport::Worker(Program::Command) => start_command(OsStr::new("criu"), purpose),
            Transport::Worker(Program::Found(find)) => {
                let object = "the library's own file";
                let image = find().map_err(|e| {
                    Error::os(Code::Connect, object, "open", e).hint("criu_set_service_binary names another engine")
                })?;
                start(object, Exec::File(image.file.as_fd(), image.loader.as_deref()), purpose)
            }
            Transport::Worker(Program::Forked(serve)) => {
                let (ours, theirs) = Connection::pair()?;
                let pid = sys::fork_worker(theirs, purpose.leaves_session(), *serve)
                    .map_err(|e| Error::os(Code::Connect, "the worker", "fork", e))?;
                Ok((ours, Some(Worker { pid, child: true })))
            }
        }
    }
}

fn start_command(name: &OsStr, purpose: Purpose) -> Result<(Connection, Option<Worker>)> {
    let object = format!("program {}", name.to_string_lossy());
    let path = look_up(name).ok_or_else(|| {
        Error::os(Code::Connect, &object, "look up", io::Error::from_raw_os_error(libc::ENOENT))
            .hint("it is not in PATH; install it or name it by criu_set_service_binary")
    })?;
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(Code::Argument, &object, "the name holds a NUL").errno(libc::EINVAL))?;
    start(&object, Exec::Path(&path), purpose)
}

fn start(object: &str, exec: Exec<'_>, purpose: Purpose) -> Result<(Connection, Option<Worker>)> {
    let (ours, theirs) = Connection::pair()?;
    let args = [c"swrk".to_owned(), number(theirs.as_raw_fd())];
    let environment = sys::environment();
    let relation = if purpose == Purpose::RestoreChild { Relation::Child } else { Relation::Orphan };
    let new_session = purpose.leaves_session();
    let connection = theirs.as_fd();
    let launch = Launch { exec, args: &args, environment: &environment, connection, relation, new_session };
    let pid = sys::spawn(&launch).map_err(|e| Error::os(Code::Connect, object, "execute", e))?;
    // A host that reaps orphans has got the worker as a child after all.
    let child = relation == Relation::Child || sys::is_child(pid);
    Ok((ours, Some(Worker { pid, child })))
}

fn number(fd: RawFd) -> CString {
    CString::new(fd.to_string()).unwrap_or_default()
}

/// The file that executing `name` would execute.
fn look_up(name: &OsStr) -> Option<PathBuf> {
    let executable = |p: &Path| fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin".into());
    env::split_paths(&path).map(|dir| dir.join(name)).find(|p| executable(p))
}

impl Worker {
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Collects the worker, if that is ours to do; the connection has been closed.
    pub(crate) fn finish(self) {
        if !self.child {
            return;
        }
        if !collect(self.pid, PATIENCE) {
            sys::kill(self.pid);
            sys::wait_blocking(self.pid);
        }
    }
}

/// Waits for a child's end, at most so long, and collects it: whether it is gone.
pub(crate) fn collect(child: i32, patience: Duration) -> bool {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    while sys::reap(child).is_none() {
        if start.elapsed() > patience {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    true
}

/// Whether a command of this name is in PATH.
pub fn command_exists(name: &str) -> bool {
    look_up(OsStr::new(name)).is_some()
}
