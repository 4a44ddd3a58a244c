//! Terminals: which one it is, and its settings.

use std::collections::HashMap;
use std::os::fd::AsFd;

use criu_images::messages::{
    FdTypes, FileEntry, RegFileEntry, TtyFileEntry, TtyInfoEntry, TtyPtyEntry, TtyType, WinsizeEntry,
};
use criu_images::{ImageDir, Kind};
use rustix::fs::{major, minor};

use super::to_entry;
use crate::error::{Blocker, Result};
use crate::file::FileId;
use crate::file::collect::{Collected, image_path, saving};
use crate::file::ghost::kernel_dev;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;
use crate::mem::pages::PagesIds;
use crate::sys::tty::{Which, termios};

/// Slaves of pseudo terminals.
const PTS: std::ops::RangeInclusive<u32> = 136..=143;
/// `/dev/tty`: whatever controls the process that opened it.
const DEV_TTY: (u32, u32) = (5, 0);

#[derive(Debug)]
struct Tty {
    info: TtyInfoEntry,
    pid: i32,
    object: String,
}

#[derive(Debug, Default)]
pub(crate) struct Ttys {
    ttys: Vec<Tty>,
    by_rdev: HashMap<u32, u32>,
}

impl DumpKind for Ttys {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.file_type() == libc::S_IFCHR
            && !seen.is_o_path()
            && seen.fd >= 0
            && major(seen.stat.st_rdev) != 1
            && termios(seen.dup.as_fd(), Which::Settings).is_ok()
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let control = Control::of(seen)?;
        let at = (major(seen.stat.st_rdev), minor(seen.stat.st_rdev));
        if at != DEV_TTY && (!PTS.contains(&at.0) || control.rdev != kernel_dev(seen.stat.st_rdev)) {
            return Err(Unsaved::because(
                "a terminal that is not the controlling one of its session cannot be saved yet",
            )
            .hint("close it before the dump"));
        }
        if !common.opts.shell_job() {
            return Err(
                Unsaved::because("the terminal of a session outside the tree").hint("allow it with --shell-job")
            );
        }
        let tty_info_id = match self.by_rdev.get(&kernel_dev(seen.stat.st_rdev)) {
            Some(&info) => info,
            None => self.add(seen, &control)?,
        };
        let regf_id = common.new_id();
        let reg = RegFileEntry {
            id: regf_id,
            flags: seen.info.flags,
            name: image_path(&seen.link)?,
            mode: Some(seen.stat.st_mode),
            ..RegFileEntry::default()
        };
        common.entries.push(Box::new(FileEntry {
            r#type: FdTypes::Reg as i32,
            id: regf_id,
            reg: Some(reg),
            ..FileEntry::default()
        }));
        let tty = TtyFileEntry { id, tty_info_id, flags: seen.info.flags, fown: seen.fown, regf_id: Some(regf_id) };
        Ok(FileEntry { r#type: FdTypes::Tty as i32, id, tty: Some(tty), ..FileEntry::default() })
    }

    fn resolve(&mut self, common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        for tty in &self.ttys {
            if common.tasks.contains_key(&(tty.info.sid as i32)) {
                let cause = "the terminal of a session inside the tree cannot be saved yet";
                blockers
                    .push(Blocker::new(tty.pid, &*tty.object, cause).hint("dump the job without its session leader"));
            }
        }
        Ok(())
    }

    fn save(&mut self, _common: &Collected, images: &ImageDir, _ids: &mut PagesIds) -> Result<()> {
        if self.ttys.is_empty() {
            return Ok(());
        }
        let mut image = images.create(Kind::TtyInfo, 0).map_err(saving)?;
        for tty in &self.ttys {
            image.entry(&tty.info).map_err(saving)?;
        }
        image.finish().map_err(saving)
    }
}

impl Ttys {
    fn add(&mut self, seen: &Seen<'_>, control: &Control) -> Result<u32, Unsaved> {
        let read = |which| termios(seen.dup.as_fd(), which).map_err(|e| Unsaved::os(seen, "ioctl TCGETS", e));
        let size = rustix::termios::tcgetwinsize(&seen.dup).map_err(|e| Unsaved::os(seen, "ioctl TIOCGWINSZ", e))?;
        let rdev = kernel_dev(seen.stat.st_rdev);
        let pts = PTS.contains(&major(seen.stat.st_rdev));
        let id = self.ttys.len() as u32;
        let info = TtyInfoEntry {
            id,
            r#type: if pts { TtyType::Pty } else { TtyType::Ctty } as i32,
            sid: control.sid as u32,
            pgrp: control.pgrp as u32,
            // Of terminals images have the old form: 8 bits each.
            rdev: (major(seen.stat.st_rdev) << 8) | (minor(seen.stat.st_rdev) & 0xff),
            termios: Some(to_entry(&read(Which::Settings)?)),
            termios_locked: Some(to_entry(&read(Which::Locked)?)),
            winsize: Some(WinsizeEntry {
                ws_row: u32::from(size.ws_row),
                ws_col: u32::from(size.ws_col),
                ws_xpixel: u32::from(size.ws_xpixel),
                ws_ypixel: u32::from(size.ws_ypixel),
            }),
            pty: pts.then(|| TtyPtyEntry { index: minor(seen.stat.st_rdev) }),
            dev: Some(kernel_dev(seen.stat.st_dev)),
            uid: Some(seen.stat.st_uid),
            gid: Some(seen.stat.st_gid),
            ..TtyInfoEntry::default()
        };
        self.ttys.push(Tty { info, pid: seen.task.pid, object: seen.object() });
        self.by_rdev.insert(rdev, id);
        Ok(id)
    }
}

/// The task's session and controlling terminal.
#[derive(Clone, Copy, Debug)]
struct Control {
    sid: i32,
    /// 0: none.
    rdev: u32,
    /// The foreground process group.
    pgrp: i32,
}

impl Control {
    fn of(seen: &Seen<'_>) -> Result<Self, Unsaved> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", seen.task.pid))
            .map_err(|e| Unsaved::os(seen, "reading /proc/PID/stat", e))?;
        Self::parse(&text).ok_or_else(|| Unsaved::because("/proc/PID/stat tells no session"))
    }

    fn parse(stat: &str) -> Option<Self> {
        // After the name, which may hold anything: state, ppid, pgrp, session, tty_nr, tpgid.
        let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(3);
        let sid = words.next()?.parse().ok()?;
        let tty: i32 = words.next()?.parse().ok()?;
        let tty = tty as u32;
        let minor = (tty & 0xff) | ((tty >> 12) & 0xf_ff00);
        let rdev = (((tty >> 8) & 0xfff) << 20) | minor;
        Some(Control { sid, rdev, pgrp: words.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_task_with_a_terminal() {
        let control = Control::parse("12 (a ) b) S 1 12 11 34817 12 4194560 1 2").unwrap();
        assert_eq!((control.sid, control.rdev, control.pgrp), (11, 136 << 20 | 1, 12));
    }
}
