//! Standard output and error, for a program whose reader may be gone.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on standard output.
pub fn line(text: impl Display) {
    // Nobody reads it: there is no one to tell.
    let _ = writeln!(io::stdout(), "{text}");
}

/// A line on standard error.
pub fn error(text: impl Display) {
    let _ = writeln!(io::stderr(), "criu: {text}");
}
