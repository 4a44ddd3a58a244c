use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use criu_images::messages::{CriuOpts, FileEntry};
use criu_images::{ImageDir, Kind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept, bind, connect, getpeername,
    getsockname, listen, recv, send, sendto, shutdown, socket_with,
};

use crate::file::tests::{blockers, dump, options, restore, round_trip};
use crate::sys::descriptor::{adopt, borrow};
use crate::sys::socket::{
    attach_filter, filter, int_option, option, option_bytes, set_int_option, set_option, set_option_bytes,
};
use crate::sys::trial::{alone, put};

const V4: AddressFamily = AddressFamily::INET;
const V6: AddressFamily = AddressFamily::INET6;
const TCP: SocketType = SocketType::STREAM;
const UDP: SocketType = SocketType::DGRAM;

/// A loopback address of this test run's own: `dumped` and `restored` find the same one in `host` and their ports free.
pub(super) fn own(host: u8, port: u16) -> SocketAddr {
    static ID: std::sync::LazyLock<[u8; 2]> = std::sync::LazyLock::new(|| {
        let id = std::process::id();
        [(id >> 8) as u8, id as u8]
    });
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, ID[0], ID[1], host)), port)
}

pub(super) fn socket(family: AddressFamily, kind: SocketType) -> OwnedFd {
    socket_with(family, kind, SocketFlags::empty(), None).unwrap()
}

pub(super) fn local(fd: i32) -> SocketAddr {
    getsockname(borrow(fd)).unwrap().try_into().unwrap()
}

fn ready(fd: i32, flags: PollFlags) -> PollFlags {
    let fd = borrow(fd);
    let mut fds = [PollFd::new(&fd, flags)];
    poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 3, tv_nsec: 0 })).unwrap();
    fds[0].revents()
}

/// Set before the first test forks, so that all processes of a test agree.
fn fix() {
    own(0, 0);
}

#[test]
fn listening_bound_and_fresh_tcp() {
    fix();
    round_trip(
        || {
            let s = socket(V4, TCP);
            bind(&s, &own(1, 5001)).unwrap();
            listen(&s, 7).unwrap();
            put(s, 10);
            let s = socket(V4, TCP);
            bind(&s, &own(2, 5002)).unwrap();
            put(s, 11);
            put(socket_with(V6, TCP, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None).unwrap(), 12);
            rustix::io::fcntl_setfd(borrow(12), FdFlags::CLOEXEC).unwrap();
        },
        || {
            assert_eq!(local(10), own(1, 5001));
            assert_eq!(option(borrow(10), libc::SO_REUSEADDR).unwrap(), 0);
            let client = socket(V4, TCP);
            connect(&client, &own(1, 5001)).unwrap();
            let info = option_bytes(borrow(10), libc::IPPROTO_TCP, libc::TCP_INFO, 32).unwrap();
            assert_eq!((info[24], info[28]), (1, 7), "waiting, backlog");
            let server = accept(borrow(10)).unwrap();
            send(&server, b"x", SendFlags::empty()).unwrap();
            assert_eq!(recv(&client, &mut [0u8; 4], RecvFlags::empty()).unwrap().0, 1);
            // Closed by its client first: the server's port stays free.
            drop(client);
            drop(server);
            assert_eq!(local(11), own(2, 5002));
            assert_eq!(fcntl_getfd(borrow(12)).unwrap(), FdFlags::CLOEXEC);
            assert!(rustix::fs::fcntl_getfl(borrow(12)).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
            assert_eq!(local(12).port(), 0);
        },
    );
}

/// Two sockets of one port, and one that both families reach.
#[test]
fn ports_that_several_listen_on() {
    fix();
    round_trip(
        || {
            for fd in [10, 11] {
                let s = socket(V4, TCP);
                set_option(s.as_fd(), libc::SO_REUSEPORT, 1).unwrap();
                bind(&s, &own(3, 5003)).unwrap();
                listen(&s, 3).unwrap();
                put(s, fd);
            }
            let s = socket(V6, TCP);
            let mapped = match own(4, 5004).ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            bind(&s, &SocketAddr::new(mapped.into(), 5004)).unwrap();
            listen(&s, 3).unwrap();
            put(s, 12);
            let s = socket(V6, TCP);
            set_int_option(s.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).unwrap();
            put(s, 13);
            rustix::fs::fchown(borrow(13), Some(rustix::fs::Uid::from_raw(1234)), None).unwrap();
        },
        || {
            for fd in [10, 11] {
                assert_eq!((local(fd), option(borrow(fd), libc::SO_REUSEPORT).unwrap()), (own(3, 5003), 1));
                assert_eq!(option(borrow(fd), libc::SO_REUSEADDR).unwrap(), 0);
            }
            let client = socket(V4, TCP);
            connect(&client, &own(4, 5004)).unwrap();
            assert!(ready(12, PollFlags::IN).contains(PollFlags::IN));
            assert_eq!(int_option(borrow(13), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY).unwrap(), 1);
            assert_eq!(rustix::fs::fstat(borrow(13)).unwrap().st_uid, 1234);
        },
    );
}

#[test]
fn udp_bound_connected_and_shut_down() {
    fix();
    round_trip(
        || {
            put(socket(V4, UDP), 10);
            let (a, b) = (socket(V4, UDP), socket(V4, UDP));
            bind(&a, &own(5, 5005)).unwrap();
            bind(&b, &own(5, 5006)).unwrap();
            connect(&b, &own(5, 5005)).unwrap();
            put(a, 11);
            put(b, 12);
            for (fd, how) in [(13, Shutdown::Read), (14, Shutdown::Write), (15, Shutdown::Both)] {
                let s = socket(V4, UDP);
                connect(&s, &own(5, 5005)).unwrap();
                shutdown(&s, how).unwrap();
                put(s, fd);
            }
        },
        || {
            assert_eq!(local(10).port(), 0);
            send(borrow(12), b"hello", SendFlags::empty()).unwrap();
            assert!(ready(11, PollFlags::IN).contains(PollFlags::IN));
            assert_eq!(recv(borrow(11), &mut [0u8; 16], RecvFlags::empty()).unwrap().0, 5);
            let peer: SocketAddr = getpeername(borrow(12)).unwrap().unwrap().try_into().unwrap();
            assert_eq!(peer, own(5, 5005));
            sendto(borrow(11), b"back", SendFlags::empty(), &own(5, 5006)).unwrap();
            assert!(ready(12, PollFlags::IN).contains(PollFlags::IN));
            let none = SendFlags::NOSIGNAL;
            assert_eq!(ready(13, PollFlags::RDHUP), PollFlags::RDHUP);
            send(borrow(13), b"x", none).unwrap();
            assert_eq!(send(borrow(14), b"x", none), Err(rustix::io::Errno::PIPE));
            assert!(ready(15, PollFlags::empty()).contains(PollFlags::HUP));
        },
    );
}

/// Read in order, each with its sender, over IPv4, IPv6 and IPv4 through an IPv6 socket.
#[test]
fn datagrams_that_were_not_read() {
    fix();
    fn check() {
        for (fd, ports) in [(10, [5021, 5022]), (11, [5023, 5023])] {
            for (text, port) in ["first", "", "the third", "x"].iter().zip(ports.iter().cycle()) {
                let mut buf = [0u8; 64];
                let (n, _, from) = rustix::net::recvfrom(borrow(fd), &mut buf, RecvFlags::DONTWAIT).unwrap();
                let from: SocketAddr = from.unwrap().try_into().unwrap();
                assert_eq!((&buf[..n], from.port()), (text.as_bytes(), *port));
                assert_eq!(
                    from.ip().to_canonical(),
                    if fd == 10 { own(21, 0).ip() } else { std::net::Ipv6Addr::LOCALHOST.into() }
                );
            }
            assert!(recv(borrow(fd), &mut [0u8; 8], RecvFlags::DONTWAIT).is_err());
        }
        let mut long = vec![0u8; 70000];
        assert_eq!(recv(borrow(12), &mut long[..], RecvFlags::DONTWAIT).unwrap().0, 60000);
        assert!(long[..60000].iter().all(|b| *b == 7));
        assert_eq!(option(borrow(10), libc::SO_PEEK_OFF).unwrap(), -1);
    }
    round_trip(
        || {
            let (six, lite) = (socket(V6, UDP), socket(V6, UDP));
            bind(&six, &SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0)).unwrap();
            put(six, 10);
            bind(&lite, &SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), 0)).unwrap();
            put(lite, 11);
            let senders = [5021, 5022].map(|port| {
                let s = socket(V4, UDP);
                bind(&s, &own(21, port)).unwrap();
                s
            });
            let to = SocketAddr::new(own(21, 0).ip(), local(10).port());
            let six = socket(V6, UDP);
            bind(&six, &SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), 5023)).unwrap();
            for (text, sender) in ["first", "", "the third", "x"].iter().zip(senders.iter().cycle()) {
                sendto(sender, text.as_bytes(), SendFlags::empty(), &to).unwrap();
                sendto(&six, text.as_bytes(), SendFlags::empty(), &local(11)).unwrap();
            }
            let long = socket(V4, UDP);
            bind(&long, &own(22, 5024)).unwrap();
            sendto(&senders[0], &vec![7u8; 60000], SendFlags::empty(), &own(22, 5024)).unwrap();
            put(long, 12);
        },
        check,
    );
}

/// IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP and IPV6_JOIN_GROUP on the loopback device.
#[test]
fn multicast_groups() {
    fix();
    const GROUPS: [&str; 2] = ["239.7.7.7", "239.7.7.8"];
    fn members(of: &str) -> Vec<(Vec<u32>, usize)> {
        let mut groups = super::memberships::Groups::default();
        let (fd, family) = if of == "v4" { (10, super::INET) } else { (11, super::INET6) };
        groups.of(borrow(fd), family).unwrap().into_iter().map(|g| (g.group, g.filter.len())).collect()
    }
    fn check() {
        let word = |text: &str| vec![u32::from_ne_bytes(text.parse::<Ipv4Addr>().unwrap().octets())];
        let mut four = members("v4");
        four.sort_unstable_by_key(|g| g.1);
        assert_eq!(four, [(word(GROUPS[0]), 8), (word(GROUPS[1]), 136)]);
        let six = members("v6");
        assert_eq!((six.len(), six[0].0.len()), (1, 4), "{six:?}");
        // A packet to the group is heard.
        sendto(borrow(10), b"all", SendFlags::empty(), &SocketAddr::new(GROUPS[0].parse().unwrap(), local(10).port()))
            .unwrap();
        assert!(ready(10, PollFlags::IN).contains(PollFlags::IN));
        assert_eq!(recv(borrow(10), &mut [0u8; 8], RecvFlags::empty()).unwrap().0, 3);
    }
    round_trip(
        || {
            let octets = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
            let (four, six) = (socket(V4, UDP), socket(V6, UDP));
            bind(&four, &SocketAddr::from(([0; 4], 0))).unwrap();
            // Members and senders use the loopback device.
            let lo = [127, 0, 0, 1];
            set_option_bytes(four.as_fd(), libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &lo).unwrap();
            let join = [octets(GROUPS[0]), lo].concat();
            set_option_bytes(four.as_fd(), libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &join).unwrap();
            let join = [octets(GROUPS[1]), lo, [10, 1, 2, 3]].concat();
            set_option_bytes(four.as_fd(), libc::IPPROTO_IP, libc::IP_ADD_SOURCE_MEMBERSHIP, &join).unwrap();
            put(four, 10);
            let mut join = "ff02::7:7".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
            let index = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
            join.extend(index.trim().parse::<u32>().unwrap().to_ne_bytes());
            set_option_bytes(six.as_fd(), libc::IPPROTO_IPV6, 20, &join).unwrap();
            put(six, 11);
        },
        check,
    );
}

const INTS: &[(i32, i32, i32, i32)] = &[
    // Descriptor, level, name, value.
    (20, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
    (20, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1),
    (20, libc::SOL_SOCKET, libc::SO_MARK, 99),
    (20, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 3),
    (20, libc::SOL_SOCKET, libc::SO_BUSY_POLL, 0),
    (20, libc::SOL_SOCKET, 60, 1),
    (20, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
    (20, libc::IPPROTO_TCP, libc::TCP_CORK, 1),
    (20, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 71),
    (20, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 17),
    (20, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 4),
    (20, libc::IPPROTO_TCP, libc::TCP_SYNCNT, 3),
    (20, libc::IPPROTO_TCP, libc::TCP_LINGER2, 11),
    (20, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 3),
    (20, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 12345),
    (20, libc::IPPROTO_TCP, 25, 4321),
    (20, libc::IPPROTO_TCP, libc::TCP_MAXSEG, 1000),
    (20, libc::IPPROTO_TCP, 10, 20000),
    (20, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 5),
    (20, libc::IPPROTO_IP, libc::IP_TOS, 8),
    (20, libc::SOL_SOCKET, libc::SO_PRIORITY, 5),
    (20, libc::IPPROTO_IP, libc::IP_TTL, 33),
    (20, libc::IPPROTO_IP, libc::IP_FREEBIND, 1),
    (20, libc::IPPROTO_IP, libc::IP_MINTTL, 3),
    (21, libc::SOL_SOCKET, libc::SO_BROADCAST, 1),
    (21, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1),
    (21, libc::SOL_SOCKET, libc::SO_DONTROUTE, 1),
    (21, libc::SOL_SOCKET, 40, 1),
    (21, libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1),
    (21, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
    (21, libc::IPPROTO_IP, libc::IP_RECVTTL, 1),
    (21, libc::IPPROTO_IP, libc::IP_RECVERR, 1),
    (21, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, 2),
    (21, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, 9),
    (21, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, 0),
    (21, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0),
    (21, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1),
    (21, libc::IPPROTO_UDP, 104, 1),
    (21, libc::IPPROTO_UDP, 103, 900),
    (22, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 44),
    (22, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, 4),
    (22, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, 16),
    (22, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    (22, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
    (22, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, 2),
    (22, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1),
    (22, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1),
    (22, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1),
    (22, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
    (22, libc::IPPROTO_IP, libc::IP_TOS, 16),
];

fn check_options() {
    for &(fd, level, name, value) in INTS {
        assert_eq!(int_option(borrow(fd), level, name).unwrap(), value, "fd {fd} level {level} option {name}");
    }
    let buffer = |fd| (option(borrow(fd), libc::SO_SNDBUF).unwrap(), option(borrow(fd), libc::SO_RCVBUF).unwrap());
    assert_eq!(buffer(20), (40000, 30000));
    assert_eq!(option(borrow(20), 72).unwrap(), 3, "the sizes stay");
    assert_eq!(option(borrow(21), 72).unwrap(), 0, "the sizes may change");
    assert_eq!(option_bytes(borrow(20), libc::IPPROTO_TCP, libc::TCP_CONGESTION, 16).unwrap()[..4], *b"reno");
    assert_eq!(crate::sys::socket::linger(borrow(20)).unwrap(), Some(7));
    assert_eq!(crate::sys::socket::timeout(borrow(20), libc::SO_RCVTIMEO).unwrap(), (3, 500000));
    assert_eq!(option_bytes(borrow(21), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, 16).unwrap(), b"lo\0");
    assert_eq!(filter(borrow(21)).unwrap().len(), 2);
    let again = attach_filter(borrow(21), &mut accept_all());
    assert_eq!(again.unwrap_err().raw_os_error(), Some(libc::EPERM), "the filter is locked");
}

fn accept_all() -> Vec<libc::sock_filter> {
    let load = libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0xffff_f000 };
    vec![load, libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0xffff }]
}

#[test]
fn every_option() {
    fix();
    round_trip(
        || {
            put(socket(V4, TCP), 20);
            put(socket(V4, UDP), 21);
            put(socket(V6, UDP), 22);
            for &(fd, level, name, value) in INTS {
                let set = set_int_option(borrow(fd), level, name, value);
                set.unwrap_or_else(|e| panic!("fd {fd} level {level} option {name}: {e}"));
            }
            set_option(borrow(20), libc::SO_SNDBUF, 20000).unwrap();
            set_option(borrow(20), libc::SO_RCVBUF, 15000).unwrap();
            set_option_bytes(borrow(20), libc::IPPROTO_TCP, libc::TCP_CONGESTION, b"reno").unwrap();
            crate::sys::socket::set_linger(borrow(20), 7).unwrap();
            crate::sys::socket::set_timeout(borrow(20), libc::SO_RCVTIMEO, (3, 500000)).unwrap();
            set_option_bytes(borrow(21), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"lo").unwrap();
            attach_filter(borrow(21), &mut accept_all()).unwrap();
            set_option(borrow(21), 44, 1).unwrap();
            check_options();
        },
        check_options,
    );
}

fn refusal(setup: fn(), skip_in_flight: bool) -> String {
    let opts = CriuOpts { tcp_skip_in_flight: Some(skip_in_flight), ..CriuOpts::default() };
    blockers(opts, setup).iter().map(|b| format!("{b}\n")).collect()
}

#[test]
fn what_cannot_be_saved_is_named() {
    fix();
    fn pending() {
        let (s, c) = (socket(V4, TCP), socket(V4, TCP));
        bind(&s, &own(7, 5007)).unwrap();
        listen(&s, 3).unwrap();
        connect(&c, &own(7, 5007)).unwrap();
        put(s, 10);
        // Its client lives outside the tree.
        let keep = rustix::io::dup(&c).unwrap();
        drop(c);
        std::mem::forget(adopt(keep.as_raw_fd()));
        std::mem::forget(keep);
    }
    let named = refusal(pending, false);
    assert!(named.contains("fd 10 (socket:[") && named.contains("1 connections wait to be accepted"), "{named}");
    assert!(named.contains("--skip-in-flight"), "{named}");
    assert!(!refusal(pending, true).contains("fd 10 "));

    let corked = refusal(
        || {
            let s = socket(V4, UDP);
            connect(&s, &own(8, 5008)).unwrap();
            set_int_option(s.as_fd(), libc::IPPROTO_UDP, 1, 1).unwrap();
            send(&s, b"held back", SendFlags::empty()).unwrap();
            put(s, 10);
        },
        false,
    );
    assert!(corked.contains("fd 10 (socket:[") && corked.contains("corked"), "{corked}");
}

/// TCP_MD5SIG of linux/tcp.h: address, flags, prefix, length, interface, key.
#[test]
fn signed_connections_are_refused() {
    fix();
    let named = refusal(
        || {
            let s = socket(V4, TCP);
            let mut key = vec![0u8; 216];
            key[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            key[4..8].copy_from_slice(&[127, 0, 0, 1]);
            key[130..132].copy_from_slice(&4u16.to_ne_bytes());
            key[136..140].copy_from_slice(b"keys");
            set_option_bytes(s.as_fd(), libc::IPPROTO_TCP, 14, &key).unwrap();
            bind(&s, &own(9, 5009)).unwrap();
            listen(&s, 1).unwrap();
            put(s, 10);
        },
        false,
    );
    assert!(named.contains("MD5"), "{named}");
}

/// A port that somebody has, and an address that is not there: both are named, with what would help.
#[test]
fn what_cannot_be_bound_is_named() {
    fix();
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), CriuOpts::default());
    crate::file::tests::dump(
        &options,
        || {
            for (fd, host) in [(10, 10), (11, 11)] {
                let s = socket(V4, TCP);
                bind(&s, &own(host, 5010)).unwrap();
                listen(&s, 1).unwrap();
                put(s, fd);
            }
        },
        &[|| {}],
    );
    let alone = alone();
    let taken: Vec<_> = [10, 11]
        .map(|host| {
            let s = socket(V4, TCP);
            bind(&s, &own(host, 5010)).unwrap();
            listen(&s, 1).unwrap();
            s
        })
        .into();
    let dir = criu_images::ImageDir::new(options.images_dir.try_clone().unwrap());
    let mut files = crate::file::RestoreFiles::load(&dir, &options, &[(2, 1)]).unwrap();
    files.set_users(vec![4242]);
    let refused = files.open_shared().unwrap_err();
    assert_eq!(refused.blockers.len(), 2, "{refused}");
    let text = refused.to_string();
    assert!(text.contains(&format!("pid 4242 fd 10 (TCP socket {}", own(10, 5010))), "{text}");
    assert!(text.contains("Address already in use") && text.contains("the port is taken"), "{text}");
    drop((taken, files, alone));
    restore(&options, &[|| assert_eq!(local(10), own(10, 5010))]);
}

#[test]
fn sockets_given_by_whoever_restores() {
    fix();
    let images = tempfile::tempdir().unwrap();
    let plain = options(images.path(), CriuOpts::default());
    let setup = || {
        let s = socket(V4, UDP);
        bind(&s, &own(70, 5070)).unwrap();
        put(s, 10);
        let s = socket(V4, TCP);
        bind(&s, &own(70, 5071)).unwrap();
        listen(&s, 3).unwrap();
        put(s, 11);
    };
    crate::file::tests::dump(&plain, setup, &[|| {}]);
    let dir = criu_images::ImageDir::new(plain.images_dir.try_clone().unwrap());
    let entries: Vec<criu_images::messages::FileEntry> = dir.read_all(criu_images::Kind::Files, 0).unwrap();
    let key = |port: u32| {
        let isk = entries.iter().filter_map(|e| e.isk.as_ref()).find(|s| s.src_port == port).unwrap();
        format!("socket:[{}]", isk.ino)
    };
    let file = tempfile::tempfile().unwrap();
    let inherit_fd = vec![criu_images::messages::InheritFd { key: key(5071), fd: file.as_raw_fd() }];
    let wrong = options(images.path(), CriuOpts { inherit_fd, ..CriuOpts::default() });
    let refused = crate::file::RestoreFiles::load(&dir, &wrong, &[(2, 1)]).unwrap().open_shared().unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("a regular file") && text.contains("stand in for an internet stream socket"), "{text}");
    let given = [(5070, UDP), (5071, TCP)].map(|(port, kind)| {
        let s = socket(V4, kind);
        bind(&s, &own(71, port)).unwrap();
        s
    });
    listen(&given[1], 3).unwrap();
    let give = |n: usize, port| criu_images::messages::InheritFd { key: key(port), fd: given[n].as_raw_fd() };
    let inherit_fd = vec![give(0, 5070), give(1, 5071)];
    restore(
        &options(images.path(), CriuOpts { inherit_fd, ..CriuOpts::default() }),
        &[|| {
            assert_eq!((local(10), local(11)), (own(71, 5070), own(71, 5071)));
            let client = socket(V4, TCP);
            connect(&client, &own(71, 5071)).unwrap();
            accept(borrow(11)).unwrap();
        }],
    );
}

#[test]
fn raw_sockets_hear_nothing_before_they_are_bound() {
    fix();
    /// "Use for experimentation and testing", says IANA.
    const OWN: u32 = 253;
    fn raw() -> rustix::io::Result<OwnedFd> {
        let protocol = rustix::net::Protocol::from_raw(rustix::net::RawProtocol::new(OWN).unwrap());
        socket_with(V4, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))
    }
    let Ok(from) = raw() else { return };
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), CriuOpts::default());
    let setup = || {
        for fd in 10..40 {
            let s = raw().unwrap();
            bind(&s, &own(90, 0)).unwrap();
            while recv(&s, &mut [0u8; 1], RecvFlags::DONTWAIT).is_ok() {}
            put(s, fd);
        }
    };
    crate::file::tests::dump(&options, setup, &[|| {}]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = sendto(&from, b"for another", SendFlags::empty(), &own(91, 0));
            }
        });
        let restored = std::panic::catch_unwind(|| {
            // The kernel may be in the middle of a packet for one when its filter comes.
            restore(&options, &[|| assert!((10..40).filter(|fd| heard(*fd) > 0).count() < 3)]);
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        restored.unwrap();
    });
    fn heard(fd: i32) -> usize {
        std::iter::from_fn(|| recv(borrow(fd), &mut [0u8; 1], RecvFlags::DONTWAIT).ok()).count()
    }
}

/// CRIU knows no MPTCP: to it, such a listener is one of TCP, which serves as well.
#[test]
fn an_mptcp_listener_is_one_of_tcp_to_others() {
    const MPTCP: i32 = libc::IPPROTO_MPTCP;
    fn mptcp() -> rustix::io::Result<OwnedFd> {
        let protocol = rustix::net::Protocol::from_raw(rustix::net::RawProtocol::new(MPTCP as u32).unwrap());
        socket_with(V4, TCP, SocketFlags::CLOEXEC, Some(protocol))
    }
    fix();
    if mptcp().is_err() {
        return;
    }
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), CriuOpts::default());
    let check = || {
        assert_eq!(option(borrow(10), libc::SO_PROTOCOL).unwrap(), MPTCP);
        connect(socket(V4, TCP), &own(90, 5090)).unwrap();
    };
    let set_up = || {
        let s = mptcp().unwrap();
        bind(&s, &own(90, 5090)).unwrap();
        listen(&s, 3).unwrap();
        put(s, 10);
    };
    dump(&options, set_up, &[check]);
    restore(&options, &[check]);
    let dir = ImageDir::new(options.images_dir.try_clone().unwrap());
    let mut files: Vec<FileEntry> = dir.read_all(Kind::Files, 0).unwrap();
    let isk = files.iter_mut().find_map(|f| f.isk.as_deref_mut()).unwrap();
    assert_eq!((isk.proto, isk.mptcp), (libc::IPPROTO_TCP as u32, Some(true)));
    isk.mptcp = None;
    let mut image = dir.create(Kind::Files, 0).unwrap();
    files.iter().for_each(|f| image.entry(f).unwrap());
    image.finish().unwrap();
    let as_tcp = || {
        assert_eq!(option(borrow(10), libc::SO_PROTOCOL).unwrap(), libc::IPPROTO_TCP);
        connect(socket(V4, TCP), &own(90, 5090)).unwrap();
    };
    restore(&options, &[as_tcp]);
}

/// In CRIU's images `ifname` is about addresses alone.
#[test]
fn the_device_of_a_socket_stands_among_its_options() {
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), CriuOpts::default());
    let is_bound = || {
        assert_eq!(option_bytes(borrow(10), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, 16).unwrap(), b"lo\0");
    };
    let set_up = || {
        put(socket(V4, UDP), 10);
        set_option_bytes(borrow(10), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"lo").unwrap();
    };
    dump(&options, set_up, &[is_bound]);
    let dir = ImageDir::new(options.images_dir.try_clone().unwrap());
    let files: Vec<FileEntry> = dir.read_all(Kind::Files, 0).unwrap();
    let isk = files.iter().find_map(|f| f.isk.as_deref()).unwrap();
    assert_eq!((isk.opts.so_bound_dev.as_deref(), isk.ifname.as_deref()), (Some("lo"), None));
    restore(&options, &[is_bound]);
}
