//! A peer in another network namespace keeps sending while its connection is locked.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criu_soccr::{Connection, Paused};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::*;

/// A namespace, alive as long as this is.
struct Namespace {
    holder: Child,
    file: File,
}

impl Namespace {
    fn new() -> Result<Self, String> {
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let mut command = Command::new("unshare");
        let holder = command.args(["-n", "sleep", "120"]).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
        let path = format!("/proc/{}/ns/net", holder.id());
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::read_link(&path).ok().is_none_or(|ns| ns == own) {
            if Instant::now() > deadline {
                return Err("no network namespaces here".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let file = File::open(path).map_err(|e| e.to_string())?;
        let namespace = Namespace { holder, file };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `f` on a thread that is in this namespace.
    fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                f()
            });
            thread.join().unwrap()
        })
    }

    fn ip(&self, args: &str) -> Result<(), String> {
        let out = self.run(|| Command::new("ip").args(args.split(' ')).output()).map_err(|e| format!("ip: {e}"))?;
        let said = String::from_utf8_lossy(&out.stderr);
        if out.status.success() { Ok(()) } else { Err(format!("ip {args}: {said}")) }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

struct Net {
    ours: Namespace,
    peers: Namespace,
}

fn net() -> Result<Net, String> {
    let net = Net { ours: Namespace::new()?, peers: Namespace::new()? };
    net.ours.ip(&format!("link add v0 type veth peer name v1 netns {}", net.peers.holder.id()))?;
    for (side, device, n) in [(&net.ours, "v0", 1), (&net.peers, "v1", 2)] {
        side.ip(&format!("addr add 10.7.0.{n}/24 dev {device}"))?;
        side.ip(&format!("addr add fd07::{n}/64 dev {device} nodad"))?;
        side.ip(&format!("link set {device} up"))?;
    }
    match NetworkLock::lock(id("probe"), &[], Some(net.ours.file.as_fd())) {
        Ok(lock) => lock.release().map_err(|e| e.to_string())?,
        Err(e) => return Err(format!("no nf_tables for a lock: {e}")),
    }
    Ok(net)
}

/// The namespaces, or the reason why the test cannot run, which is printed.
macro_rules! net_or_skip {
    () => {
        match net() {
            Ok(net) => net,
            Err(why) => {
                eprintln!("skipped: {why}");
                return;
            }
        }
    };
}

fn id(text: &str) -> LockId {
    LockId::new(text).unwrap()
}

impl Net {
    fn lock(&self, name: &str, flows: &[Flow]) -> NetworkLock {
        NetworkLock::lock(id(name), flows, Some(self.ours.file.as_fd())).unwrap()
    }

    /// Our end, which listened `at`, and the end of the peer, who connected to us `via`.
    fn connect(&self, at: &str, via: &str) -> (TcpStream, TcpStream) {
        let listener = self.ours.run(|| TcpListener::bind(at).unwrap());
        let port = listener.local_addr().unwrap().port();
        let peer = self.peers.run(|| TcpStream::connect((via, port)).unwrap());
        let ours = listener.accept().unwrap().0;
        for end in [&ours, &peer] {
            end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            end.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        (ours, peer)
    }
}

const FAMILIES: [(&str, &str); 3] = [("10.7.0.1:0", "10.7.0.1"), ("[fd07::1]:0", "fd07::1"), ("[::]:0", "10.7.0.1")];

fn flow(stream: &TcpStream) -> Flow {
    Flow { local: stream.local_addr().unwrap(), peer: stream.peer_addr().unwrap() }
}

/// Numbers one after the other, one each millisecond, until told to stop; returns how many.
fn keep_sending(stream: &TcpStream, stop: &AtomicBool) -> u32 {
    let mut stream = stream.try_clone().unwrap();
    let mut next = 0u32;
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&next.to_be_bytes()).unwrap();
        next += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    next
}

/// How many numbers came until the end, all in order.
fn count(stream: &mut TcpStream, from: u32) -> u32 {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let numbers = bytes.chunks_exact(4).map(|b| u32::from_be_bytes(b.try_into().unwrap()));
    let mut expected = from;
    for number in numbers {
        assert_eq!(number, expected, "a gap or a number twice");
        expected += 1;
    }
    expected
}

fn waiting_bytes(stream: &TcpStream) -> u64 {
    rustix::io::ioctl_fionread(stream).unwrap()
}

/// TCP packets with this source port that arrive in the peer's namespace while `f` runs.
fn packets_at_peer(net: &Net, port: u16, f: impl FnOnce()) -> usize {
    let all = Protocol::from_raw(std::num::NonZeroU32::new(u32::from(3u16.to_be())).unwrap());
    let sniffer = net.peers.run(|| {
        rustix::net::socket_with(AddressFamily::PACKET, SocketType::DGRAM, SocketFlags::NONBLOCK, Some(all)).unwrap()
    });
    f();
    let (mut found, mut buffer) = (0, [0u8; 2048]);
    while let Ok((len, _)) = rustix::net::recv(&sniffer, &mut buffer[..], RecvFlags::empty()) {
        let packet = &buffer[..len];
        // Headers without options: nothing here sends any.
        let tcp = match packet[0] >> 4 {
            4 if packet[9] == 6 => &packet[20..],
            6 if packet[6] == 6 => &packet[40..],
            _ => continue,
        };
        found += usize::from(u16::from_be_bytes([tcp[0], tcp[1]]) == port);
    }
    found
}

fn settle() {
    std::thread::sleep(Duration::from_millis(300));
}

#[test]
fn nothing_arrives_or_leaves_while_locked_and_all_goes_on_after() {
    let net = net_or_skip!();
    for (at, via) in FAMILIES {
        let (mut ours, mut peer) = net.connect(at, via);
        let (mut other, mut other_peer) = net.connect(at, via);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| keep_sending(&peer, &stop));
            settle();
            assert!(waiting_bytes(&ours) > 0);
            let port = ours.local_addr().unwrap().port();
            let open = packets_at_peer(&net, port, || {
                ours.write_all(b"before ").unwrap();
                settle();
            });
            assert!(open > 0, "the sniffer sees packets");

            let lock = net.lock("test", &[flow(&ours)]);
            let waiting = waiting_bytes(&ours);
            let left = packets_at_peer(&net, port, || {
                ours.write_all(b"while ").unwrap();
                settle();
                settle();
            });
            assert_eq!(left, 0, "packets left");
            assert_eq!(waiting_bytes(&ours), waiting, "bytes arrived");
            // Another connection between the same hosts is not concerned.
            other_peer.write_all(b"free").unwrap();
            other.read_exact(&mut [0; 4]).unwrap();
            lock.release().unwrap();

            ours.write_all(b"after").unwrap();
            ours.shutdown(Shutdown::Write).unwrap();
            stop.store(true, Ordering::Relaxed);
            let sent = sender.join().unwrap();
            assert_eq!(count(&mut ours, 0), sent);
        });
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before while after");
    }
}

/// What a dump and a restore do, with a peer that never stops sending.
#[test]
fn a_connection_moves_under_the_lock() {
    let net = net_or_skip!();
    for (at, via) in FAMILIES {
        let (mut ours, mut peer) = net.connect(at, via);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| keep_sending(&peer, &stop));
            settle();
            ours.write_all(b"before ").unwrap();
            let lock = net.lock("dump", &[flow(&ours)]);
            let paused = Paused::pause(ours.as_fd()).unwrap();
            let connection = paused.save().unwrap();
            paused.release();
            drop(ours);
            lock.persist().unwrap();
            assert_eq!(persistent(Some(net.ours.file.as_fd())).unwrap(), [id("dump")]);
            settle();

            let socket = net.ours.run(|| restored(&connection));
            settle();
            assert!(release_persistent(&id("dump"), Some(net.ours.file.as_fd())).unwrap());
            assert!(!release_persistent(&id("dump"), Some(net.ours.file.as_fd())).unwrap());
            Paused::take_over(socket.as_fd(), false).resume().unwrap();
            let mut ours = TcpStream::from(socket);
            ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            ours.write_all(b"after").unwrap();
            ours.shutdown(Shutdown::Write).unwrap();
            stop.store(true, Ordering::Relaxed);
            let sent = sender.join().unwrap();
            assert_eq!(count(&mut ours, 0), sent);
        });
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before after");
    }
}

/// Left in repair mode. A child of another test may have the old socket for a moment: its addresses are taken as long.
fn restored(connection: &Connection) -> OwnedFd {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let socket = connection.socket().unwrap();
        let paused = Paused::pause(socket.as_fd()).unwrap();
        let restored = paused.restore(connection);
        paused.release();
        match restored {
            Err(e) if e.errno() == libc::EADDRNOTAVAIL && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            restored => {
                restored.unwrap();
                return socket;
            }
        }
    }
}

/// The segment that tells the restored socket of its peer's FIN has the mark, and passes.
#[test]
fn a_half_closed_connection_moves_under_the_lock() {
    let net = net_or_skip!();
    for (at, via) in FAMILIES {
        let (ours, mut peer) = net.connect(at, via);
        peer.write_all(b"last words").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        settle();
        let lock = net.lock("fin", &[flow(&ours)]);
        let paused = Paused::pause(ours.as_fd()).unwrap();
        let connection = paused.save().unwrap();
        assert_eq!(connection.state().unwrap(), criu_soccr::State::CloseWait);
        paused.release();
        drop(ours);
        let mut ours: TcpStream = net.ours.run(|| {
            let socket = restored(&connection);
            lock.release().unwrap();
            Paused::take_over(socket.as_fd(), false).resume().unwrap();
            socket.into()
        });
        ours.write_all(b"heard").unwrap();
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "last words");
        drop(ours);
        text.clear();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "heard");
    }
}

#[test]
fn a_lock_whose_owner_is_gone_is_gone() {
    let net = net_or_skip!();
    let (mut ours, mut peer) = net.connect("10.7.0.1:0", "10.7.0.1");
    let lock = net.lock("owner", &[flow(&ours)]);
    let again = NetworkLock::lock(id("owner"), &[], Some(net.ours.file.as_fd())).err().unwrap();
    assert!(again.source.raw_os_error().is_some(), "{again}");
    assert!(release_persistent(&id("owner"), Some(net.ours.file.as_fd())).is_err());
    assert_eq!(persistent(Some(net.ours.file.as_fd())).unwrap(), [], "an owned lock is none that waits");
    peer.write_all(b"x").unwrap();
    settle();
    assert_eq!(waiting_bytes(&ours), 0);
    // What the kernel sees when an engine is killed: the socket is closed.
    drop(lock);
    ours.read_exact(&mut [0]).unwrap();
    net.lock("owner", &[flow(&ours)]).release().unwrap();
}

#[test]
fn a_thousand_connections_are_locked_in_one_batch_and_twice_is_once() {
    let net = net_or_skip!();
    let flows: Vec<Flow> = (0..1500u16)
        .map(|n| {
            let (local, peer) = if n % 2 == 0 { ("10.7.0.1", "10.7.0.2") } else { ("fd07::1", "fd07::2") };
            let address = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
            Flow { local: address(local, 80), peer: address(peer, 1000 + n) }
        })
        .collect();
    let (mut ours, mut peer) = net.connect("10.7.0.1:0", "10.7.0.1");
    let mut lock = net.lock("many", &flows);
    lock.extend(&flows).unwrap();
    peer.write_all(b"a").unwrap();
    ours.read_exact(&mut [0]).unwrap();
    lock.extend(&[flow(&ours), flow(&ours)]).unwrap();
    peer.write_all(b"b").unwrap();
    settle();
    assert_eq!(waiting_bytes(&ours), 0);
    lock.release().unwrap();
    ours.read_exact(&mut [0]).unwrap();
}

#[test]
fn ids_from_outside_are_checked() {
    for bad in ["", "a b", "../x", "ä", "a\0", &"x".repeat(65)] {
        assert_eq!(LockId::new(bad), None, "{bad:?}");
    }
    assert_eq!(id("4fd2-A_0").to_string(), "4fd2-A_0");
}

/// Whoever is connected goes on; new ones wait until it is opened.
#[test]
fn a_door_is_shut_to_newcomers() {
    let net = net_or_skip!();
    let (mut ours, mut peer) = net.connect("10.7.0.1:0", "10.7.0.1");
    let at = ours.local_addr().unwrap();
    let listener = net.ours.run(|| TcpListener::bind("10.7.0.1:0").unwrap());
    let new = listener.local_addr().unwrap();
    let connect = || net.peers.run(|| TcpStream::connect_timeout(&new, Duration::from_millis(300)));
    connect().unwrap();
    let door = net.ours.run(|| Door::shut(&id("door"), &[at.port(), new.port()].into()).unwrap());
    assert_eq!(connect().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    let mut byte = [0];
    peer.write_all(b"x").unwrap();
    ours.read_exact(&mut byte).unwrap();
    drop(door);
    net.peers.run(|| TcpStream::connect_timeout(&new, Duration::from_secs(20))).unwrap();
}
