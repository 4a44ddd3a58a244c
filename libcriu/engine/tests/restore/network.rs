//! A connection whose peer is in another network namespace and never stops sending: it is moved, its engine is killed, and
//! the peer sees every byte come back in its place and no error.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use criu_engine::netlock::persistent;
use criu_images::messages::CriuOpts;
use criu_tests::descendants::dying;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, test_kill_process, waitpid};

use crate::arena::{Quiet, fork, nothing_is_left, options, others, restore_in_worker, wait};
use crate::{CaseResult, Outcome};

const STOP: &str = "/tmp/stop";
const LISTENING: &str = "/tmp/listening";
const BACK: &str = "/tmp/back";
const PORT: u16 = 7000;
const PATIENCE: Duration = Duration::from_secs(30);

fn ip(args: &str) -> Result<(), String> {
    let out = Command::new("ip").args(args.split(' ')).output().map_err(|e| format!("ip: {e}"))?;
    if out.status.success() { Ok(()) } else { Err(format!("ip {args}: {}", String::from_utf8_lossy(&out.stderr))) }
}

fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > end {
            return Err(format!("waited too long: {what}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        kill_process(pid, signal).ok();
    }
}

/// Two processes in two namespaces, connected by a cable.
struct Talk {
    echo: i32,
    peer: i32,
    address: &'static str,
}

impl Talk {
    fn start(address: &'static str) -> Result<Talk, String> {
        let peer = fork(move || talk(address).map_err(|e| fs::write("/tmp/why", e)).is_ok())?;
        until("the peer's namespace", || Path::new("/tmp/apart").exists())?;
        ip("link add v0 type veth peer name v1")?;
        ip(&format!("link set v1 netns {peer}"))?;
        ip("addr add 10.9.0.1/24 dev v0")?;
        ip("addr add fd09::1/64 dev v0 nodad")?;
        ip("link set v0 up")?;
        fs::write("/tmp/cable", "").map_err(|e| e.to_string())?;
        let echo = fork(move || echo(address).is_ok())?;
        let talk = Talk { echo, peer, address };
        until("the first bytes come back", || back() > 0 || talk.peer_failed().is_some())?;
        Ok(talk)
    }

    fn peer_failed(&self) -> Option<String> {
        fs::read_to_string("/tmp/why").ok()
    }

    /// The peer goes on hearing itself.
    fn goes_on(&self, when: &str) -> Result<(), String> {
        let before = back();
        until(&format!("{when}, the peer hears something again"), || {
            back() > before + 100_000 || self.peer_failed().is_some()
        })
        .and_then(|()| self.peer_failed().map_or(Ok(()), |why| Err(format!("{when}: {why}"))))
        .map_err(|e| format!("{}: {e}", self.address))
    }

    /// The last word, and the end of both.
    fn end(self) -> Result<(), String> {
        fs::write(STOP, "").map_err(|e| e.to_string())?;
        wait(self.peer);
        if let Some(why) = self.peer_failed() {
            return Err(why);
        }
        until("the end of the echo", || !is_alive(self.echo))?;
        nothing_is_left()?;
        match persistent(None).map_err(|e| e.to_string())?.as_slice() {
            [] => Ok(()),
            left => Err(format!("a network lock is left: {left:?}")),
        }
    }
}

fn is_alive(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return false };
    // A child of this process has to be waited for.
    waitpid(Some(pid), WaitOptions::NOHANG).ok();
    test_kill_process(pid).is_ok()
}

/// How much has come back to the peer, in bytes.
fn back() -> u64 {
    fs::read_to_string(BACK).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
}

/// Sends back what it gets, until the end.
fn echo(address: &str) -> std::io::Result<()> {
    rustix::process::setsid().ok();
    let null: OwnedFd = fs::File::options().read(true).write(true).open("/dev/null")?.into();
    for (number, mut standard) in (0..3).map(|n| (n, std::mem::ManuallyDrop::new(own(n)))) {
        rustix::io::dup2(&null, &mut standard).map_err(|e| std::io::Error::other(format!("{number}: {e}")))?;
    }
    drop(null);
    let listener = TcpListener::bind((address, PORT))?;
    fs::write(LISTENING, "")?;
    let (mut stream, _) = listener.accept()?;
    let mut buf = vec![0; 32 << 10];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n])?,
        }
    }
}

fn own(fd: i32) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: one of the standard descriptors, which nothing else in the child owns; it is not closed by this value.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The peer: sends numbers without an end, reads them again.
fn talk(address: &str) -> Result<(), String> {
    let text = |what: &'static str| move |e: std::io::Error| format!("the peer: {what}: {e}");
    // SAFETY: nothing but this process's network changes.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.map_err(|e| e.to_string())?;
    fs::write("/tmp/apart", "").map_err(text("write"))?;
    until("a cable", || Path::new("/tmp/cable").exists())?;
    ip("addr add 10.9.0.2/24 dev v1")?;
    ip("addr add fd09::2/64 dev v1 nodad")?;
    ip("link set v1 up")?;
    until("a listener", || Path::new(LISTENING).exists())?;
    let end = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect((address, PORT)) {
            Ok(stream) => break stream,
            // The route appears a moment after the device.
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
            Err(e) => return Err(format!("the peer: connect: {e}")),
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(text("timeout"))?;
    let mut writer = stream.try_clone().map_err(text("dup"))?;
    let sender = std::thread::spawn(move || -> std::io::Result<u64> {
        let mut next = 0u64;
        while !Path::new(STOP).exists() {
            let piece: Vec<u8> = (0..512).flat_map(|i| (next + i).to_le_bytes()).collect();
            writer.write_all(&piece)?;
            next += 512;
        }
        writer.shutdown(Shutdown::Write)?;
        Ok(next * 8)
    });
    let (mut got, mut buf) = (0u64, vec![0; 64 << 10]);
    loop {
        let n = stream.read(&mut buf).map_err(text("read"))?;
        if n == 0 {
            break;
        }
        for &byte in &buf[..n] {
            if byte != (got / 8).to_le_bytes()[(got % 8) as usize] {
                return Err(format!("the peer: byte {got} is wrong"));
            }
            got += 1;
        }
        fs::write("/tmp/back.new", got.to_string())
            .and_then(|()| fs::rename("/tmp/back.new", BACK))
            .map_err(text("write"))?;
    }
    let sent = sender.join().map_err(|_| "the peer: its sender panicked")?.map_err(text("write"))?;
    if sent == got { Ok(()) } else { Err(format!("the peer: {sent} bytes sent, {got} came back")) }
}

fn with_connections(images: &Path) -> Result<criu_engine::Options, String> {
    let mut options = options(images, false)?;
    options.msg = CriuOpts { tcp_established: Some(true), ..CriuOpts::default() };
    Ok(options)
}

fn folder(number: u32) -> Result<PathBuf, String> {
    // The name tells the arena which options a restore needs.
    let path = PathBuf::from(format!("/tmp/{number}/images-inet"));
    fs::create_dir_all(&path).map_err(|e| e.to_string())?;
    Ok(path)
}

/// The dump in a process of its own; returns its pid.
fn start_dump(pid: i32, images: &Path) -> Result<i32, String> {
    let mut options = with_connections(images)?;
    options.pid = pid;
    fork(move || {
        criu_engine::dump(&options, &mut Quiet::default())
            .map_err(|e| fs::write("/tmp/dump-error", e.to_string()))
            .is_ok()
    })
}

fn moved(address: &'static str) -> CaseResult {
    let talk = Talk::start(address)?;
    for round in 0..3 {
        let images = folder(round)?;
        wait(start_dump(talk.echo, &images)?);
        if let Ok(why) = fs::read_to_string("/tmp/dump-error") {
            return Err(why);
        }
        until("the death of what was dumped", || !is_alive(talk.echo))?;
        let locks = persistent(None).map_err(|e| e.to_string())?;
        if locks.len() != 1 {
            return Err(format!("locks between dump and restore: {locks:?}"));
        }
        // The peer sends again and again to nobody.
        std::thread::sleep(Duration::from_millis(300));
        restore_in_worker(&images, false, Quiet::default())?;
        talk.goes_on(&format!("restored for the {}. time", round + 1))?;
    }
    talk.end().map(|()| Outcome::Passed)
}

pub fn moved_ipv4() -> CaseResult {
    moved("10.9.0.1")
}

pub fn moved_ipv6() -> CaseResult {
    moved("fd09::1")
}

const MOMENTS: u32 = 60;

/// Whenever the engine is killed, either the connection goes on at once, or the checkpoint is complete.
pub fn killed_engine() -> CaseResult {
    let talk = Talk::start("10.9.0.1")?;
    let mut usual = Duration::ZERO;
    let (mut before, mut after) = (0, 0);
    for round in 0..MOMENTS {
        let images = folder(round)?;
        let start = Instant::now();
        let worker = start_dump(talk.echo, &images)?;
        if round > 0 {
            std::thread::sleep(usual * round / (MOMENTS * 4 / 5));
            kill(worker, Signal::KILL);
        }
        wait(worker);
        usual = if round == 0 { start.elapsed() } else { usual };
        if let Ok(why) = fs::read_to_string("/tmp/dump-error") {
            return Err(why);
        }
        // What its copy has begun, it ends; whoever is to die does so at once.
        let of_talk = |pid: &i32| [talk.echo, talk.peer].contains(pid);
        until("the engine's end", || others().into_iter().filter(|p| !of_talk(p)).all(|p| !is_alive(p)))?;
        until("the end of what was killed", || !is_alive(talk.echo) || !dying(talk.echo))?;
        if is_alive(talk.echo) {
            before += 1;
        } else if persistent(None).map_err(|e| e.to_string())?.is_empty() {
            return Err(format!("round {round}: dead tasks, and no lock"));
        } else {
            after += 1;
            restore_in_worker(&images, false, Quiet::default())
                .map_err(|e| format!("round {round}: {e}; {}", talk.peer_failed().unwrap_or_default()))?;
        }
        talk.goes_on(&format!("killed after {round} of {MOMENTS} parts of {usual:?}"))?;
    }
    talk.end()?;
    if before == 0 {
        Ok(Outcome::Skipped(format!("no moment was early enough ({after})")))
    } else {
        Ok(Outcome::Passed)
    }
}
