//! Finds options by name, by unique prefix, by letter.

use std::fmt;

use super::{Given, OptionKind, OptionSpec, options};

/// Why a long option was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    Unknown(String),
    /// It begins more than one name.
    Ambiguous(String, Vec<String>),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookupError::Unknown(name) => write!(f, "unrecognized option `{name}`"),
            LookupError::Ambiguous(name, names) => {
                write!(f, "option `{name}` is ambiguous; possibilities: {}", names.join(", "))
            }
        }
    }
}

impl std::error::Error for LookupError {}

/// The option of exactly this name.
pub fn by_name(name: &str) -> Option<&'static OptionSpec> {
    options().find(|o| o.name == name)
}

/// The option of this letter.
pub fn by_short(letter: char) -> Option<&'static OptionSpec> {
    options().find(|o| o.short == Some(letter))
}

/// Every long name with what giving it means: `no-` forms included.
fn names() -> impl Iterator<Item = (String, &'static OptionSpec, Given<'static>)> {
    options().flat_map(|o| {
        let off = (o.kind == OptionKind::SwitchNo).then(|| (format!("no-{}", o.name), o, Given::Off));
        std::iter::once((o.name.to_owned(), o, Given::On)).chain(off)
    })
}

/// Resolves a long option as getopt_long(3) does: the exact name, else a prefix of exactly one. With `exact`, as in
/// config files, only the whole name.
///
/// # Errors
/// No such option, or several that begin so.
pub fn resolve(name: &str, exact: bool) -> Result<(&'static OptionSpec, Given<'static>), LookupError> {
    if let Some((_, spec, given)) = names().find(|(n, ..)| n == name) {
        return Ok((spec, given));
    }
    let unknown = || LookupError::Unknown(name.to_owned());
    if exact || name.is_empty() {
        return Err(unknown());
    }
    let mut begun: Vec<_> = names().filter(|(n, ..)| n.starts_with(name)).collect();
    match begun.len() {
        0 => Err(unknown()),
        1 => begun.pop().map(|(_, spec, given)| (spec, given)).ok_or_else(unknown),
        _ => Err(LookupError::Ambiguous(name.to_owned(), begun.into_iter().map(|(n, ..)| format!("--{n}")).collect())),
    }
}
