//! Terminals: only the one of a session whose leader is outside the tree (`shell_job`). Its descriptors come back on the
//! terminal that the restore was started from: `inherit_fd` with the key `tty[RDEV:DEV]`, or the engine's standard input.
//! The line settings the job had made are set again there.
//!
//! Limits, refused by name: pseudo terminals whose master or session is in the tree, consoles, `/dev/tty` of such.

mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::{FdTypes, TermiosEntry};

use super::kind::FileKind;
use crate::sys::tty::{CONTROL_CHARACTERS, Termios};

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Tty],
    dump: || Box::<dump::Ttys>::default(),
    restore: || Box::<restore::Ttys>::default(),
};

/// As images have it: the control characters stand as bytes in the first words of a list of as many words.
fn to_entry(t: &Termios) -> TermiosEntry {
    let mut c_cc = vec![0; CONTROL_CHARACTERS];
    for (i, &c) in t.cc.iter().enumerate() {
        c_cc[i / 4] |= u32::from(c) << (8 * (i % 4));
    }
    TermiosEntry {
        c_iflag: t.iflag,
        c_oflag: t.oflag,
        c_cflag: t.cflag,
        c_lflag: t.lflag,
        c_line: u32::from(t.line),
        c_ispeed: 0,
        c_ospeed: 0,
        c_cc,
    }
}

fn from_entry(e: &TermiosEntry) -> Termios {
    let mut cc = [0; CONTROL_CHARACTERS];
    for (i, c) in cc.iter_mut().enumerate() {
        *c = (e.c_cc.get(i / 4).copied().unwrap_or(0) >> (8 * (i % 4))) as u8;
    }
    Termios { iflag: e.c_iflag, oflag: e.c_oflag, cflag: e.c_cflag, lflag: e.c_lflag, line: e.c_line as u8, cc }
}
