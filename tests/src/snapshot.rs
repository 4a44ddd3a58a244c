//! A tree of processes as /proc shows it from outside, in rows that must be the same after a restore.
//!
//! The subject checks what it knows of; this finds what nobody thought of. What the kernel numbers anew (pipe and socket
//! inodes, mount-less devices) is replaced by its order of appearance.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::descendants;

/// `row name -> value`, for every process and thread of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    rows: BTreeMap<String, String>,
    numbers: BTreeMap<String, usize>,
}

/// Fields of /proc/PID/status that are part of a task's state.
const STATUS: [&str; 22] = [
    "Name",
    "Umask",
    "Tgid",
    "Pid",
    "PPid",
    "Uid",
    "Gid",
    "Groups",
    "Threads",
    "SigPnd",
    "ShdPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
];

impl Snapshot {
    /// Looks at `root` and everything below it; `filters` prints a process's seccomp filters.
    pub fn take(root: i32, filters: &Path) -> Snapshot {
        let mut shot = Snapshot::default();
        let mut all = vec![root];
        all.extend(descendants::below(root));
        all.sort_unstable();
        for pid in all {
            shot.process(pid);
            shot.filters(pid, filters);
        }
        shot
    }

    fn put(&mut self, pid: i32, name: &str, value: impl Into<String>) {
        self.rows.insert(format!("{pid} {name}"), value.into());
    }

    fn process(&mut self, pid: i32) {
        let base = format!("/proc/{pid}");
        if descendants::state(pid) == Some('Z') && descendants::threads(pid) < 2 {
            self.put(pid, "state", "Z");
            return;
        }
        for file in ["cmdline", "environ", "auxv", "oom_score_adj", "coredump_filter", "personality", "loginuid"] {
            self.file(pid, &base, file);
        }
        for file in ["limits", "timers"] {
            self.file(pid, &base, file);
        }
        for link in ["exe", "cwd", "root"] {
            let to = fs::read_link(format!("{base}/{link}")).map(|p| p.display().to_string());
            self.put(pid, link, to.unwrap_or_default());
        }
        self.stat(pid, &base);
        self.mappings(pid, &base);
        self.descriptors(pid, &base);
        let mut tids: Vec<i32> = names(&format!("{base}/task"));
        // Workers of io_uring come and go.
        tids.retain(|tid| !read_lossy(&format!("{base}/task/{tid}/comm")).starts_with("iou-"));
        tids.sort_unstable();
        let threads = tids.len().to_string();
        for tid in tids {
            let task = format!("{base}/task/{tid}");
            let status = read_lossy(&format!("{task}/status"));
            for line in status.lines() {
                if let Some((key, value)) = line.split_once(":\t")
                    && STATUS.contains(&key)
                    && !(key == "PPid" && pid == tid)
                {
                    let value = if key == "Threads" { &threads } else { value.trim() };
                    self.put(pid, &format!("thread {tid} {key}"), value);
                }
            }
        }
    }

    /// Instructions and flags of every filter of every thread, where there are any.
    fn filters(&mut self, pid: i32, program: &Path) {
        let filtered = |row: &str, value: &String| row.ends_with(" Seccomp") && value == "2";
        let prefix = format!("{pid} thread ");
        if !self.rows.iter().any(|(row, value)| row.starts_with(&prefix) && filtered(row, value)) {
            return;
        }
        let shown = match Command::new(program).arg(pid.to_string()).output() {
            Ok(out) => String::from_utf8_lossy(&out.stdout).into_owned(),
            Err(e) => format!("{}: {e}", program.display()),
        };
        for (i, line) in shown.lines().enumerate() {
            self.put(pid, &format!("filter {i:03}"), line);
        }
    }

    fn file(&mut self, pid: i32, base: &str, name: &str) {
        let bytes = fs::read(format!("{base}/{name}")).unwrap_or_default();
        let text = match name {
            "auxv" => bytes.chunks(16).map(|c| format!("{c:02x?}")).collect::<Vec<_>>().join("\n"),
            _ => String::from_utf8_lossy(&bytes).into_owned(),
        };
        for (i, line) in text.lines().enumerate() {
            self.put(pid, &format!("{name} {i:02}"), line);
        }
    }

    /// Process group, session, nice value, code and data limits of /proc/PID/stat.
    fn stat(&mut self, pid: i32, base: &str) {
        let text = read_lossy(&format!("{base}/stat"));
        let tail: Vec<&str> = text.rsplit_once(") ").map(|t| t.1.split(' ').collect()).unwrap_or_default();
        let rows = [
            (0, "state"),
            (2, "pgrp"),
            (3, "session"),
            (16, "nice"),
            (23, "start_code"),
            (24, "end_code"),
            (25, "start_stack"),
            (35, "exit_signal"),
            (37, "rt_priority"),
            (38, "policy"),
            (42, "start_data"),
            (43, "end_data"),
            (44, "start_brk"),
            (45, "arg_start"),
            (46, "arg_end"),
            (47, "env_start"),
            (48, "env_end"),
        ];
        for (field, name) in rows {
            let mut value = tail.get(field).copied().unwrap_or_default();
            if name == "state" && value != "T" {
                value = "alive";
            }
            self.put(pid, name, value);
        }
    }

    fn mappings(&mut self, pid: i32, base: &str) {
        let maps = fs::read_to_string(format!("{base}/smaps")).unwrap_or_default();
        // The page of old system calls is the kernel's: a 32-bit program is shown it only after a restore.
        let of_the_task = maps.split("ffffffffff600000").next().unwrap_or_default();
        let mut at = String::new();
        for line in of_the_task.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some(flags) = line.strip_prefix("VmFlags: ") {
                // sd: soft-dirty; ac: how the kernel accounts it. What was asked for (nh, hg, mg ...) stays.
                let kept: Vec<&str> = flags.split_whitespace().filter(|f| !["sd", "ac"].contains(f)).collect();
                self.put(pid, &format!("vma {at} flags"), kept.join(" "));
            } else if words.first().is_some_and(|w| w.contains('-') && !w.ends_with(':')) && words.len() >= 5 {
                at = words[0].to_string();
                let path = line.splitn(6, ' ').nth(5).unwrap_or_default().trim();
                let path = self.numbered(path);
                self.put(pid, &format!("vma {at}"), format!("{} {} {path}", words[1], words[2]));
            }
        }
    }

    /// Where each descriptor leads, its flags and its position.
    fn descriptors(&mut self, pid: i32, base: &str) {
        let mut fds: Vec<i32> = names(&format!("{base}/fd"));
        fds.sort_unstable();
        for fd in fds {
            let to = fs::read_link(format!("{base}/fd/{fd}")).map(|p| p.display().to_string()).unwrap_or_default();
            let to = self.numbered(&to);
            self.put(pid, &format!("fd {fd}"), to);
            let info = fs::read_to_string(format!("{base}/fdinfo/{fd}")).unwrap_or_default();
            for line in info.lines().filter(|l| l.starts_with("pos:") || l.starts_with("flags:")) {
                let (key, value) = line.split_once(':').unwrap_or((line, ""));
                self.put(pid, &format!("fd {fd} {key}"), without_largefile(key, value.trim()));
            }
        }
    }

    /// `pipe:[4711]` becomes `pipe:#0`: the first new inode seen.
    fn numbered(&mut self, link: &str) -> String {
        if link.ends_with(" (deleted)") {
            return "(deleted)".into();
        }
        match link.split_once(":[") {
            Some((kind @ ("pipe" | "socket"), _)) => {
                let next = self.numbers.len();
                let n = *self.numbers.entry(link.to_string()).or_insert(next);
                format!("{kind}:#{n}")
            }
            _ => link.to_string(),
        }
    }

    /// Rows that differ, as `row: before -> after`; rows whose name has one of `ignore` in it are passed over.
    pub fn differences(&self, after: &Snapshot, ignore: &[String]) -> Vec<String> {
        let mut rows: Vec<&String> = self.rows.keys().chain(after.rows.keys()).collect();
        rows.sort();
        rows.dedup();
        let passed_over = |row: &str| ignore.iter().any(|i| row.split(' ').any(|w| w == i));
        rows.into_iter()
            .filter(|row| self.rows.get(*row) != after.rows.get(*row) && !passed_over(row))
            .map(|row| {
                let show = |v: Option<&String>| v.map_or("nothing".to_string(), |v| format!("`{v}`"));
                format!("{row}: {} -> {}", show(self.rows.get(row)), show(after.rows.get(row)))
            })
            .collect()
    }
}

/// O_LARGEFILE says by which call a file was opened, and nothing else on a 64-bit machine.
fn without_largefile(key: &str, value: &str) -> String {
    match u32::from_str_radix(value, 8) {
        Ok(flags) if key == "flags" => format!("{:#o}", flags & !0o100_000),
        _ => value.to_string(),
    }
}

fn names(folder: &str) -> Vec<i32> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_string_lossy().parse().ok())
        .collect()
}

/// A /proc file as text; a name in it may be cut within a character.
fn read_lossy(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_and_can_be_passed_over() {
        let mut a = Snapshot::default();
        a.put(7, "umask", "022");
        a.put(7, "cwd", "/");
        let mut b = a.clone();
        assert!(a.differences(&b, &[]).is_empty());
        b.put(7, "umask", "077");
        assert_eq!(a.differences(&b, &[]), ["7 umask: `022` -> `077`"]);
        assert!(a.differences(&b, &["umask".into()]).is_empty());
    }

    #[test]
    fn inodes_count_by_order() {
        let mut s = Snapshot::default();
        assert_eq!(s.numbered("pipe:[90]"), "pipe:#0");
        assert_eq!(s.numbered("socket:[91]"), "socket:#1");
        assert_eq!(s.numbered("pipe:[90]"), "pipe:#0");
    }
}
