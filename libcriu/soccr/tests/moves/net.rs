//! Network namespaces for tests: one of our own, and one behind a veth pair for the peer.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::Skip;

/// Which addresses a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
    /// IPv4 through an IPv6 socket, on our side.
    Mapped,
}

pub const FAMILIES: [Family; 3] = [Family::V4, Family::V6, Family::Mapped];

/// The calling thread's own namespace, and perhaps another one behind a veth pair.
pub struct Net {
    peer: Option<File>,
}

fn ip(args: &str) -> Result<(), Skip> {
    let out = Command::new("ip").args(args.split(' ')).output().map_err(|e| Skip(format!("ip: {e}")))?;
    if out.status.success() {
        return Ok(());
    }
    Err(Skip(format!("ip {args}: {}", String::from_utf8_lossy(&out.stderr).trim())))
}

fn enter_new() -> Result<(), Skip> {
    // SAFETY: only the network namespace of this thread changes; no memory or descriptors are shared differently.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|e| Skip(format!("no network namespaces: {e}")))?;
    ip("link set lo up")
}

fn own_namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

impl Net {
    /// Loopback only.
    pub fn loopback() -> Result<Net, Skip> {
        enter_new()?;
        Ok(Net { peer: None })
    }

    /// 10.7.0.1 and fd07::1 here, 10.7.0.2 and fd07::2 in the peer's namespace.
    pub fn veth() -> Result<Net, Skip> {
        enter_new()?;
        let peer = std::thread::spawn(|| enter_new().map(|()| own_namespace())).join().unwrap()?;
        ip("link add v0 type veth peer name v1")?;
        ip(&format!("link set v1 netns /proc/{}/fd/{}", std::process::id(), peer.as_raw_fd()))?;
        ip("addr add 10.7.0.1/24 dev v0")?;
        ip("addr add fd07::1/64 dev v0 nodad")?;
        ip("link set v0 up")?;
        let net = Net { peer: Some(peer) };
        net.at_peer(|| {
            let _ = std::fs::write("/proc/sys/net/ipv6/conf/all/keep_addr_on_down", "1");
            ip("addr add 10.7.0.2/24 dev v1")?;
            ip("addr add fd07::2/64 dev v1 nodad")?;
            ip("link set v1 up")
        })?;
        Ok(net)
    }

    /// Runs `f` on a thread in the peer's namespace.
    pub fn at_peer<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let namespace = self.peer.as_ref();
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    if let Some(namespace) = namespace {
                        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                    }
                    f()
                })
                .join()
                .unwrap()
        })
    }

    /// Cuts the cable, or mends it. The addresses on our side stay usable.
    pub fn cable(&self, whole: bool) {
        self.at_peer(|| ip(if whole { "link set v1 up" } else { "link set v1 down" }).map_err(|e| e.0).unwrap());
    }

    /// Our address and the peer's, as our socket sees them.
    pub fn addresses(&self, family: Family) -> (IpAddr, IpAddr) {
        let (a, b) = match (self.peer.is_some(), family) {
            (true, Family::V4) => ("10.7.0.1", "10.7.0.2"),
            (true, Family::V6) => ("fd07::1", "fd07::2"),
            (true, Family::Mapped) => ("::ffff:10.7.0.1", "::ffff:10.7.0.2"),
            (false, Family::V4) => ("127.0.0.1", "127.0.0.1"),
            (false, Family::V6) => ("::1", "::1"),
            (false, Family::Mapped) => ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        };
        (a.parse().unwrap(), b.parse().unwrap())
    }

    /// An established connection: our end, the peer's. We are the client, or the server.
    pub fn connect(&self, family: Family, client: bool) -> (TcpStream, TcpStream) {
        let pair = self.connect_blocking(family, client);
        for end in [&pair.0, &pair.1] {
            end.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        pair
    }

    fn connect_blocking(&self, family: Family, client: bool) -> (TcpStream, TcpStream) {
        let (ours, theirs) = self.addresses(family);
        // The peer itself uses plain IPv4 when we use mapped addresses.
        let plain = |ip: IpAddr| SocketAddr::new(ip.to_canonical(), 0);
        if client {
            let listener = self.at_peer(|| TcpListener::bind(plain(theirs)).unwrap());
            let to = SocketAddr::new(theirs, listener.local_addr().unwrap().port());
            let our_end = TcpStream::connect(to).unwrap();
            (our_end, listener.accept().unwrap().0)
        } else {
            let listener = TcpListener::bind(SocketAddr::new(ours, 0)).unwrap();
            let to = SocketAddr::new(ours.to_canonical(), listener.local_addr().unwrap().port());
            let peer_end = self.at_peer(|| TcpStream::connect(to).unwrap());
            (listener.accept().unwrap().0, peer_end)
        }
    }
}
