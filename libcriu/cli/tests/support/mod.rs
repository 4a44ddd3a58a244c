//! What the tests of the command share: a program to dump, the command itself, a client of its protocol.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use criu_images::messages::{CriuOpts, CriuReq, CriuReqType, CriuResp};
use prost::Message;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Held while a descriptor can be inherited by whatever is started meanwhile.
static SPAWNING: Mutex<()> = Mutex::new(());

pub fn spawning() -> MutexGuard<'static, ()> {
    SPAWNING.lock().unwrap_or_else(PoisonError::into_inner)
}

pub const CRIU: &str = env!("CARGO_BIN_EXE_criu");

/// The command, without any config file.
pub fn criu(args: &[&str]) -> Output {
    Command::new(CRIU).arg("--no-default-config").args(args).env_remove("CRIU_CONFIG_FILE").output().unwrap()
}

pub fn stdout(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

pub fn stderr(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

/// A sleeping process in a session of its own, without a terminal; it ends with the test.
pub struct Victim(Child);

impl Victim {
    pub fn new() -> Self {
        Victim::start(&mut Command::new("setsid"))
    }

    /// As user and group nobody.
    pub fn nobody() -> Self {
        use std::os::unix::process::CommandExt;
        Victim::start(Command::new("setsid").uid(NOBODY).gid(NOBODY).current_dir("/"))
    }

    /// With this standard output.
    pub fn writing_to(stdout: impl Into<Stdio>) -> Self {
        Victim::start_with(&mut Command::new("setsid"), stdout.into())
    }

    fn start(command: &mut Command) -> Self {
        Victim::start_with(command, Stdio::null())
    }

    fn start_with(command: &mut Command, stdout: Stdio) -> Self {
        let guard = spawning();
        let child =
            command.args(["sleep", "1000"]).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
        drop(guard);
        let victim = Victim(child);
        // setsid executes sleep in its own process: wait until it has.
        for _ in 0..500 {
            if std::fs::read_to_string(format!("/proc/{}/comm", victim.pid())).is_ok_and(|c| c == "sleep\n")
                && victim.state() == Some('S')
            {
                return victim;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("sleep does not start");
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// The letter of /proc/PID/stat; nothing once it was collected.
    pub fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// It sleeps, and nobody traces it; a moment later at the latest.
    pub fn is_unharmed(&self) -> bool {
        let unharmed = (0..100).any(|_| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
            let fine = self.state() == Some('S') && status.lines().any(|l| l == "TracerPid:\t0");
            if !fine {
                std::thread::sleep(Duration::from_millis(10));
            }
            fine
        });
        if !unharmed {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
            eprintln!("the target is not as it was:\n{}", status.lines().take(12).collect::<Vec<_>>().join("\n"));
        }
        unharmed
    }

    pub fn is_killed(&self) -> bool {
        matches!(self.state(), Some('Z' | 'X') | None)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub const NOBODY: u32 = 65534;

/// A client's end of a connection.
pub struct Client {
    pub fd: OwnedFd,
}

impl Client {
    /// A client of `criu swrk`, and the process that serves it.
    pub fn swrk() -> (Client, Child) {
        let (fd, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let number = theirs.as_raw_fd();
        let guard = spawning();
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).unwrap();
        let child = Command::new(CRIU)
            .args(["--no-default-config", "swrk", &number.to_string()])
            .env_remove("CRIU_CONFIG_FILE")
            .spawn()
            .unwrap();
        drop((theirs, guard));
        (Client { fd }, child)
    }

    pub fn connect(path: &Path) -> std::io::Result<Client> {
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&fd, &rustix::net::SocketAddrUnix::new(path)?)?;
        Ok(Client { fd })
    }

    pub fn send(&self, request: &CriuReq) {
        rustix::net::send(&self.fd, &request.encode_to_vec(), SendFlags::NOSIGNAL).unwrap();
    }

    pub fn receive(&self) -> CriuResp {
        let mut buffer = vec![0; 1 << 17];
        let (_, len) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()).unwrap();
        assert!(len > 0, "the server closed the connection");
        CriuResp::decode(&buffer[..len]).unwrap()
    }

    /// Sends a request and answers notifications until the response comes; the stages that were notified.
    pub fn ask(&self, request: &CriuReq, answer: impl Fn(&str) -> bool) -> (CriuResp, Vec<String>) {
        self.send(request);
        let mut stages = Vec::new();
        loop {
            let r = self.receive();
            match r.notify {
                Some(n) if r.r#type == CriuReqType::Notify as i32 => {
                    let stage = n.script.unwrap();
                    let ok = answer(&stage);
                    stages.push(stage);
                    self.send(&CriuReq { notify_success: Some(ok), ..req(CriuReqType::Notify) });
                }
                _ if r.r#type == request.r#type || r.r#type == 0 => return (r, stages),
                _ => {}
            }
        }
    }
}

pub fn req(kind: CriuReqType) -> CriuReq {
    CriuReq { r#type: kind as i32, ..Default::default() }
}

/// A request with options.
pub fn with(kind: CriuReqType, opts: CriuOpts) -> CriuReq {
    CriuReq { opts: Some(opts), ..req(kind) }
}

/// Options with an images directory of this process.
pub fn opts(dir: impl AsFd) -> CriuOpts {
    CriuOpts { images_dir_fd: dir.as_fd().as_raw_fd(), ..Default::default() }
}

/// Whether this process may dump others; else the reason why a test is skipped.
pub fn may_dump() -> Result<(), String> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err("it takes root".into()) }
}
