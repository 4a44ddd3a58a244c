//! Terminals: descriptions of the one the restore was started from.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use criu_images::messages::{FdTypes, FileEntry, TtyFileEntry, TtyInfoEntry, TtyType};
use criu_images::{ImageDir, Kind};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::from_entry;
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::{Plan, loading};
use crate::file::object::Object;
use crate::sys::descriptor::borrow;
use crate::sys::tty::{Which, set_termios, termios};

/// The engine's standard input.
const STDIN: RawFd = 0;
/// Masters of pseudo terminals are opened through `/dev/ptmx` (5:2).
const PTMX: u32 = 5 << 8 | 2;

#[derive(Debug, Default)]
pub(crate) struct Ttys {
    infos: HashMap<u32, TtyInfoEntry>,
}

impl RestoreKind for Ttys {
    fn load(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        let infos: Vec<TtyInfoEntry> = images.read_all(Kind::TtyInfo, 0).map_err(loading)?;
        self.infos = infos.into_iter().map(|i| (i.id, i)).collect();
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Tty) {
            let info = self.info(body(entry, entry.tty.as_ref())?)?;
            let wrong = |why: &str, hint: &str| Err(Error::new(Phase::Check, name(entry), why).hint(hint));
            let in_tree = self.infos.values().any(|i| i.rdev == PTMX && i.pty == info.pty);
            if info.rdev == PTMX || in_tree || !matches!(info.r#type(), TtyType::Pty | TtyType::Ctty) {
                return wrong("a terminal that was not the one of the job's shell cannot be restored yet", "");
            }
            if plan.inherit.contains_key(&key(info)) {
                continue;
            }
            if !plan.opts.shell_job() {
                return wrong("it was the terminal of a session outside the tree", "allow it with --shell-job");
            }
            if termios(borrow(STDIN), Which::Settings).is_err() {
                let hint = "restore from a terminal, or give one with --inherit-fd";
                return wrong("the job's terminal is to be the engine's standard input, which is none", hint);
            }
        }
        Ok(())
    }

    fn open(&mut self, plan: &mut Plan, _object: Object, members: &[FileEntry]) -> Result<Vec<OwnedFd>> {
        let open = |entry: &FileEntry| {
            let tty = body(entry, entry.tty.as_ref())?;
            let inherited = plan.inherited(&key(self.info(tty)?))?;
            let terminal = inherited.as_ref().map_or(borrow(STDIN), AsFd::as_fd);
            reopen(terminal, tty.flags).map_err(|e| Error::os(Phase::Files, name(entry), "open", e))
        };
        members.iter().map(open).collect()
    }

    fn attach(&mut self, plan: &Plan, entry: &FileEntry, fd: RawFd, at: usize) -> Result<()> {
        if plan.first_user.get(&entry.id) != Some(&at) {
            return Ok(());
        }
        let info = self.info(body(entry, entry.tty.as_ref())?)?;
        let Some(wanted) = &info.termios else { return Ok(()) };
        let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, name(entry), call, e);
        let now = termios(borrow(fd), Which::Settings).map_err(|e| failed("ioctl TCGETS", e))?;
        let wanted = from_entry(wanted);
        if wanted != now {
            set_termios(borrow(fd), &wanted).map_err(|e| failed("ioctl TCSETS", e))?;
        }
        Ok(())
    }
}

impl Ttys {
    fn info(&self, tty: &TtyFileEntry) -> Result<&TtyInfoEntry> {
        self.infos.get(&tty.tty_info_id).ok_or_else(|| {
            Error::new(Phase::Check, format!("file {} (terminal)", tty.id), "tty-info.img does not tell of it")
        })
    }
}

fn name(entry: &FileEntry) -> String {
    format!("file {} (terminal)", entry.id)
}

/// As `inherit_fd` names it.
fn key(info: &TtyInfoEntry) -> String {
    format!("tty[{:x}:{:x}]", info.rdev, info.dev.unwrap_or(0))
}

/// A description of the job's own, so that its flags are not the shell's; where the path of the terminal cannot be opened
/// from here, a duplicate.
fn reopen(terminal: BorrowedFd<'_>, flags: u32) -> rustix::io::Result<OwnedFd> {
    let settable = (libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_APPEND) as u32;
    let flags = OFlags::from_bits_retain(flags & settable) | OFlags::CLOEXEC | OFlags::NOCTTY;
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    openat(CWD, path, flags, Mode::empty()).or_else(|_| rustix::io::fcntl_dupfd_cloexec(terminal, 0))
}
