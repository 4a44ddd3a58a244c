//! Terminals: which one it is, its settings, and what waits in it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::{
    FdTypes, FileEntry, RegFileEntry, TtyDataEntry, TtyFileEntry, TtyInfoEntry, TtyPtyEntry, TtyType, WinsizeEntry,
};
use criu_images::{ImageDir, Kind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{major, minor};
use rustix::io::ioctl_fionread;

use super::buffer::{Ends, Waiting, is_canonical};
use super::control::{Control, outsider};
use super::{DEV_TTY, PTMX, PTS_MAJOR, image_rdev, key, to_entry};
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::FileId;
use crate::file::collect::{Collected, saving};
use crate::file::ghost::kernel_dev;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::path::{Place, lstat, place, shown};
use crate::file::seen::Seen;
use crate::mem::pages::PagesIds;
use crate::sys::kernel::Kernel;
use crate::sys::spawn::run_apart;
use crate::sys::tty::{Switch, Termios, Which, device, discipline, open_peer, pty_index, switch, termios};

/// Majors of the slaves of pseudo terminals.
const PTS: std::ops::RangeInclusive<u32> = PTS_MAJOR..=143;
/// What is in a master's buffer below this leaves room for more: a slave that takes nothing then is stopped.
const ROOMY_BYTES: u64 = 2048;

/// Which end of a terminal a description is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Master,
    Slave,
    /// `/dev/tty`: the slave that controlled the process that opened it.
    DevTty,
    /// A slave whose master is closed.
    Hung,
}

/// A description of the slave's side.
#[derive(Debug)]
struct Holder {
    pid: i32,
    object: String,
    control: Control,
}

/// A pseudo terminal of which something is open in the tree.
#[derive(Debug, Default)]
struct Pty {
    /// The master, and who has it.
    master: Option<(OwnedFd, i32, String)>,
    slave: Option<OwnedFd>,
    holders: Vec<Holder>,
    infos: BTreeMap<End, u32>,
    settings: Termios,
    /// The slave was open once, and is not any more.
    is_closed: bool,
    /// Named by `external`.
    is_external: bool,
    waiting: Waiting,
}

#[derive(Debug, Default)]
pub(crate) struct Ttys {
    infos: Vec<TtyInfoEntry>,
    /// By the slave's device.
    ptys: BTreeMap<u32, Pty>,
}

impl DumpKind for Ttys {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        let is_slave = PTS.contains(&major(seen.stat.st_rdev));
        seen.file_type() == libc::S_IFCHR
            && !seen.is_o_path()
            && seen.fd >= 0
            && major(seen.stat.st_rdev) != 1
            && (is_slave || at(seen) == DEV_TTY || termios(seen.dup.as_fd(), Which::Settings).is_ok())
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let fd = seen.dup.as_fd();
        let (end, rdev) = if at(seen) == PTMX {
            let index = pty_index(fd).map_err(|e| Unsaved::os(seen, "ioctl TIOCGPTN", e))?;
            (End::Master, PTS_MAJOR << 20 | index)
        } else {
            match device(fd) {
                Ok(rdev) if at(seen) == DEV_TTY => (End::DevTty, rdev),
                Ok(rdev) => (End::Slave, rdev),
                Err(_) => (End::Hung, 0),
            }
        };
        if end != End::Hung && !PTS.contains(&(rdev >> 20)) {
            return Err(Unsaved::because("a console or serial line cannot be saved yet").hint(CLOSE_IT));
        }
        let name = match place(&seen.link, &seen.stat) {
            Place::Here(name) => name,
            Place::Gone(name) if end == End::Hung => name,
            // The number is used again, by another terminal.
            Place::Other(name) | Place::Hidden(name) if end == End::Hung => name,
            Place::Other(name) | Place::Gone(name) | Place::Hidden(name) | Place::Unreachable(name) => {
                let cause = format!("{} does not lead to this terminal", shown(&name));
                return Err(Unsaved::because(cause).hint("dump inside its mount namespace"));
            }
        };
        let tty_info_id = self.take_in(seen, end, rdev)?;
        if end == End::Slave
            && let Some(info) = self.infos.get_mut(tty_info_id as usize)
            && common.opts.external.contains(&key(info))
        {
            info.r#type = TtyType::ExtTty as i32;
            if let Some(pty) = self.ptys.get_mut(&rdev) {
                pty.is_external = true;
            }
        }
        let regf_id = common.new_id();
        let reg = RegFileEntry {
            id: regf_id,
            flags: seen.info.flags,
            name,
            mode: Some(seen.stat.st_mode),
            ..RegFileEntry::default()
        };
        common.entries.push(FileEntry {
            r#type: FdTypes::Reg as i32,
            id: regf_id,
            reg: Some(reg.into()),
            ..FileEntry::default()
        });
        let tty = TtyFileEntry { id, tty_info_id, flags: seen.info.flags, fown: seen.fown, regf_id: Some(regf_id) };
        Ok(FileEntry { r#type: FdTypes::Tty as i32, id, tty: Some(tty.into()), ..FileEntry::default() })
    }

    fn resolve(&mut self, common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        let mut controls: Vec<(i32, Control)> = Vec::new();
        if self.ptys.values().any(|p| p.master.is_some()) {
            // What ends in this moment is a zombie: it controls nothing.
            controls.extend(common.tasks.keys().filter_map(|&pid| Some((pid, Control::of(pid).ok()?))));
        }
        for (&rdev, pty) in &mut self.ptys {
            if pty.is_external {
                let control = Control::of_any(common.tasks.keys().copied(), rdev);
                for &info in pty.infos.values() {
                    let info = &mut self.infos[info as usize];
                    info.sid = control.map_or(0, |c| c.sid) as u32;
                    info.pgrp = control.map_or(0, |c| c.pgrp.max(0)) as u32;
                }
            } else if pty.master.is_some() {
                let control = controls.iter().map(|c| c.1).find(|c| c.rdev == rdev);
                pty.check_pair(rdev, control, common, blockers)?;
                for &info in pty.infos.values() {
                    let info = &mut self.infos[info as usize];
                    info.sid = control.map_or(0, |c| c.sid) as u32;
                    info.pgrp = control.map_or(0, |c| c.pgrp.max(0)) as u32;
                }
                if pty.slave.is_none()
                    && let Some(&info) = pty.infos.get(&End::Master)
                {
                    describe_closed(&mut self.infos[info as usize], rdev, pty.is_closed);
                }
            } else if common.opts.orphan_pts_master() && !pty.is_of_job(rdev, common) {
                let control = Control::of_any(common.tasks.keys().copied(), rdev);
                for &info in pty.infos.values() {
                    let info = &mut self.infos[info as usize];
                    info.orphan = Some(true);
                    info.sid = control.map_or(0, |c| c.sid) as u32;
                    info.pgrp = control.map_or(0, |c| c.pgrp.max(0)) as u32;
                }
                pty.check_orphan(blockers)?;
            } else {
                let name = pty.infos.values().next().map_or(String::new(), |&info| key(&self.infos[info as usize]));
                pty.check_inherited(rdev, &name, common, blockers);
            }
        }
        Ok(())
    }

    fn save(&mut self, _common: &Collected, images: &ImageDir, _ids: &mut PagesIds) -> Result<()> {
        if self.infos.is_empty() {
            return Ok(());
        }
        for pty in self.ptys.values_mut() {
            pty.look()?;
        }
        let mut image = images.create(Kind::TtyInfo, 0).map_err(saving)?;
        for info in &self.infos {
            image.entry(info).map_err(saving)?;
        }
        image.finish().map_err(saving)?;
        if self.ptys.values().all(|p| p.waiting.is_empty()) {
            return Ok(());
        }
        let mut image = images.create(Kind::TtyData, 0).map_err(saving)?;
        for pty in self.ptys.values() {
            let Waiting { to_master, to_slave, ends } = pty.waiting.clone();
            let master = pty.infos.get(&End::Master).copied().unwrap_or(0);
            if !to_master.is_empty() {
                let entry = TtyDataEntry { tty_id: master, data: to_master, ends: Vec::new() };
                image.entry(&entry).map_err(saving)?;
            }
            if !to_slave.is_empty() || !ends.is_empty() {
                let slave = pty.infos.get(&End::Slave).or(pty.infos.get(&End::DevTty)).copied();
                // Of a master alone: told apart by the ends, which are there even if nobody typed one.
                let tty_id = slave.unwrap_or(master);
                let ends = if slave.is_none() && ends.is_empty() { vec![u32::MAX] } else { ends };
                image.entry(&TtyDataEntry { tty_id, data: to_slave, ends }).map_err(saving)?;
            }
        }
        image.finish().map_err(saving)
    }
}

const CLOSE_IT: &str = "close it before the dump";

fn at(seen: &Seen<'_>) -> (u32, u32) {
    (major(seen.stat.st_rdev), minor(seen.stat.st_rdev))
}

impl Ttys {
    /// The number of the description's terminal in `tty-info.img`.
    fn take_in(&mut self, seen: &Seen<'_>, end: End, rdev: u32) -> Result<u32, Unsaved> {
        if end == End::Hung {
            // Nothing is left of it that could be asked for.
            let pts = at(seen) != DEV_TTY;
            let info = TtyInfoEntry {
                r#type: if pts { TtyType::Pty } else { TtyType::Ctty } as i32,
                pty: pts.then(|| TtyPtyEntry { index: minor(seen.stat.st_rdev) }),
                ..self.entry(seen)
            };
            self.infos.push(info);
            return Ok(self.infos.len() as u32 - 1);
        }
        let fd = seen.dup.as_fd();
        if discipline(fd).map_err(|e| Unsaved::os(seen, "ioctl TIOCGETD", e))? != 0 {
            return Err(
                Unsaved::because("a terminal with another line discipline than the ordinary one").hint(CLOSE_IT)
            );
        }
        let control = Control::of(seen.task.pid).map_err(|e| Unsaved::os(seen, "reading /proc/PID/stat", e))?;
        let settings = termios(fd, Which::Settings).map_err(|e| Unsaved::os(seen, "ioctl TCGETS", e))?;
        if !self.ptys.get(&rdev).is_some_and(|p| p.infos.contains_key(&end)) {
            let info = self.full_entry(seen, end, rdev, &settings, control)?;
            self.infos.push(info);
        }
        let last = self.infos.len() as u32 - 1;
        let pty = self.ptys.entry(rdev).or_default();
        let info = *pty.infos.entry(end).or_insert(last);
        pty.settings = settings;
        let dup = || rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|e| Unsaved::os(seen, "dup", e));
        if end == End::Master {
            pty.master = Some((dup()?, seen.task.pid, seen.object()));
        } else {
            if pty.slave.is_none() {
                pty.slave = Some(dup()?);
            }
            pty.holders.push(Holder { pid: seen.task.pid, object: seen.object(), control });
        }
        Ok(info)
    }

    /// What holds of an inode.
    fn entry(&self, seen: &Seen<'_>) -> TtyInfoEntry {
        TtyInfoEntry {
            id: self.infos.len() as u32,
            rdev: image_rdev(at(seen)),
            dev: Some(kernel_dev(seen.stat.st_dev)),
            uid: Some(seen.stat.st_uid),
            gid: Some(seen.stat.st_gid),
            ..TtyInfoEntry::default()
        }
    }

    fn full_entry(
        &self,
        seen: &Seen<'_>,
        end: End,
        rdev: u32,
        settings: &Termios,
        control: Control,
    ) -> Result<TtyInfoEntry, Unsaved> {
        let fd = seen.dup.as_fd();
        let locked = termios(fd, Which::Locked).map_err(|e| Unsaved::os(seen, "ioctl TIOCGLCKTRMIOS", e))?;
        let size = rustix::termios::tcgetwinsize(&seen.dup).map_err(|e| Unsaved::os(seen, "ioctl TIOCGWINSZ", e))?;
        let get = |which, call| switch(fd, which).map_err(|e| Unsaved::os(seen, call, e));
        let is_master = end == End::Master;
        Ok(TtyInfoEntry {
            r#type: if end == End::DevTty { TtyType::Ctty } else { TtyType::Pty } as i32,
            locked: is_master && get(Switch::Locked, "ioctl TIOCGPTLCK")?,
            exclusive: get(Switch::Exclusive, "ioctl TIOCGEXCL")?,
            packet_mode: is_master && get(Switch::Packet, "ioctl TIOCGPKT")?,
            sid: control.sid as u32,
            pgrp: control.pgrp.max(0) as u32,
            termios: Some(to_entry(settings)),
            termios_locked: Some(to_entry(&locked)),
            winsize: Some(WinsizeEntry {
                ws_row: u32::from(size.ws_row),
                ws_col: u32::from(size.ws_col),
                ws_xpixel: u32::from(size.ws_xpixel),
                ws_ypixel: u32::from(size.ws_ypixel),
            }),
            // CRIU has no number for /dev/tty; the session tells there.
            pty: Some(TtyPtyEntry { index: rdev & 0xf_ffff }),
            ..self.entry(seen)
        })
    }
}

/// The line discipline's buffer: N_TTY_BUF_SIZE.
const TYPED_BYTES: usize = 4096;

/// What waits to be read from a slave, as the kernel has it: of `end`, or of what is linked to it.
fn typed_ahead(fd: &OwnedFd, end: End, settings: &Termios) -> std::io::Result<Waiting> {
    let kernel = Kernel::open()?;
    let private = kernel.number(kernel.file(fd.as_fd())?, "file", "private_data")?;
    let tty = kernel.number(private, "tty_file_private", "tty")?;
    let slave = if end == End::Master { kernel.number(tty, "tty_struct", "link")? } else { tty };
    let data = kernel.number(slave, "tty_struct", "disc_data")?;
    let (tail, head) =
        (kernel.number(data, "n_tty_data", "read_tail")?, kernel.number(data, "n_tty_data", "read_head")?);
    let mut waiting = Waiting::default();
    if head == tail {
        return Ok(waiting);
    }
    let (mut bytes, mut ends) = ([0; TYPED_BYTES], [0; TYPED_BYTES / 8]);
    kernel.read(kernel.place(data, "n_tty_data", "read_buf")?, &mut bytes)?;
    kernel.read(kernel.place(data, "n_tty_data", "read_flags")?, &mut ends)?;
    let count = head.wrapping_sub(tail).min(TYPED_BYTES as u64);
    for at in (0..count).map(|i| tail.wrapping_add(i) as usize % TYPED_BYTES) {
        // An end of file is a zero that ends a line.
        match bytes[at] {
            0 if is_canonical(settings) && ends[at / 8] >> (at % 8) & 1 != 0 => {
                waiting.ends.push(waiting.to_slave.len() as u32);
            }
            byte => waiting.to_slave.push(byte),
        }
    }
    Ok(waiting)
}

/// The owner and permissions of the slave's node, for a master that has nobody at the other end.
fn describe_closed(info: &mut TtyInfoEntry, rdev: u32, is_closed: bool) {
    info.slave_closed = is_closed.then_some(true);
    if let Ok(stat) = lstat(format!("/dev/pts/{}", rdev & 0xf_ffff).as_bytes())
        && kernel_dev(stat.st_rdev) == rdev
    {
        (info.slave_uid, info.slave_gid) = (Some(stat.st_uid), Some(stat.st_gid));
        info.slave_mode = Some(stat.st_mode & 0o7777);
    }
}

fn events(fd: &OwnedFd, wanted: PollFlags) -> rustix::io::Result<PollFlags> {
    let mut fds = [PollFd::new(fd, wanted)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(fds[0].revents())
}

impl Pty {
    /// A pseudo terminal whose master is in the tree: it comes back as a whole, so nobody outside may have a part in it.
    fn check_pair(
        &mut self,
        rdev: u32,
        control: Option<Control>,
        common: &Collected,
        blockers: &mut Vec<Blocker>,
    ) -> Result<()> {
        let Some((master, pid, object)) = &self.master else { return Ok(()) };
        let mut refuse = |cause: String, hint: &str| blockers.push(Blocker::new(*pid, &**object, cause).hint(hint));
        let failed = |call: &str, e: std::io::Error| Error::os(Phase::Collect, &**object, call, e).pid(*pid);
        if let Some(c) = control.filter(|c| !common.tasks.contains_key(&c.sid)) {
            refuse(format!("its terminal controls session {}, whose leader is outside the tree", c.sid), "dump both");
        }
        let now = events(master, PollFlags::IN | PollFlags::PRI).map_err(|e| failed("poll", e.into()))?;
        let waits = ioctl_fionread(master).map_err(|e| failed("ioctl FIONREAD", e.into()))?;
        if now.contains(PollFlags::PRI) {
            refuse("a change of state in packet mode is waiting to be read".into(), "dump when it was read");
        }
        let is_locked = switch(master.as_fd(), Switch::Locked).map_err(|e| failed("ioctl TIOCGPTLCK", e))?;
        match &self.slave {
            Some(slave) => {
                let now = events(slave, PollFlags::OUT).map_err(|e| failed("poll", e.into()))?;
                if !now.contains(PollFlags::OUT) && waits < ROOMY_BYTES {
                    refuse("its output is stopped".into(), "start it again (^Q)");
                }
                if is_locked {
                    refuse("its master was locked while it is open".into(), "unlock it");
                }
            }
            None => {
                self.is_closed = now.contains(PollFlags::HUP);
                let path = format!("/dev/pts/{}", rdev & 0xf_ffff);
                if self.is_closed {
                    if is_locked {
                        refuse("it was locked after its slave was closed".into(), "unlock it");
                    }
                } else if let Some(other) = outsider(&path, |p| common.tasks.contains_key(&p)) {
                    refuse(format!("its slave is open in process {other}, which is outside the tree"), "dump both");
                } else if waits > 0 {
                    let cause = "an echo waits in it, but nobody has opened its slave yet";
                    refuse(cause.into(), "dump when the slave is open");
                } else {
                    match typed_ahead(master, End::Master, &self.settings) {
                        Ok(waiting) => self.waiting = waiting,
                        Err(e) => {
                            let cause = "nobody has opened its slave yet, and what was typed into it cannot be seen";
                            let hint = "dump when the slave is open, or give the engine CAP_BPF and CAP_PERFMON";
                            refuse(format!("{cause} ({e})"), hint);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether it controls a session outside the tree, such as that of the shell that the job was started from.
    fn is_of_job(&self, rdev: u32, common: &Collected) -> bool {
        self.holders.iter().any(|h| h.control.rdev == rdev && !common.tasks.contains_key(&h.control.sid))
    }

    /// A terminal whose master is outside, and is made anew for who restores (`orphan_pts_master`). What was written to it is
    /// the old master's to read.
    fn check_orphan(&mut self, blockers: &mut Vec<Blocker>) -> Result<()> {
        let (Some(slave), Some(h)) = (&self.slave, self.holders.first()) else { return Ok(()) };
        let mut refuse = |cause: String, hint: &str| blockers.push(Blocker::new(h.pid, &*h.object, cause).hint(hint));
        let failed = |e: rustix::io::Errno| Error::os(Phase::Collect, &*h.object, "poll", e).pid(h.pid);
        if !events(slave, PollFlags::OUT).map_err(failed)?.contains(PollFlags::OUT) {
            refuse("its output is stopped, or nobody reads it".into(), "start it again (^Q), and have it read");
        }
        match typed_ahead(slave, End::Slave, &self.settings) {
            Ok(waiting) => self.waiting = waiting,
            Err(e) => {
                let cause = format!("its master is outside the tree, and what was typed into it cannot be seen ({e})");
                refuse(cause, "give the engine CAP_BPF and CAP_PERFMON");
            }
        }
        Ok(())
    }

    /// A terminal whose master is outside: only as the one of the shell that the job was started from, or of whoever
    /// restores it. `name`: as `external` has it.
    fn check_inherited(&self, rdev: u32, name: &str, common: &Collected, blockers: &mut Vec<Blocker>) {
        if self.is_external {
            return;
        }
        for h in &self.holders {
            let (cause, hint) = if h.control.rdev != rdev {
                (
                    "the master of this pseudo terminal is outside the tree, and it is not the controlling terminal",
                    CLOSE_IT.to_owned(),
                )
            } else if common.tasks.contains_key(&h.control.sid) {
                (
                    "the terminal of a session inside the tree, whose master is outside",
                    // A terminal controls one session: that of who restores cannot be this one's, too.
                    format!(
                        "dump it with --external {name}, and restore it with another one: --inherit-fd fd[N]:{name}; or have \
                         its master made anew with --orphan-pts-master"
                    ),
                )
            } else if !common.opts.shell_job() {
                ("the terminal of a session outside the tree", "allow it with --shell-job".to_owned())
            } else {
                continue;
            };
            blockers.push(Blocker::new(h.pid, &*h.object, cause).hint(hint));
        }
    }

    /// Takes what waits in it out and puts it back, in a process that is not stopped by the death of this one.
    fn look(&mut self) -> Result<()> {
        let (Some((master, pid, object)), slave) = (self.master.take(), self.slave.take()) else { return Ok(()) };
        let failed = |call: &str, e: std::io::Error| Error::os(Phase::Save, &*object, call, e).pid(pid);
        let slave = match slave {
            Some(slave) => slave,
            None if self.is_closed => {
                open_peer(master.as_fd(), libc::O_RDWR | libc::O_NOCTTY).map_err(|e| failed("ioctl TIOCGPTPEER", e))?
            }
            None => return Ok(()),
        };
        let packets = switch(master.as_fd(), Switch::Packet).map_err(|e| failed("ioctl TIOCGPKT", e))?;
        let settings = self.settings;
        let bytes = run_apart(|| look(&master, &slave, packets, &settings)).map_err(|e| failed("fork", e))?;
        let (errno, waiting) = bytes.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        self.waiting = match (i32::from_le_bytes(*errno), Waiting::decode(waiting)) {
            (0, Some(waiting)) => waiting,
            (0, None) => return Err(failed("reading buffers", std::io::ErrorKind::InvalidData.into())),
            (errno, _) => return Err(failed("reading buffers", std::io::Error::from_raw_os_error(errno))),
        };
        Ok(())
    }
}

/// An error number, 0 if all went well, and what waits.
fn look(master: &OwnedFd, slave: &OwnedFd, packets: bool, settings: &Termios) -> Vec<u8> {
    use crate::sys::tty::set_switch;
    let ends = Ends { master: master.as_fd(), slave: slave.as_fd() };
    let change = |on| if packets { set_switch(master.as_fd(), Switch::Packet, on) } else { Ok(()) };
    let looked = change(false).and_then(|()| ends.look(settings));
    let outcome = change(true).and(looked);
    let errno = outcome.as_ref().map_or_else(|e| e.raw_os_error().unwrap_or(libc::ETIMEDOUT), |_| 0);
    let mut bytes = errno.to_le_bytes().to_vec();
    bytes.extend(outcome.unwrap_or_default().encode());
    bytes
}
