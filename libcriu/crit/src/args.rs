//! The arguments of a command, by the rules of getopt_long: options anywhere, any unique beginning of a long one.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::failure::{Failure, Result};

/// Options and what stands beside them.
#[derive(Debug)]
pub(crate) struct Args {
    command: String,
    options: Vec<(&'static str, Option<OsString>)>,
    pub(crate) operands: Vec<OsString>,
}

/// `name`, or `name:letter` for one that takes a value and has a short form.
type Spec = &'static str;

impl Args {
    pub(crate) fn parse(command: &str, words: &[OsString], specs: &[Spec]) -> Result<Args> {
        let mut args = Args { command: command.to_owned(), options: Vec::new(), operands: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                args.operands.extend(words.by_ref().cloned());
            } else if let Some(long) = bytes.strip_prefix(b"--") {
                let (name, value) = match long.iter().position(|&b| b == b'=') {
                    Some(at) => (&long[..at], Some(OsStr::from_bytes(&long[at + 1..]).to_owned())),
                    None => (long, None),
                };
                let spec = args.long(name, specs)?;
                let value = args.value(spec, value, &mut words)?;
                args.options.push((name_of(spec), value));
            } else if bytes.len() > 1 && bytes[0] == b'-' {
                let spec = specs.iter().find(|s| s.split_once(':').is_some_and(|(_, c)| c.as_bytes() == &bytes[1..2]));
                let spec = spec.ok_or_else(|| args.usage(&format!("no option {}", word.to_string_lossy())))?;
                let glued = (bytes.len() > 2).then(|| OsStr::from_bytes(&bytes[2..]).to_owned());
                let value = args.value(spec, glued, &mut words)?;
                args.options.push((name_of(spec), value));
            } else {
                args.operands.push(word.clone());
            }
        }
        Ok(args)
    }

    fn long(&self, name: &[u8], specs: &[Spec]) -> Result<Spec> {
        let named = |s: &&Spec| name_of(s).as_bytes() == name;
        let begun: Vec<_> = specs.iter().filter(|s| name_of(s).as_bytes().starts_with(name)).collect();
        match (specs.iter().find(named), &begun[..]) {
            (Some(spec), _) => Ok(spec),
            (None, [spec]) => Ok(spec),
            (None, []) => Err(self.usage(&format!("no option --{}", String::from_utf8_lossy(name)))),
            _ => Err(self.usage(&format!("--{} is the beginning of several options", String::from_utf8_lossy(name)))),
        }
    }

    fn value<'a>(
        &self,
        spec: Spec,
        given: Option<OsString>,
        words: &mut impl Iterator<Item = &'a OsString>,
    ) -> Result<Option<OsString>> {
        let name = name_of(spec);
        match (spec.contains(':'), given) {
            (true, Some(value)) => Ok(Some(value)),
            (true, None) => match words.next() {
                Some(value) => Ok(Some(value.clone())),
                None => Err(self.usage(&format!("--{name} needs a value"))),
            },
            (false, None) => Ok(None),
            (false, Some(_)) => Err(self.usage(&format!("--{name} takes no value"))),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|o| o.0 == name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.options.iter().rev().find(|o| o.0 == name).and_then(|o| o.1.as_deref())
    }

    /// The operands, which have to be as many as these names.
    pub(crate) fn exactly<const N: usize>(&self, names: [&str; N]) -> Result<&[OsString; N]> {
        self.operands.as_slice().try_into().map_err(|_| {
            let wanted = if N == 0 { "no operands".to_owned() } else { names.join(" ") };
            self.usage(&format!("takes {wanted}; {} given", self.operands.len()))
        })
    }

    pub(crate) fn usage(&self, what: &str) -> Failure {
        Failure::Usage(format!("{}: {what}; `crit help` shows how it is used", self.command))
    }
}

fn name_of(spec: Spec) -> &'static str {
    spec.split_once(':').map_or(spec, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args> {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        Args::parse("decode", &words, &["in:i", "out:o", "pretty", "plain"])
    }

    #[test]
    fn every_spelling() {
        for words in [["-i", "x"].as_slice(), &["-ix"], &["--in", "x"], &["--in=x"], &["--i=x"]] {
            assert_eq!(parse(words).unwrap().get("in"), Some(OsStr::new("x")), "{words:?}");
        }
        let args = parse(&["a", "--pret", "b", "--", "--in"]).unwrap();
        assert!(args.has("pretty"));
        assert_eq!(args.operands, ["a", "b", "--in"]);
        assert_eq!(parse(&["-"]).unwrap().operands, ["-"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (words, said) in [
            (["--p"].as_slice(), "several"),
            (&["--nope"], "no option --nope"),
            (&["-x"], "no option -x"),
            (&["--in"], "needs a value"),
            (&["--pretty=1"], "takes no value"),
        ] {
            let error = parse(words).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(parse(&["a"]).unwrap().exactly([]).is_err());
    }
}
