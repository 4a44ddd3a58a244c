use std::os::fd::AsFd;

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, getpeername, getsockname,
    recv, send, sendto, socket_with,
};

use super::{ADD_MEMBERSHIP, LIST_MEMBERSHIPS, SOL_NETLINK};
use crate::file::tests::{blockers, dump, options, restore};
use crate::sys::descriptor::borrow;
use crate::sys::socket::{int_option, option_bytes, set_int_option};
use crate::sys::trial::put;

fn socket(kind: SocketType, protocol: i32) -> std::os::fd::OwnedFd {
    let protocol = std::num::NonZeroU32::new(protocol as u32).map(Protocol::from_raw);
    socket_with(AddressFamily::NETLINK, kind, SocketFlags::empty(), protocol).unwrap()
}

/// Far from what the kernel chooses, and of this process alone.
fn port(n: u32) -> u32 {
    0x6000_0000 + n
}

#[test]
fn ports_groups_and_options() {
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), Default::default());
    dump(
        &options,
        || {
            let route = socket(SocketType::RAW, libc::NETLINK_ROUTE);
            bind(&route, &SocketAddrNetlink::new(port(1), 0b101)).unwrap();
            // A group beyond the mask of the address.
            set_int_option(route.as_fd(), SOL_NETLINK, ADD_MEMBERSHIP, 33).unwrap();
            set_int_option(route.as_fd(), SOL_NETLINK, 11, 1).unwrap();
            put(route, 10);
            put(socket(SocketType::DGRAM, libc::NETLINK_GENERIC), 11);
            let user = socket(SocketType::RAW, libc::NETLINK_USERSOCK);
            bind(&user, &SocketAddrNetlink::new(port(2), 0)).unwrap();
            let client = socket(SocketType::RAW, libc::NETLINK_USERSOCK);
            connect(&client, &SocketAddrNetlink::new(port(2), 0)).unwrap();
            rustix::io::ioctl_fionbio(&client, true).unwrap();
            put(user, 12);
            put(client, 13);
        },
        &[|| ()],
    );
    restore(
        &options,
        &[|| {
            let name = |fd| SocketAddrNetlink::try_from(getsockname(borrow(fd)).unwrap()).unwrap();
            assert_eq!((name(10).pid(), name(10).groups()), (port(1), 0b101));
            let words = option_bytes(borrow(10), SOL_NETLINK, LIST_MEMBERSHIPS, 64).unwrap();
            assert_eq!((words[0], words[4]), (0b101, 1));
            assert_eq!(int_option(borrow(10), SOL_NETLINK, 11).unwrap(), 1);
            assert_eq!(int_option(borrow(10), SOL_NETLINK, 10).unwrap(), 0);
            assert_eq!(name(11).pid(), 0);
            assert_eq!(rustix::net::sockopt::socket_type(borrow(11)).unwrap(), SocketType::DGRAM);
            let peer = SocketAddrNetlink::try_from(getpeername(borrow(13)).unwrap().unwrap()).unwrap();
            assert_eq!(peer.pid(), port(2));
            assert!(fcntl_getfl(borrow(13)).unwrap().contains(OFlags::NONBLOCK));
            send(borrow(13), b"a message", SendFlags::empty()).unwrap();
            let mut buf = [0; 32];
            assert_eq!(recv(borrow(12), &mut buf, RecvFlags::DONTWAIT).unwrap().0, 9);
            // It asks and is answered: the links there are.
            let mut request = Vec::new();
            for (word, bytes) in [(32u32, 4), (0x0301_0012, 4), (1, 4), (0, 4), (0, 4), (0, 4), (0, 4), (0, 4)] {
                request.extend(&word.to_ne_bytes()[..bytes]);
            }
            sendto(borrow(10), &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).unwrap();
            let mut buf = [0; 4096];
            let got = recv(borrow(10), &mut buf, RecvFlags::empty()).unwrap().0;
            assert!(got > 32 && buf[4] == 16, "RTM_NEWLINK: {:?}", &buf[..32]);
        }],
    );
}

#[test]
fn what_cannot_be_kept_is_named() {
    let found = blockers(Default::default(), || {
        let full = socket(SocketType::RAW, libc::NETLINK_USERSOCK);
        bind(&full, &SocketAddrNetlink::new(port(3), 0)).unwrap();
        let sender = socket(SocketType::RAW, libc::NETLINK_USERSOCK);
        sendto(&sender, b"unread", SendFlags::empty(), &SocketAddrNetlink::new(port(3), 0)).unwrap();
        put(full, 10);
        put(socket(SocketType::RAW, libc::NETLINK_NETFILTER), 11);
        drop(sender);
    });
    let mut found: Vec<String> = found.iter().map(|b| b.to_string()).collect();
    found.sort();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("fd 10") && found[0].contains("messages wait in its queue"), "{found:#?}");
    assert!(found[1].contains("fd 11") && found[1].contains("protocol 12"), "{found:#?}");
}
