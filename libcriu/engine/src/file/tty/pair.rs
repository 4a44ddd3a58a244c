//! A pseudo terminal comes back: made in the coordinator with everything that waits in it, so that every task inherits it.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use criu_images::messages::{TtyFileEntry, TtyInfoEntry};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, openat};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::termios::{Winsize, tcsetwinsize};

use super::buffer::{Ends, Waiting};
use super::from_entry;
use crate::error::{Error, Phase, Result};
use crate::file::FileId;
use crate::sys::spawn;
use crate::sys::tty::{
    Switch, Which, open_peer, pty_index, set_locked, set_switch, set_termios, take_as_controlling, termios,
};

/// More pseudo terminals than this no kernel has (`sysctl kernel.pty.max` is below it).
const MAX_INDEX: u32 = 1 << 20;

/// A description of one end, as the images have it.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub file: TtyFileEntry,
    /// The path it was opened by.
    pub path: PathBuf,
    /// Permissions of the node.
    pub mode: Option<u32>,
}

/// A pseudo terminal, as the images have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub index: u32,
    pub master_info: TtyInfoEntry,
    pub slave_info: Option<TtyInfoEntry>,
    pub master: Option<Opening>,
    pub slaves: Vec<Opening>,
    /// Descriptions of /dev/tty.
    pub dev_ttys: Vec<Opening>,
    pub waiting: Waiting,
    /// Its master is for who restores.
    pub is_orphan: bool,
}

/// What a pair has become.
#[derive(Debug)]
pub(super) struct Made {
    pub opened: HashMap<FileId, OwnedFd>,
    /// The session it controls, its foreground group, and a description for it to be taken by.
    pub control: Option<(i32, i32, OwnedFd)>,
}

fn failed(index: u32, call: &str, e: impl Into<std::io::Error>) -> Error {
    Error::os(Phase::Files, format!("terminal /dev/pts/{index}"), call, e)
}

/// Status flags that come back.
fn status_flags(flags: u32) -> i32 {
    // O_LARGEFILE, which means nothing, is seen by who asks for the flags.
    const LARGE: i32 = 0o100_000;
    flags as i32 & (libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_APPEND | LARGE)
}

impl Pair {
    /// The session that it controls; 0 for none.
    fn session(&self) -> (i32, i32) {
        let info = self.slave_info.as_ref().filter(|i| i.sid != 0).unwrap_or(&self.master_info);
        (info.sid as i32, info.pgrp as i32)
    }

    /// Makes it.
    ///
    /// # Errors
    /// EEXIST: its number is taken.
    pub fn make(&self) -> Result<Made> {
        let failed = |call: &str, e: std::io::Error| failed(self.index, call, e);
        let master = self.master.as_ref();
        let master = master.ok_or_else(|| failed("open", std::io::ErrorKind::NotFound.into()))?;
        let master_fd = open_master(self.index, master)?;
        let info = self.slave_info.as_ref().unwrap_or(&self.master_info);
        let needs_slave = !self.slaves.is_empty() || !self.dev_ttys.is_empty();
        let has_slave = needs_slave || info.slave_closed();
        set_switch(master_fd.as_fd(), Switch::Locked, !has_slave && info.locked)
            .map_err(|e| failed("ioctl TIOCSPTLCK", e))?;
        let mut made = Made { opened: HashMap::new(), control: None };
        if has_slave {
            let slave = peer(&master_fd, libc::O_RDWR).map_err(|e| failed("ioctl TIOCGPTPEER", e))?;
            self.fill(&master_fd, slave.as_fd())?;
            for (opening, fd) in self.open_slaves(&master_fd, slave.as_fd())? {
                made.opened.insert(opening, fd);
            }
            self.own(&slave)?;
            if info.exclusive {
                set_switch(slave.as_fd(), Switch::Exclusive, true).map_err(|e| failed("ioctl TIOCEXCL", e))?;
            }
            let (sid, pgrp) = self.session();
            // A session keeps it when it has closed all descriptors of it.
            if sid != 0 {
                made.control = Some((sid, pgrp, slave));
            }
        } else {
            // Once it was open, its end would be seen.
            self.fill(&master_fd, master_fd.as_fd())?;
            self.own_closed()?;
        }
        if self.master_info.packet_mode {
            set_switch(master_fd.as_fd(), Switch::Packet, true).map_err(|e| failed("ioctl TIOCPKT", e))?;
        }
        if self.master_info.exclusive {
            set_switch(master_fd.as_fd(), Switch::Exclusive, true).map_err(|e| failed("ioctl TIOCEXCL", e))?;
        }
        if self.master_info.locked {
            set_switch(master_fd.as_fd(), Switch::Locked, true).map_err(|e| failed("ioctl TIOCSPTLCK", e))?;
        }
        made.opened.insert(master.file.id, master_fd);
        Ok(made)
    }

    /// What waits in it, then its settings.
    fn fill(&self, master: &OwnedFd, slave: BorrowedFd<'_>) -> Result<()> {
        if !self.waiting.is_empty() {
            let now = termios(slave, Which::Settings).map_err(|e| failed(self.index, "ioctl TCGETS", e))?;
            let info = self.slave_info.as_ref().unwrap_or(&self.master_info);
            let settings = info.termios.as_ref().map_or(now, from_entry);
            let ends = Ends { master: master.as_fd(), slave };
            ends.fill(&self.waiting, &settings).map_err(|e| failed(self.index, "filling its buffers", e))?;
        }
        self.settle(slave)
    }

    /// Settings and size.
    fn settle(&self, fd: BorrowedFd<'_>) -> Result<()> {
        let info = self.slave_info.as_ref().unwrap_or(&self.master_info);
        let failed = |call: &str, e: std::io::Error| failed(self.index, call, e);
        if let Some(settings) = &info.termios {
            set_termios(fd, &from_entry(settings)).map_err(|e| failed("ioctl TCSETS", e))?;
        }
        let locked = info.termios_locked.as_ref().map(|t| {
            let locked = from_entry(t);
            // Older images have rubbish behind the flags of settings that nobody locked.
            let some = locked.iflag | locked.oflag | locked.cflag | locked.lflag != 0;
            if some { locked } else { Default::default() }
        });
        if let Some(locked) = locked.filter(|l| *l != Default::default()) {
            set_locked(fd, &locked).map_err(|e| failed("ioctl TIOCSLCKTRMIOS", e))?;
        }
        if let Some(size) = &info.winsize {
            let size = Winsize {
                ws_row: size.ws_row as u16,
                ws_col: size.ws_col as u16,
                ws_xpixel: size.ws_xpixel as u16,
                ws_ypixel: size.ws_ypixel as u16,
            };
            tcsetwinsize(fd, size).map_err(|e| failed("ioctl TIOCSWINSZ", e.into()))?;
        }
        Ok(())
    }

    fn open_slaves(&self, master: &OwnedFd, slave: BorrowedFd<'_>) -> Result<Vec<(FileId, OwnedFd)>> {
        let failed = |call: &str, e: std::io::Error| failed(self.index, call, e);
        let mut opened = Vec::new();
        for s in &self.slaves {
            let fd = peer(master, status_flags(s.file.flags)).map_err(|e| failed("ioctl TIOCGPTPEER", e))?;
            opened.push((s.file.id, fd));
        }
        if !self.dev_ttys.is_empty() {
            let flags: Vec<i32> = self.dev_ttys.iter().map(|d| status_flags(d.file.flags)).collect();
            let fds = open_dev_tty(slave, &flags).map_err(|e| failed("open /dev/tty", e))?;
            opened.extend(self.dev_ttys.iter().map(|d| d.file.id).zip(fds));
        }
        Ok(opened)
    }

    /// Owner and permissions of the slave's node.
    fn own(&self, slave: &OwnedFd) -> Result<()> {
        let mode = self.slaves.first().and_then(|s| s.mode).or(self.master_info.slave_mode);
        let (uid, gid) = match &self.slave_info {
            Some(info) => (info.uid, info.gid),
            None => (self.master_info.slave_uid, self.master_info.slave_gid),
        };
        let failed = |call: &str, e: rustix::io::Errno| failed(self.index, call, e);
        fchown(slave, uid.map(Uid::from_raw), gid.map(Gid::from_raw)).map_err(|e| failed("fchown", e))?;
        match mode {
            Some(mode) => fchmod(slave, Mode::from_raw_mode(mode & 0o7777)).map_err(|e| failed("fchmod", e)),
            None => Ok(()),
        }
    }

    /// The same without a description of it.
    fn own_closed(&self) -> Result<()> {
        let path = format!("/dev/pts/{}", self.index);
        let info = &self.master_info;
        let failed = |call: &str, e: rustix::io::Errno| failed(self.index, call, e);
        if info.slave_uid.is_some() || info.slave_gid.is_some() {
            let (uid, gid) = (info.slave_uid.map(Uid::from_raw), info.slave_gid.map(Gid::from_raw));
            rustix::fs::chown(&path, uid, gid).map_err(|e| failed("chown", e))?;
        }
        match info.slave_mode {
            Some(mode) => rustix::fs::chmod(&path, Mode::from_raw_mode(mode & 0o7777)).map_err(|e| failed("chmod", e)),
            None => Ok(()),
        }
    }
}

fn peer(master: &OwnedFd, flags: i32) -> std::io::Result<OwnedFd> {
    open_peer(master.as_fd(), flags | libc::O_NOCTTY)
}

/// Opens masters until one has the number: the kernel gives the lowest that is free.
fn open_master(index: u32, opening: &Opening) -> Result<OwnedFd> {
    let mut others = Vec::new();
    let flags = OFlags::from_bits_retain(status_flags(opening.file.flags) as u32) | OFlags::NOCTTY | OFlags::CLOEXEC;
    let taken = || {
        Error::new(Phase::Files, format!("terminal /dev/pts/{index}"), "its number is taken by another terminal")
            .errno(libc::EEXIST)
            .hint("restore when it is closed, or where /dev/pts is another")
    };
    while others.len() <= MAX_INDEX as usize {
        let master = openat(CWD, &opening.path, flags, Mode::empty()).map_err(|e| failed(index, "open", e))?;
        let got = pty_index(master.as_fd()).map_err(|e| failed(index, "ioctl TIOCGPTN", e))?;
        if got == index {
            return Ok(master);
        }
        // One of these may have been free at the first look and below the number.
        if got > index {
            return Err(taken());
        }
        others.push(master);
    }
    Err(taken())
}

/// Opens /dev/tty in a process that has the terminal as its controlling one, and takes the descriptions from it.
fn open_dev_tty(slave: BorrowedFd<'_>, flags: &[i32]) -> std::io::Result<Vec<OwnedFd>> {
    let (tell, told) = std::io::pipe()?;
    let pid = spawn::fork_plain(|| {
        use std::io::Write;
        // Not longer than this one.
        spawn::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).ok();
        let open = || -> std::io::Result<()> {
            rustix::process::setsid()?;
            take_as_controlling(slave)?;
            let mut numbers = Vec::new();
            for &f in flags {
                let flags = OFlags::from_bits_retain(f as u32) | OFlags::CLOEXEC;
                let fd = openat(CWD, "/dev/tty", flags, Mode::empty())?;
                let number = std::os::fd::IntoRawFd::into_raw_fd(fd);
                numbers.extend_from_slice(&number.to_le_bytes());
            }
            (&told).write_all(&numbers)
        };
        // With its descriptions until they are taken: ended by the other then.
        let opened = open();
        while opened.is_ok() {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    })?;
    drop(told);
    let take = || -> std::io::Result<Vec<OwnedFd>> {
        let raw = Pid::from_raw(pid).ok_or(std::io::ErrorKind::NotFound)?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty())?;
        let mut numbers = vec![0; flags.len() * 4];
        std::io::Read::read_exact(&mut &tell, &mut numbers)?;
        let number = |bytes: &[u8]| i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let get = |bytes| pidfd_getfd(&pidfd, number(bytes), PidfdGetfdFlags::empty()).map_err(Into::into);
        numbers.chunks_exact(4).map(get).collect()
    };
    let fds = take();
    if let Some(child) = Pid::from_raw(pid) {
        rustix::process::kill_process(child, rustix::process::Signal::KILL).ok();
    }
    spawn::reap(pid);
    fds
}

/// A slave whose master is closed: as the kernel leaves it.
pub(super) fn open_hung(opening: &Opening, is_dev_tty: bool) -> Result<OwnedFd> {
    let failed = |call: &str, e: std::io::Error| {
        Error::os(Phase::Files, format!("file {} (terminal {})", opening.file.id, opening.path.display()), call, e)
    };
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat(CWD, "/dev/ptmx", flags, Mode::empty()).map_err(|e| failed("open /dev/ptmx", e.into()))?;
    set_switch(master.as_fd(), Switch::Locked, false).map_err(|e| failed("ioctl TIOCSPTLCK", e))?;
    let status = status_flags(opening.file.flags);
    if !is_dev_tty {
        return peer(&master, status).map_err(|e| failed("ioctl TIOCGPTPEER", e));
    }
    let slave = peer(&master, libc::O_RDWR).map_err(|e| failed("ioctl TIOCGPTPEER", e))?;
    let mut fds = open_dev_tty(slave.as_fd(), &[status]).map_err(|e| failed("open /dev/tty", e))?;
    fds.pop().ok_or_else(|| failed("open /dev/tty", std::io::ErrorKind::NotFound.into()))
}
