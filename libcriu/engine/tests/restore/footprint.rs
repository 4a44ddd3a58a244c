//! The engine's own memory while it dumps and restores a process with a gigabyte: what it holds does not grow with that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use criu_engine::{Operator, Options};

use crate::arena::{Quiet, ask, fork, options, wait};
use crate::{CaseResult, Outcome};

const MIB: usize = 1 << 20;
const TARGET_MIB: usize = 1024;
const MOST_MIB: u64 = 64;
const PAGE: usize = 4096;

/// A target of a gigabyte is dumped and restored; neither worker needs more than `MOST_MIB` at any time.
pub fn of_the_engine() -> CaseResult {
    let (images, ready, result) = (PathBuf::from("/tmp/images"), Path::new("/tmp/ready"), Path::new("/tmp/held.res"));
    fs::create_dir(&images).map_err(|e| e.to_string())?;
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut holder = Command::new("setsid");
    holder.arg(exe).args(["--hold", "/tmp/ready", "/tmp/held.res"]).current_dir("/");
    holder.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut holder = holder.spawn().map_err(|e| e.to_string())?;
    let until = Instant::now() + Duration::from_secs(60);
    while !ready.exists() {
        if Instant::now() > until {
            return Err("the target is not ready".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = holder.id() as i32;
    in_bounds(&images, pid, |o, operator| criu_engine::dump(o, operator).map(drop))?;
    holder.wait().map_err(|e| e.to_string())?;
    in_bounds(&images, 0, |o, operator| criu_engine::restore(o, operator).map(drop))?;
    ask(pid, result).map(|()| Outcome::Passed)
}

type Operation = fn(&Options, &mut dyn Operator) -> criu_engine::Result<()>;

/// Runs an operation in a worker, which tells the most memory it has had.
fn in_bounds(images: &Path, pid: i32, operation: Operation) -> Result<(), String> {
    let options = Options { pid, ..options(images, false)? };
    let worker = fork(move || {
        let said = match operation(&options, &mut Quiet::default()) {
            Ok(()) => format!("ok {}", own_peak_kib()),
            Err(e) => format!("{e} {:?}", e.blockers),
        };
        fs::write("/tmp/said", said).is_ok()
    })?;
    wait(worker);
    let said = fs::read_to_string("/tmp/said").map_err(|e| e.to_string())?;
    let peak: u64 = said.strip_prefix("ok ").and_then(|n| n.parse().ok()).ok_or_else(|| said.clone())?;
    fs::remove_file("/tmp/said").map_err(|e| e.to_string())?;
    if peak == 0 || peak > MOST_MIB << 10 {
        return Err(format!("the engine took {peak} KiB"));
    }
    Ok(())
}

fn own_peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The target: fills its memory, and says at SIGUSR1 whether that is as it was.
pub fn hold(ready: &str, result: &str) -> ExitCode {
    let mut memory = vec![0_u8; TARGET_MIB * MIB];
    let number = |page: usize| (page as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    for (page, bytes) in memory.chunks_exact_mut(PAGE).enumerate() {
        bytes[..8].copy_from_slice(&number(page));
    }
    // SAFETY: the set is this function's own; waiting for a blocked signal touches nothing else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        if fs::write(ready, "").is_err() {
            return ExitCode::FAILURE;
        }
        let mut signal = 0;
        libc::sigwait(&raw const set, &raw mut signal);
    }
    let wrong = memory.chunks_exact(PAGE).enumerate().find(|(page, bytes)| bytes[..8] != number(*page));
    let said = wrong.map_or("OK".into(), |(page, _)| format!("page {page} is another"));
    if fs::write(result, said).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
