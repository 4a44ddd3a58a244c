//! What /proc says about a thread, where ptrace alone gives no reason.

use std::fs::{self, File};
use std::io::{self, Read};

/// A whole file of /proc, read in large pieces: std's small ones cost a system call each.
pub(crate) fn read_proc(path: &str) -> io::Result<String> {
    const PIECE: usize = 16 << 10;
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    loop {
        let len = bytes.len();
        bytes.resize(len + PIECE, 0);
        let got = file.read(&mut bytes[len..])?;
        bytes.truncate(len + got);
        if got == 0 {
            return String::from_utf8(bytes).or_else(|e| Ok(String::from_utf8_lossy(e.as_bytes()).into_owned()));
        }
    }
}

/// Fields of `/proc/PID/task/TID/status` that decide whether a thread can be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStatus {
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X` ...
    pub state: u8,
    /// The process that traces it, 0 for none.
    pub tracer: i32,
    /// 0 = none, 1 = strict, 2 = filter.
    pub seccomp: u32,
}

impl ThreadStatus {
    /// `None` when there is no such thread.
    pub fn read(pid: i32, tid: i32) -> Option<ThreadStatus> {
        let text = read_proc(&format!("/proc/{pid}/task/{tid}/status")).ok()?;
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map_or("", |value| value.trim())
        };
        Some(ThreadStatus {
            state: *field("State").as_bytes().first()?,
            tracer: field("TracerPid").parse().unwrap_or(0),
            seccomp: field("Seccomp").parse().unwrap_or(0),
        })
    }

    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Whether the thread sits in vfork or in a clone with CLONE_VFORK, as far as /proc tells.
pub fn is_in_vfork(pid: i32, tid: i32) -> bool {
    let Ok(text) = read_proc(&format!("/proc/{pid}/task/{tid}/syscall")) else { return false };
    let mut words = text.split_ascii_whitespace();
    let nr = words.next().and_then(|w| w.parse::<i64>().ok());
    let first = words.next().and_then(|w| u64::from_str_radix(w.trim_start_matches("0x"), 16).ok());
    match nr {
        Some(libc::SYS_vfork | libc::SYS_clone3) => true,
        Some(libc::SYS_clone) => first.is_some_and(|flags| flags & libc::CLONE_VFORK as u64 != 0),
        _ => false,
    }
}

/// The number of a process's threads, a dead leader included; 0 when it cannot be told.
///
/// The kernel counts them as links of the folder that it shows them in.
pub fn thread_count(pid: i32) -> usize {
    use std::os::unix::fs::MetadataExt;
    const LINKS_OF_ANY_FOLDER: u64 = 2;
    let links = fs::metadata(format!("/proc/{pid}/task")).map_or(0, |m| m.nlink());
    links.saturating_sub(LINKS_OF_ANY_FOLDER) as usize
}

/// Is it a thread that the kernel has made for io_uring (Linux 5.12)?
pub(crate) fn is_io_worker(pid: i32, tid: i32) -> bool {
    /// In the kernel's flags of a thread: PF_IO_WORKER.
    const IO_WORKER: u64 = 0x10;
    const FLAGS_AT: usize = 6;
    let stat = fs::read(format!("/proc/{pid}/task/{tid}/stat")).unwrap_or_default();
    let behind_name = stat.rsplit(|b| *b == b')').next().unwrap_or_default();
    let flags = String::from_utf8_lossy(behind_name).split_whitespace().nth(FLAGS_AT).and_then(|f| f.parse().ok());
    flags.is_some_and(|flags: u64| flags & IO_WORKER != 0)
}

/// Thread ids of a process, ascending as the kernel lists them.
pub fn threads(pid: i32) -> io::Result<Vec<i32>> {
    if thread_count(pid) == 1 {
        return Ok(vec![pid]);
    }
    let mut tids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        if let Some(tid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            tids.push(tid);
        }
    }
    Ok(tids)
}
