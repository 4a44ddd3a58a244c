//! The command line, read by the rules of getopt_long(3): options and other words in any order, unique prefixes of long
//! names, optional values only as `--name=VALUE`, letters in one word, `--` before what are no options.

#[cfg(test)]
mod tests;

use std::fmt;

use criu_images::options::{Given, OptionKind, OptionSpec, Settings, by_short, resolve};

/// A command line taken apart, nothing applied yet.
#[derive(Debug, Default)]
pub struct Parsed {
    options: Vec<(&'static OptionSpec, How)>,
    /// The words that are no options, those after `--` included.
    pub words: Vec<String>,
}

/// [`Given`], owned.
#[derive(Debug, PartialEq, Eq)]
enum How {
    On,
    Off,
    Value(String),
}

/// A command line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

type Result<T> = std::result::Result<T, UsageError>;

/// Takes the arguments (without the program's name) apart.
///
/// # Errors
/// An unknown or ambiguous option, a value missing or superfluous.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            parsed.words.extend(args);
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            parsed.long(long, &mut args)?;
        } else if let Some(letters) = arg.strip_prefix('-').filter(|l| !l.is_empty()) {
            parsed.letters(letters, &mut args)?;
        } else {
            parsed.words.push(arg);
        }
    }
    Ok(parsed)
}

impl Parsed {
    fn long(&mut self, text: &str, args: &mut impl Iterator<Item = String>) -> Result<()> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let (spec, given) = resolve(name, false).map_err(|e| UsageError(format!("--{text}: {e}")))?;
        let how = match (value, given, spec.kind) {
            (Some(_), Given::Off, _) => return Err(UsageError(format!("--{name}: it takes no value"))),
            (Some(value), ..) => How::Value(value),
            (None, Given::Off, _) => How::Off,
            (None, _, OptionKind::Value) => How::Value(
                args.next().ok_or_else(|| UsageError(format!("--{}: it needs a value: {}", spec.name, spec.value)))?,
            ),
            (None, ..) => How::On,
        };
        self.options.push((spec, how));
        Ok(())
    }

    fn letters(&mut self, letters: &str, args: &mut impl Iterator<Item = String>) -> Result<()> {
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let spec = by_short(letter).ok_or_else(|| UsageError(format!("-{letter}: there is no such option")))?;
            let how = match spec.kind {
                OptionKind::Switch | OptionKind::SwitchNo => How::On,
                OptionKind::Value | OptionKind::OptionalValue => {
                    let value = std::mem::replace(&mut rest, "".chars());
                    match (value.as_str(), spec.kind) {
                        ("", OptionKind::OptionalValue) => How::On,
                        ("", _) => How::Value(
                            args.next()
                                .ok_or_else(|| UsageError(format!("-{letter}: it needs a value: {}", spec.value)))?,
                        ),
                        (value, _) => How::Value(value.to_owned()),
                    }
                }
            };
            self.options.push((spec, how));
        }
        Ok(())
    }

    /// Applies the options over `settings`, in their order.
    ///
    /// # Errors
    /// A value is wrong.
    pub fn apply(&self, settings: &mut Settings) -> Result<()> {
        for (spec, how) in &self.options {
            let given = match how {
                How::On => Given::On,
                How::Off => Given::Off,
                How::Value(v) => Given::Value(v),
            };
            spec.set(settings, given).map_err(|cause| UsageError(format!("--{}: {cause}", spec.name)))?;
        }
        Ok(())
    }
}
