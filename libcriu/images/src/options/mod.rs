//! The one option table: the command line, config files, the C setters and the documentation are all made from it.
//!
//! A row says what an option is called, what its value looks like, which field of `criu_opts` it sets and what it is for.
//! Setting an option writes into [`Settings`]: the request's message, and beside it what only a command knows.

mod groups;
mod lookup;
mod set;
mod table;
mod value;

use crate::messages::CriuOpts;

pub use groups::{Command, Section};
pub use lookup::{LookupError, by_name, by_short, resolve};
pub use table::options;

/// What may follow an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// On when given.
    Switch,
    /// On when given, off as `--no-NAME`.
    SwitchNo,
    /// A value: `--name VALUE` or `--name=VALUE`.
    Value,
    /// A value or none: `--name` or `--name=VALUE`.
    OptionalValue,
}

/// How an option was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    On,
    /// As `no-NAME`.
    Off,
    Value(&'a str),
}

/// One option.
pub struct OptionSpec {
    /// The long name, without dashes.
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: OptionKind,
    /// How the value is called in the documentation; empty for switches.
    pub value: &'static str,
    /// What holds when it is not given, in words; empty for "off" and "none".
    pub default: &'static str,
    /// The field of `criu_opts` that it sets; empty for an option of commands alone.
    pub field: &'static str,
    /// The commands that heed it; the others accept it.
    pub commands: &'static [Command],
    pub section: Section,
    /// What it does, in one or two sentences.
    pub help: &'static str,
    set: Setter,
}

/// Writes an option as it was given; the error says what is wrong with the value.
type Setter = fn(&mut Settings, Given<'_>) -> Result<(), String>;

impl PartialEq for OptionSpec {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Debug for OptionSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl OptionSpec {
    /// Sets this option.
    ///
    /// # Errors
    /// The value is missing, superfluous or wrong; the text does not name the option.
    pub fn set(&self, settings: &mut Settings, given: Given<'_>) -> Result<(), String> {
        match (self.kind, given) {
            (OptionKind::Switch | OptionKind::SwitchNo, Given::Value(_)) => Err("it takes no value".into()),
            (OptionKind::Value, Given::On) => Err(format!("it needs a value: {}", self.value)),
            (OptionKind::SwitchNo, Given::Off) | (_, Given::On | Given::Value(_)) => (self.set)(settings, given),
            (_, Given::Off) => Err("it has no `no-` form".into()),
        }
    }

    /// Whether a config file may hold it.
    pub fn is_config_key(&self) -> bool {
        !matches!(self.name, "config" | "no-default-config" | "help" | "version")
    }
}

/// All that options can say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The message of the request.
    pub msg: CriuOpts,
    pub command: CommandSettings,
}

impl Settings {
    /// Nothing set; no images directory by descriptor.
    pub fn new() -> Self {
        Settings { msg: CriuOpts { images_dir_fd: -1, ..Default::default() }, command: CommandSettings::default() }
    }
}

/// Options that have no field in the message: those of the command itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandSettings {
    pub work_dir: Option<String>,
    pub restore_detached: bool,
    pub daemon: bool,
    pub pidfile: Option<String>,
    /// Executed at every stage, in this order.
    pub action_scripts: Vec<String>,
    /// The arguments after `--` are a command to become after the restore.
    pub exec_cmd: bool,
    /// Names given to `--feature`.
    pub features: Vec<String>,
    pub extra: bool,
    pub experimental: bool,
    pub all: bool,
    pub deprecated: bool,
    pub page_server: bool,
    pub config: Option<String>,
    pub no_default_config: bool,
    /// Descriptors to close at the start.
    pub close: Vec<i32>,
    pub help: bool,
    pub version: bool,
}

#[cfg(test)]
mod tests;
