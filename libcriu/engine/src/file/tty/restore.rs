//! Terminals: whole pseudo terminals, hung-up ends, and descriptions of the one the restore was started from.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use criu_images::messages::{FdTypes, FileEntry, TtyDataEntry, TtyFileEntry, TtyInfoEntry, TtyType};
use criu_images::{ImageDir, Kind};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::pair::{Opening, Pair, open_hung};
use super::{PTMX, from_entry, image_rdev, key};
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::{Plan, loading};
use crate::file::object::Object;
use crate::file::{FileId, Wanted};
use crate::sys::descriptor::borrow;
use crate::sys::tty::{Which, set_termios, termios};

/// The engine's standard input.
const STDIN: RawFd = 0;
/// The file of a master that nobody in the tree has; images have none of that number.
const ORPHAN: FileId = FileId::MAX;
/// `ends` of a master's own data: it is what waits for the slave.
const FOR_SLAVE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Ttys {
    infos: HashMap<u32, TtyInfoEntry>,
    pairs: BTreeMap<u32, Pair>,
    /// Descriptions of slaves whose master is closed; whether they are of /dev/tty.
    hung: HashMap<FileId, (Opening, bool)>,
    opened: HashMap<FileId, OwnedFd>,
    /// Masters that nobody in the tree has.
    orphans: Vec<OwnedFd>,
    /// By session.
    controls: HashMap<i32, (i32, OwnedFd)>,
}

impl RestoreKind for Ttys {
    fn load(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        let infos: Vec<TtyInfoEntry> = images.read_all(Kind::TtyInfo, 0).map_err(loading)?;
        self.infos = infos.into_iter().map(|i| (i.id, i)).collect();
        let ttys: Vec<&FileEntry> = plan.entries.values().filter(|e| e.r#type() == FdTypes::Tty).collect();
        for &entry in &ttys {
            self.load_master(plan, entry)?;
        }
        for &entry in &ttys {
            self.load_slave(plan, entry)?;
        }
        for data in images.read_all::<TtyDataEntry>(Kind::TtyData, 0).map_err(loading)? {
            self.load_data(data)?;
        }
        Ok(())
    }

    fn prepare(&mut self, _plan: &mut Plan) -> Result<()> {
        for pair in self.pairs.values() {
            let mut made = pair.make()?;
            if pair.is_orphan {
                self.orphans.extend(made.opened.remove(&ORPHAN));
            }
            self.opened.extend(made.opened);
            if let Some((sid, pgrp, fd)) = made.control {
                self.controls.insert(sid, (pgrp, fd));
            }
        }
        // After the others have got their numbers.
        for (id, (opening, is_dev_tty)) in &self.hung {
            self.opened.insert(*id, open_hung(opening, *is_dev_tty)?);
        }
        Ok(())
    }

    fn open(&mut self, plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let open = |entry: &FileEntry| {
            let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, name(entry), call, e);
            if let Some(made) = self.opened.get(&entry.id) {
                return rustix::io::fcntl_dupfd_cloexec(made, 0).map_err(|e| failed("dup", e.into()));
            }
            let tty = body(entry, entry.tty.as_ref())?;
            let inherited = plan.inherited(&key(self.info(tty)?), Wanted::Terminal)?;
            let terminal = inherited.as_ref().map_or(borrow(STDIN), AsFd::as_fd);
            reopen(terminal, tty.flags).map_err(|e| failed("open", e.into()))
        };
        members.iter().map(|m| open(m)).collect()
    }

    fn close(&mut self) {
        self.opened.clear();
        self.orphans.clear();
        self.controls.clear();
    }

    fn orphans(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.orphans)
    }

    fn controlling(&self, session: i32) -> Option<(BorrowedFd<'_>, i32)> {
        self.controls.get(&session).map(|(pgrp, fd)| (fd.as_fd(), *pgrp))
    }

    fn attach(&mut self, plan: &Plan, entry: &FileEntry, fd: RawFd, at: usize) -> Result<()> {
        let info = self.info(body(entry, entry.tty.as_ref())?)?;
        let is_inherited = !self.hung.contains_key(&entry.id) && self.pair_of(info).is_none();
        if !is_inherited || plan.first_user.get(&entry.id) != Some(&at) {
            return Ok(());
        }
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

    /// The pseudo terminal that a description is an end of, by its number or, for /dev/tty, by its session.
    fn pair_of(&self, info: &TtyInfoEntry) -> Option<u32> {
        let by_session = || {
            let controls = |p: &&Pair| info.sid != 0 && p.master_info.sid == info.sid;
            self.pairs.values().find(controls).map(|p| p.index)
        };
        match (&info.pty, info.r#type()) {
            (Some(pty), _) => self.pairs.contains_key(&pty.index).then_some(pty.index),
            (None, TtyType::Ctty) => by_session(),
            (None, _) => None,
        }
    }

    fn load_master(&mut self, plan: &Plan, entry: &FileEntry) -> Result<()> {
        let tty = body(entry, entry.tty.as_ref())?;
        let info = self.info(tty)?.clone();
        if info.rdev != image_rdev(PTMX) {
            return Ok(());
        }
        let wrong = |why: &str| Error::new(Phase::Check, name(entry), why);
        let index = info.pty.as_ref().ok_or_else(|| wrong("a master without a number"))?.index;
        let opening = opening(plan, tty);
        let pair = Pair { index, master_info: info, master: Some(opening), ..Pair::default() };
        match self.pairs.insert(index, pair) {
            None => Ok(()),
            Some(_) => Err(wrong("two masters have the same number")),
        }
    }

    fn load_slave(&mut self, plan: &Plan, entry: &FileEntry) -> Result<()> {
        let tty = body(entry, entry.tty.as_ref())?;
        let info = self.info(tty)?.clone();
        let wrong = |why: &str, hint: &str| Err(Error::new(Phase::Check, name(entry), why).hint(hint));
        if info.rdev == image_rdev(PTMX) {
            return Ok(());
        }
        let is_given = info.orphan() && plan.inherit.contains_key(&key(&info));
        let is_external = info.r#type() == TtyType::ExtTty || is_given;
        if !is_external && !matches!(info.r#type(), TtyType::Pty | TtyType::Ctty) {
            return wrong("a console or serial line cannot be restored yet", "");
        }
        if is_external {
            let inherited = plan.inherited(&key(&info), Wanted::Terminal)?;
            let hint = format!("give one with --inherit-fd fd[N]:{}", key(&info));
            let Some(terminal) = inherited else { return wrong("an external terminal", &hint) };
            if info.sid != 0 {
                self.controls.insert(info.sid as i32, (info.pgrp as i32, terminal));
            }
            return Ok(());
        }
        let is_dev_tty = info.r#type() == TtyType::Ctty;
        if info.termios.is_none() {
            self.hung.insert(entry.id, (opening(plan, tty), is_dev_tty));
            return Ok(());
        }
        if let Some(pair) = self.pair_of(&info).and_then(|index| self.pairs.get_mut(&index)) {
            pair.slave_info.get_or_insert(info);
            let list = if is_dev_tty { &mut pair.dev_ttys } else { &mut pair.slaves };
            list.push(opening(plan, tty));
            return Ok(());
        }
        if plan.inherit.contains_key(&key(&info)) {
            return Ok(());
        }
        if plan.opts.orphan_pts_master() && (info.orphan() || !plan.opts.shell_job()) {
            return self.load_orphan(plan, entry, tty, info);
        }
        if info.orphan() {
            let hint = "have it made with --orphan-pts-master, or give a terminal with --inherit-fd";
            return wrong("the master of this terminal was outside the tree", &format!("{hint} fd[N]:{}", key(&info)));
        }
        if !plan.opts.shell_job() {
            return wrong("it was the terminal of a session outside the tree", "allow it with --shell-job");
        }
        if termios(borrow(STDIN), Which::Settings).is_err() {
            let hint = "restore from a terminal, or give one with --inherit-fd";
            return wrong("the job's terminal is to be the engine's standard input, which is none", hint);
        }
        Ok(())
    }

    /// A terminal whose master is made for who restores.
    fn load_orphan(&mut self, plan: &Plan, entry: &FileEntry, tty: &TtyFileEntry, info: TtyInfoEntry) -> Result<()> {
        let Some(index) = info.pty.as_ref().map(|pty| pty.index) else {
            return Err(Error::new(Phase::Check, name(entry), "a terminal without a number"));
        };
        let master =
            TtyFileEntry { id: ORPHAN, tty_info_id: info.id, flags: libc::O_RDWR as u32, ..Default::default() };
        let master = Opening { file: master, path: "/dev/ptmx".into(), mode: None };
        let master_info = TtyInfoEntry { sid: info.sid, pgrp: info.pgrp, ..Default::default() };
        let opening = opening(plan, tty);
        let (slaves, dev_ttys) =
            if info.r#type() == TtyType::Ctty { (vec![], vec![opening]) } else { (vec![opening], vec![]) };
        let (master, slave_info) = (Some(master), Some(info));
        let waiting = Default::default();
        let pair = Pair { index, master_info, slave_info, master, slaves, dev_ttys, waiting, is_orphan: true };
        self.pairs.insert(index, pair);
        Ok(())
    }

    fn load_data(&mut self, data: TtyDataEntry) -> Result<()> {
        let wrong = || Error::new(Phase::Load, "tty-data.img", format!("there is no terminal {}", data.tty_id));
        let info = self.infos.get(&data.tty_id).ok_or_else(wrong)?;
        let from_master = info.rdev == image_rdev(PTMX);
        if info.orphan() && self.pair_of(info).is_none() {
            log::warn!("{} bytes typed into {} are not typed into what stands in for it", data.data.len(), key(info));
            return Ok(());
        }
        let index = self.pair_of(info).ok_or_else(wrong)?;
        let pair = self.pairs.get_mut(&index).ok_or_else(wrong)?;
        if from_master && data.ends.is_empty() {
            pair.waiting.to_master = data.data;
        } else {
            pair.waiting.to_slave = data.data;
            pair.waiting.ends = data.ends.into_iter().filter(|&e| e != FOR_SLAVE).collect();
        }
        Ok(())
    }
}

/// The path and permissions come from the description's regular entry.
fn opening(plan: &Plan, tty: &TtyFileEntry) -> Opening {
    let reg = tty.regf_id.and_then(|id| plan.entries.get(&id)).and_then(|e| e.reg.as_ref());
    let path = reg.map_or(b"/dev/ptmx".as_slice(), |r| &r.name);
    Opening { file: *tty, path: OsStr::from_bytes(path).into(), mode: reg.and_then(|r| r.mode) }
}

fn name(entry: &FileEntry) -> String {
    format!("file {} (terminal)", entry.id)
}

/// A description of the job's own, so that its flags are not the shell's; where the path of the terminal cannot be opened
/// from here, a duplicate.
fn reopen(terminal: BorrowedFd<'_>, flags: u32) -> rustix::io::Result<OwnedFd> {
    let settable = (libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_APPEND) as u32;
    let flags = OFlags::from_bits_retain(flags & settable) | OFlags::CLOEXEC | OFlags::NOCTTY;
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    openat(CWD, path, flags, Mode::empty()).or_else(|_| rustix::io::fcntl_dupfd_cloexec(terminal, 0))
}
