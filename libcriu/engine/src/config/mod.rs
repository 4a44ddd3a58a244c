//! Config files: options by their long names, one a line.
//!
//! Read in this order, each overriding what came before: `/etc/criu/default.conf`, `~/.criu/default.conf` (both off with
//! `--no-default-config` or `--config`), `$CRIU_CONFIG_FILE`, `--config`; then the command line or the request; then the
//! request's own `config_file`.

mod line;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use criu_images::options::{Given, OptionKind, Settings, resolve};

use crate::error::{Error, Phase, Result};

/// No config file is larger.
pub const MAX_CONFIG_BYTES: u64 = 256 << 10;

/// The system's own config file.
pub const SYSTEM_CONFIG: &str = "/etc/criu/default.conf";

/// Where config files are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The default files; a missing one is none.
    pub defaults: Vec<PathBuf>,
    /// `$CRIU_CONFIG_FILE`.
    pub environment: Option<PathBuf>,
    /// `--config`.
    pub explicit: Option<PathBuf>,
}

impl Sources {
    /// Those of this process's environment. `explicit` is `--config`, `no_default` is `--no-default-config`.
    pub fn of_environment(explicit: Option<&str>, no_default: bool) -> Self {
        let mut defaults = Vec::new();
        if explicit.is_none() && !no_default {
            defaults.push(PathBuf::from(SYSTEM_CONFIG));
            if let Some(home) = std::env::var_os("HOME").filter(|h| !h.is_empty()) {
                defaults.push(PathBuf::from(home).join(".criu/default.conf"));
            }
        }
        let environment = std::env::var_os("CRIU_CONFIG_FILE").filter(|f| !f.is_empty()).map(PathBuf::from);
        Sources { defaults, environment, explicit: explicit.map(PathBuf::from) }
    }

    /// Reads all of them over nothing.
    ///
    /// # Errors
    /// A file cannot be read, or a line is wrong: EBADRQC, naming file and line.
    pub fn load(&self) -> Result<Settings> {
        let mut settings = Settings::new();
        for path in self.defaults.iter().filter(|path| !is_out_of_sight(path)) {
            apply_if_there(path, &mut settings)?;
        }
        for path in self.environment.iter().chain(&self.explicit) {
            apply(path, &mut settings)?;
        }
        Ok(settings)
    }
}

/// Applies a config file over `settings`.
///
/// # Errors
/// As for [`Sources::load`]; also when there is no such file.
pub fn apply(path: &Path, settings: &mut Settings) -> Result<()> {
    let text = read(path).map_err(|e| unreadable(path, &e))?;
    apply_text(&text, &path.display().to_string(), settings)
}

/// As [`apply`]; a missing file is none. Says whether there was one.
///
/// # Errors
/// As for [`Sources::load`].
pub fn apply_if_there(path: &Path, settings: &mut Settings) -> Result<bool> {
    match read(path) {
        Ok(text) => apply_text(&text, &path.display().to_string(), settings).map(|()| true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(unreadable(path, &e)),
    }
}

/// Is it in a directory that this process may not look into? HOME may be left from before its user was changed.
fn is_out_of_sight(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

fn unreadable(path: &Path, e: &io::Error) -> Error {
    Error::new(Phase::Options, format!("config file {}", path.display()), e.to_string()).errno(libc::EBADRQC)
}

/// Reads a regular file of bounded size; anything else (a fifo would never end) is refused.
fn read(path: &Path) -> io::Result<String> {
    let file: File = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        let text = format!("it is larger than {MAX_CONFIG_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Applies the text of a config file; `name` is how errors call it.
///
/// # Errors
/// EBADRQC, naming file and line.
pub fn apply_text(text: &str, name: &str, settings: &mut Settings) -> Result<()> {
    for (number, raw) in (1..).zip(text.lines()) {
        line::split(raw)
            .and_then(|entry| entry.map_or(Ok(()), |(key, value)| set(&key, value.as_deref(), settings)))
            .map_err(|cause| {
            Error::new(Phase::Options, format!("config file {name}:{number}"), cause).errno(libc::EBADRQC)
        })?;
    }
    Ok(())
}

fn set(key: &str, value: Option<&str>, settings: &mut Settings) -> std::result::Result<(), String> {
    let (spec, given) = resolve(key, true).map_err(|e| e.to_string())?;
    if !spec.is_config_key() {
        return Err(format!("option `{key}` is for the command line alone"));
    }
    let given = match (value, given) {
        (None, given) => given,
        (Some(_), Given::Off) => return Err(format!("option `{key}`: it takes no value")),
        (Some(value), _) => Given::Value(value),
    };
    debug_assert!(given != Given::Off || spec.kind == OptionKind::SwitchNo);
    spec.set(settings, given).map_err(|cause| format!("option `{key}`: {cause}"))
}
