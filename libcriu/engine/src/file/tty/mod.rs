//! Terminals.
//!
//! A pseudo terminal whose master is in the tree comes back as a whole: number, settings, size, modes, what waits in it in
//! both directions, and as the controlling terminal of the session it had, foreground group included. Of a slave whose master
//! is closed nothing but hung-up descriptions is left. A terminal whose master is outside can be that of a shell which
//! the job was started from (`shell_job`): its descriptors come back on the terminal that the restore was started from,
//! `inherit_fd` with the key `tty[RDEV:DEV]`, or the engine's standard input; the settings the job had made are made again.
//!
//! One that `external` names comes back on the descriptor that `inherit_fd` gives for the same key, also as the controlling
//! terminal of a session in the tree.
//!
//! What waits in a terminal can only be seen by taking it out (`buffer`): the dump does that last, and puts it back at once.
//!
//! Limits, refused by name: consoles and serial lines; another line discipline; stopped output (^S); a change of state in
//! packet mode not read yet; an echo in a terminal whose slave was never open. What was typed into such a one, and waits without
//! an echo, is read in the kernel's memory; where the engine may not look there, the terminal is refused.

mod buffer;
mod control;
mod dump;
mod pair;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::{FdTypes, TermiosEntry, TtyInfoEntry};

use super::kind::FileKind;
use crate::sys::tty::{CONTROL_CHARACTERS, Termios};

/// Major of the slaves of pseudo terminals.
const PTS_MAJOR: u32 = 136;
/// Masters are opened through this device.
const PTMX: (u32, u32) = (5, 2);
/// `/dev/tty`: whatever controls the process that opens it.
const DEV_TTY: (u32, u32) = (5, 0);

/// A device number as the terminal images have it: that of the C library, cut to 32 bits.
const fn image_rdev((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// As `inherit_fd` and `external` name it.
fn key(info: &TtyInfoEntry) -> String {
    format!("tty[{:x}:{:x}]", info.rdev, info.dev.unwrap_or(0))
}

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
        c_ispeed: t.ispeed,
        c_ospeed: t.ospeed,
        c_cc,
    }
}

fn from_entry(e: &TermiosEntry) -> Termios {
    let mut cc = [0; CONTROL_CHARACTERS];
    for (i, c) in cc.iter_mut().enumerate() {
        *c = (e.c_cc.get(i / 4).copied().unwrap_or(0) >> (8 * (i % 4))) as u8;
    }
    Termios {
        iflag: e.c_iflag,
        oflag: e.c_oflag,
        cflag: e.c_cflag,
        lflag: e.c_lflag,
        line: e.c_line as u8,
        cc,
        ispeed: e.c_ispeed,
        ospeed: e.c_ospeed,
    }
}
