//! What operations begin with: directories, log, pid file, status descriptor.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use criu_engine::log::Out;
use criu_engine::rpc::open_path;
use criu_engine::script::ActionScripts;
use criu_engine::sys::process::inherited;
use criu_engine::{Error, Options, Phase, Result, log as oplog, not_yet};
use criu_images::options::{CommandSettings, Settings};
use rustix::fs::{Mode, OFlags};

/// Images and work directory, both open.
pub struct Directories {
    pub images: OwnedFd,
    pub work: OwnedFd,
    /// A path of the images directory that holds wherever one is.
    pub images_path: PathBuf,
}

impl Directories {
    /// The images directory is the current one, the work directory the images directory, unless options say otherwise.
    ///
    /// # Errors
    /// EBADRQC: one cannot be opened.
    pub fn open(settings: &Settings) -> Result<Self> {
        let path = settings.msg.images_dir.as_deref().unwrap_or(".");
        let images = open_path(path, "images directory")?;
        let work = open_path(settings.command.work_dir.as_deref().unwrap_or(path), "work directory")?;
        let images_path = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        Ok(Directories { images, work, images_path })
    }
}

/// Starts the log: the file named by `--log-file` in the work directory, or standard error.
///
/// # Errors
/// The file cannot be created.
pub fn start_log(settings: &Settings, work: impl AsFd) -> Result<()> {
    let out = match &settings.msg.log_file {
        Some(name) => Out::File(oplog::open_log(work.as_fd(), name)?),
        None => Out::Stderr,
    };
    let level = settings.msg.log_level.unwrap_or(oplog::DEFAULT_LEVEL);
    oplog::start(oplog::Setup { level, out, log_pid: settings.msg.log_pid(), sink: None });
    log::info!("criu {}", crate::VERSION);
    Ok(())
}

/// An operation that is about to start.
pub struct Prepared {
    pub options: Options,
    pub scripts: ActionScripts,
    pub pidfile: Option<PidFile>,
    pub status: Option<StatusFd>,
    pub command: CommandSettings,
}

/// Opens what the options name; `pid` is the root of the tree to dump, 0 for a restore.
///
/// # Errors
/// EBADRQC: something cannot be opened, or an option's feature is not there yet.
pub fn operation(settings: Settings, pid: i32) -> Result<Prepared> {
    let dirs = Directories::open(&settings)?;
    start_log(&settings, &dirs.work)?;
    not_yet::refuse(&settings.msg)?;
    not_yet::refuse_command(&settings.command)?;
    let Settings { msg, command } = settings;
    let pidfile = command.pidfile.as_deref().map(|name| PidFile::create(&dirs.work, name)).transpose()?;
    let status = msg.status_fd.map(StatusFd::take).transpose()?;
    let scripts = ActionScripts { scripts: command.action_scripts.clone(), image_dir: dirs.images_path };
    let options = Options {
        pid,
        images_dir: dirs.images,
        work_dir: dirs.work,
        peer_pid: 0,
        service_sk_ino: None,
        restore_sibling: msg.rst_sibling(),
        restore_detached: command.restore_detached,
        msg,
    };
    Ok(Prepared { options, scripts, pidfile, status, command })
}

/// A pid file, created before there is a pid to write.
pub struct PidFile {
    name: String,
    file: File,
}

impl PidFile {
    /// # Errors
    /// EBADRQC: it cannot be created in the work directory.
    pub fn create(work: impl AsFd, name: &str) -> Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(work, name, flags, Mode::from_raw_mode(0o644))
            .map_err(|e| Error::os(Phase::Options, format!("pid file `{name}`"), "openat", e).errno(libc::EBADRQC))?;
        Ok(PidFile { name: name.to_owned(), file: File::from(fd) })
    }

    /// # Errors
    /// What the file system answered.
    pub fn write(mut self, pid: i32) -> Result<()> {
        write!(self.file, "{pid}")
            .map_err(|e| Error::os(Phase::Resume, format!("pid file `{}`", self.name), "write", e))
    }
}

/// The descriptor that gets one zero byte when all is ready.
pub struct StatusFd(OwnedFd);

impl StatusFd {
    /// # Errors
    /// EBADRQC: it is not an inherited descriptor.
    pub fn take(fd: i32) -> Result<Self> {
        inherited(fd)
            .map(StatusFd)
            .map_err(|e| Error::new(Phase::Options, format!("--status-fd {fd}"), e.to_string()).errno(libc::EBADRQC))
    }

    /// Writes the byte and closes the descriptor. Nobody may be listening any more.
    pub fn ready(self) {
        if let Err(e) = File::from(self.0).write_all(&[0]) {
            log::warn!("--status-fd: write: {e}");
        }
    }
}
