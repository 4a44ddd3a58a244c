//! The processes below this one: finding, reaping and killing them. This process is their subreaper.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait, waitpid};

use crate::verdict::{Outcome, failed};

/// From here on, orphans below this process become its children.
pub fn adopt_orphans() -> Outcome {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| failed(format!("PR_SET_CHILD_SUBREAPER: {e}")))
}

/// `(pid, state, parent)` from /proc/PID/stat.
fn stat(pid: i32) -> Option<(char, i32, String)> {
    // A process may call itself by any bytes.
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, tail) = text.rsplit_once(") ")?;
    let mut fields = tail.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((state, parent, head.split_once('(')?.1.to_string()))
}

/// State letter of /proc/PID/stat, None when there is no such process.
pub fn state(pid: i32) -> Option<char> {
    stat(pid).map(|s| s.0)
}

/// How many threads it has; a zombie has its first one.
pub fn threads(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |d| d.count())
}

/// Every process below `root`, parents before children.
pub fn below(root: i32) -> Vec<i32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>()
            && let Some((_, parent, _)) = stat(pid)
        {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|p| p.1 == parent).map(|p| p.0));
        next += 1;
    }
    found.remove(0);
    found
}

/// Killed, and on its way out: the signal waits for a thread of it, or has been taken (PF_EXITING, PF_SIGNALED of proc(5)'s flags).
pub fn dying(pid: i32) -> bool {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (stat, status) = (read("stat"), read("status"));
    let flags: u32 = stat.rsplit(") ").next().and_then(|t| t.split(' ').nth(6)?.parse().ok()).unwrap_or(0);
    let pending = |name: &str| {
        let mask = status.lines().find_map(|l| l.strip_prefix(name)).map_or("0", str::trim);
        u64::from_str_radix(mask, 16).unwrap_or(0)
    };
    flags & 0x404 != 0 || (pending("SigPnd:") | pending("ShdPnd:")) & 1 << 8 != 0
}

/// Is it gone, or a zombie with no other thread left?
pub fn ended(pid: i32) -> bool {
    state(pid).is_none_or(|s| s == 'Z' && threads(pid) < 2)
}

/// How long whatever ends or comes to rest by itself may take: a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Reaps `pid`, a child of this process, if it has ended.
pub fn try_wait(pid: i32) -> Option<WaitStatus> {
    let id = Pid::from_raw(pid)?;
    waitpid(Some(id), WaitOptions::NOHANG).ok().flatten().map(|w| w.1)
}

/// Waits until `pid`, a child of this process, has ended.
pub fn wait_for(pid: i32, patience: Duration) -> Outcome<WaitStatus> {
    let end = Instant::now() + patience;
    let id = Pid::from_raw(pid).ok_or_else(|| failed("pid 0"))?;
    loop {
        match waitpid(Some(id), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) if Instant::now() < end => sleep(Duration::from_millis(1)),
            Ok(None) => {
                let state = state(pid).unwrap_or('?');
                return Err(failed(format!("pid {pid} did not end within {patience:?} (state {state})")));
            }
            // Not this process's child yet: whoever brought it up has not ended.
            Err(_) if state(pid).is_some() && Instant::now() < end => sleep(Duration::from_millis(1)),
            Err(e) => return Err(failed(format!("waitpid({pid}): {e}"))),
        }
    }
}

/// Reaps every child until there is none; whatever is still alive after `patience` is an error that names it.
pub fn reap_all(patience: Duration) -> Outcome {
    let end = Instant::now() + patience;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) if Instant::now() < end => sleep(Duration::from_millis(1)),
            Ok(None) => {
                let me = std::process::id() as i32;
                let left: Vec<String> = below(me)
                    .into_iter()
                    .filter_map(|p| {
                        stat(p).map(|(s, parent, comm)| format!("{p} ({comm}, state {s}, parent {parent})"))
                    })
                    .collect();
                return Err(failed(format!("processes left behind: {}", left.join(", "))));
            }
            Err(_) => return Ok(()),
        }
    }
}

/// Kills and reaps whatever is below this process; for the end of a case that failed.
pub fn kill_all() {
    for _ in 0..50 {
        let all = below(std::process::id() as i32);
        if all.is_empty() {
            return;
        }
        for pid in all {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = reap_all(Duration::from_millis(200));
    }
}

pub fn signal(pid: i32, signal: Signal) -> Outcome {
    let id = Pid::from_raw(pid).ok_or_else(|| failed("pid 0"))?;
    kill_process(id, signal).map_err(|e| failed(format!("kill({pid}): {e}")))
}

/// `exit 1`, `signal 9`
pub fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => format!("{status:?}"),
    }
}
