//! What is written: standard output, or a file that is there whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// Writes `text` to standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(to_stdout)
}

pub(crate) fn to_stdout(source: io::Error) -> Failure {
    Failure::Write { file: "standard output".to_owned(), source }
}

/// Lets `write` write to standard output, ended by a newline if `line` says so, or to the named file.
///
/// A regular file gets its name only when it is complete; until then, and after a failure, what had the name keeps it.
pub(crate) fn write(path: Option<&OsStr>, line: bool, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let Some(path) = path.filter(|p| *p != "-").map(Path::new) else {
        let mut out = BufWriter::new(io::stdout().lock());
        write(&mut out)?;
        return out.write_all(if line { b"\n" } else { b"" }).and_then(|()| out.flush()).map_err(to_stdout);
    };
    let failed = |source| Failure::Write { file: path.display().to_string(), source };
    // What a symlink names is replaced, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|m| !m.is_file()) {
        let mut out = OpenOptions::new().write(true).open(&target).map_err(failed)?;
        write(&mut out)?;
        return out.flush().map_err(failed);
    }
    let part = part_of(&target);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&part).map_err(failed)?;
    let written = write(&mut file).and_then(|()| finish(file, &part, &target).map_err(failed));
    if written.is_err() {
        // The failure is what counts; this part has no reader.
        let _ = fs::remove_file(&part);
    }
    written
}

fn finish(mut file: File, part: &Path, target: &Path) -> io::Result<()> {
    file.flush()?;
    if let Ok(old) = fs::metadata(target) {
        file.set_permissions(old.permissions())?;
    }
    fs::rename(part, target)
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    target.with_file_name(name)
}
