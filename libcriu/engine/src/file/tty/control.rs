//! Sessions and their controlling terminals, as /proc/PID/stat tells.

use std::path::Path;

use crate::file::path::{lstat, same};

/// A task's session and controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub sid: i32,
    /// 12 bits major above 20 bits minor; 0: none.
    pub rdev: u32,
    /// The foreground process group of the terminal.
    pub pgrp: i32,
}

impl Control {
    pub fn of(pid: i32) -> std::io::Result<Self> {
        let text = std::fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&String::from_utf8_lossy(&text)).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
    }

    /// The session among those of these tasks that has this terminal.
    pub fn of_any(mut pids: impl Iterator<Item = i32>, rdev: u32) -> Option<Self> {
        pids.find_map(|pid| Self::of(pid).ok().filter(|c| c.rdev == rdev))
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

/// A process outside of the tree that has the slave at `path` open.
pub(super) fn outsider(path: &str, is_in_tree: impl Fn(i32) -> bool) -> Option<i32> {
    let own = std::process::id() as i32;
    let there = lstat(path.as_bytes()).ok()?;
    let pids = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    // Another instance of devpts has the same paths.
    let is_it = |fd: &Path| {
        std::fs::read_link(fd).is_ok_and(|link| link.as_os_str() == path)
            && rustix::fs::stat(fd).is_ok_and(|stat| same(&stat, &there))
    };
    let has = |pid: &i32| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.into_iter().any(|fd| is_it(&fd.path()))
    };
    pids.into_iter().filter(|&pid: &i32| pid != own && !is_in_tree(pid)).find(has)
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
