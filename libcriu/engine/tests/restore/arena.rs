//! Where a case runs, and how it runs the engine.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criu_engine::{Operator, Options, Phase, Result as EngineResult, Stage, restore};
use criu_images::messages::CriuOpts;

use crate::{CaseResult, Outcome};

pub const SKIPPED: u8 = 77;

/// Runs this program again as the first process of new pid, mount and network namespaces.
pub fn run_in_namespace(case: &str) -> CaseResult {
    let text = |e: std::io::Error| e.to_string();
    if !rustix::process::geteuid().is_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    let mut outer = Command::new("/proc/self/exe");
    outer.args(["--in-namespace", case]).stdin(Stdio::null()).stdout(Stdio::piped());
    // SAFETY: both calls are made between fork and exec and touch nothing of this process.
    unsafe {
        outer.pre_exec(|| {
            if libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWNET) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // The namespace is that of children: this process waits for the first one and ends as it ended.
            let pid = libc::fork();
            if pid == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                return Ok(());
            }
            let mut status = 0;
            libc::waitpid(pid, &raw mut status, 0);
            libc::_exit(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 })
        });
    }
    let mut child = outer.spawn().map_err(text)?;
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut said).map_err(text)?;
    }
    match child.wait().map_err(text)?.code() {
        Some(0) => Ok(Outcome::Passed),
        Some(c) if c == i32::from(SKIPPED) => Ok(Outcome::Skipped(said)),
        c => Err(format!("{said} (exit code {c:?})")),
    }
}

/// As the first process: private mounts, an own /proc and an own /tmp.
pub fn prepare() -> Result<(), String> {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    let text = |what: &'static str| move |e: rustix::io::Errno| format!("{what}: {e}");
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).map_err(text("private mounts"))?;
    mount("proc", "/proc", "proc", MountFlags::empty(), None).map_err(text("mount /proc"))?;
    mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), None).map_err(text("mount /tmp"))?;
    // Every number of a pseudo terminal is free in it.
    mount("devpts", "/dev/pts", "devpts", MountFlags::empty(), Some(c"ptmxmode=666"))
        .map_err(text("mount /dev/pts"))?;
    // Who needs it sees what is missing.
    Command::new("ip").args(["link", "set", "lo", "up"]).status().ok();
    rustix::process::setsid().ok();
    Ok(())
}

pub fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// Puts in place what the golden programs need.
pub fn set_up_golden() -> Result<(), String> {
    let status = Command::new("sh").arg(golden_dir().join("setup.sh")).status().map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("setup.sh: {status}")) }
}

/// A copy of a golden checkpoint that a case may spoil.
pub fn copy_golden(name: &str) -> Result<PathBuf, String> {
    let to = PathBuf::from(format!("/tmp/images-{name}"));
    fs::create_dir(&to).map_err(|e| e.to_string())?;
    for entry in fs::read_dir(golden_dir().join(name)).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        if entry.file_type().is_ok_and(|t| t.is_file()) {
            fs::copy(entry.path(), to.join(entry.file_name())).map_err(|e| e.to_string())?;
        }
    }
    Ok(to)
}

/// Lets everything go on; fails at one stage when told so.
#[derive(Debug, Default)]
pub struct Quiet {
    pub fail_at: Option<Stage>,
}

impl Operator for Quiet {
    fn stage(&mut self, stage: Stage, _: Option<i32>, _: Option<BorrowedFd<'_>>) -> EngineResult<()> {
        if self.fail_at == Some(stage) {
            return Err(criu_engine::Error::new(Phase::Resume, "callback", "said no"));
        }
        Ok(())
    }

    fn is_awaited(&self, _: Stage) -> bool {
        false
    }
    fn progress(&mut self, _: Phase, _: u64, _: u64) {}

    fn check_cancelled(&mut self, _: Phase) -> EngineResult<()> {
        Ok(())
    }
}

/// The options that the golden checkpoint in this folder was made with.
fn made_with(images: &Path) -> CriuOpts {
    match images.file_name().and_then(|n| n.to_str()) {
        Some("images-tty") => CriuOpts { shell_job: Some(true), ..CriuOpts::default() },
        Some("images-inet" | "images-sockets") => CriuOpts { tcp_established: Some(true), ..CriuOpts::default() },
        Some("images-locks") => CriuOpts { file_locks: Some(true), ..CriuOpts::default() },
        _ => CriuOpts::default(),
    }
}

pub fn options(images: &Path, sibling: bool) -> Result<Options, String> {
    let open = || File::open(images).map(std::os::fd::OwnedFd::from).map_err(|e| e.to_string());
    Ok(Options {
        msg: made_with(images),
        pid: 0,
        images_dir: open()?,
        work_dir: open()?,
        peer_pid: 0,
        service_sk_ino: None,
        restore_sibling: sibling,
        restore_detached: true,
    })
}

/// An engine in a process of its own, as the worker is. It has ended when this returns.
pub fn restore_in_worker(images: &Path, sibling: bool, mut operator: Quiet) -> Result<i32, String> {
    let (mut from, to) = std::io::pipe().map_err(|e| e.to_string())?;
    let options = options(images, sibling)?;
    let worker = fork(move || {
        let said = match restore(&options, &mut operator) {
            Ok(outcome) => format!("ok {}", outcome.pid),
            Err(e) => format!("errno {}: {e}", e.errno),
        };
        (&to).write_all(said.as_bytes()).is_ok()
    })?;
    let mut said = String::new();
    from.read_to_string(&mut said).map_err(|e| e.to_string())?;
    wait(worker);
    match said.strip_prefix("ok ") {
        Some(pid) => pid.parse().map_err(|_| said.clone()),
        None => Err(said),
    }
}

/// Runs `f` in a copy of this (single-threaded) process; returns its pid.
pub fn fork(f: impl FnOnce() -> bool) -> Result<i32, String> {
    // SAFETY: this program has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error().to_string()),
        0 => {
            let ok = f();
            // SAFETY: leaves at once.
            unsafe { libc::_exit(i32::from(!ok)) }
        }
        pid => Ok(pid),
    }
}

pub fn wait(pid: i32) {
    // SAFETY: no status is asked for.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

/// Reaps what ended, as the first process of a namespace has to.
pub fn reap_all() {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// The pids in the namespace, without the first process.
pub fn others() -> Vec<i32> {
    reap_all();
    let dir = fs::read_dir("/proc").into_iter().flatten().flatten();
    dir.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|&p: &i32| p != 1).collect()
}

/// How long what was killed may take to be gone, on a busy machine as well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Nothing may be left behind.
pub fn nothing_is_left() -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = others();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("left behind: {left:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks a restored program whether everything is as it should be.
pub fn ask(pid: i32, result: &Path) -> Result<(), String> {
    let target = rustix::process::Pid::from_raw(pid).ok_or("no pid")?;
    rustix::process::kill_process(target, rustix::process::Signal::USR1).map_err(|e| format!("SIGUSR1: {e}"))?;
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(said) = fs::read_to_string(result) {
            match said.trim() {
                "OK" => return Ok(()),
                "" => {}
                wrong => return Err(format!("the program says: {wrong}")),
            }
        }
        if Instant::now() > until {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let wchan = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
            return Err(format!("no answer; {wchan} {status}"));
        }
        if !Path::new(&format!("/proc/{pid}")).exists() {
            return Err("the program is gone".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
