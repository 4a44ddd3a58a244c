//! Sockets and network namespaces.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::netlink::{Message, NETFILTER, NLM_F_ACK, NLM_F_CREATE_EXCL, NLM_F_DUMP, ROUTE, SOCK_DIAG};
use super::{absent, fails_with, not_yet, works};
use crate::check::Probe;
use crate::sys::probe::socket as sys;

fn socket(family: AddressFamily, kind: SocketType) -> Result<rustix::fd::OwnedFd, Probe> {
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)
        .map_err(|e| absent(format!("socket: {}", io::Error::from(e))))
}

/// TCP_REPAIR on a connection that is half closed.
pub fn tcp_half_closed() -> Probe {
    const TCP_REPAIR: i32 = 19;
    let pair = || -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        client.shutdown(Shutdown::Write)?;
        Ok((client, listener.accept()?.0))
    };
    match pair() {
        Ok((client, _server)) => {
            let on = sys::set_option(&client, libc::IPPROTO_TCP, TCP_REPAIR, 1);
            // Off without a window probe, so that the connection ends as it would have.
            let _ = sys::set_option(&client, libc::IPPROTO_TCP, TCP_REPAIR, -1);
            works("setsockopt(TCP_REPAIR)", on)
        }
        Err(e) => absent(format!("a TCP connection on the loopback device: {e}")),
    }
}

pub fn socket_namespace() -> Probe {
    socket(AddressFamily::INET, SocketType::DGRAM)
        .map_or_else(|p| p, |s| works("ioctl(SIOCGSKNS)", sys::network_namespace(s)))
}

pub fn unix_file() -> Probe {
    match socket(AddressFamily::UNIX, SocketType::STREAM).map(sys::unix_file) {
        Err(missing) => missing,
        Ok(Ok(())) => Probe::Present,
        Ok(Err(e)) => fails_with("ioctl(SIOCUNIXFILE)", &e, libc::ENOENT),
    }
}

pub fn sockopt_buf_lock() -> Probe {
    const SO_BUF_LOCK: i32 = 72;
    socket(AddressFamily::INET, SocketType::STREAM)
        .map_or_else(|p| p, |s| works("getsockopt(SO_BUF_LOCK)", sys::get_option(s, libc::SOL_SOCKET, SO_BUF_LOCK)))
}

pub fn ipv6_freebind() -> Probe {
    socket(AddressFamily::INET6, SocketType::STREAM).map_or_else(
        |p| p,
        |s| works("setsockopt(IPV6_FREEBIND)", sys::set_option(s, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1)),
    )
}

pub fn net_diag_raw() -> Probe {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states, socket id.
    let mut body = vec![libc::AF_INET as u8, libc::IPPROTO_RAW as u8, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.resize(56, 0);
    let asked = Message::new(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &body).ask(SOCK_DIAG);
    works("socket diagnostics of raw sockets", asked.map(|_| ()))
}

/// Asks for the id of the own network namespace in the own network namespace.
pub fn nsid() -> Probe {
    const RTM_GETNSID: u16 = 90;
    const NETNSA_FD: u16 = 3;
    let asked = fs::File::open("/proc/self/ns/net").and_then(|ns| {
        use std::os::fd::AsRawFd;
        let fd = ns.as_raw_fd() as u32;
        Message::new(RTM_GETNSID, 0, &[0; 4]).attribute(NETNSA_FD, &fd.to_ne_bytes()).ask(ROUTE)
    });
    works("netlink RTM_GETNSID", asked.map(|_| ()))
}

/// Makes a veth pair with both indexes chosen, in a network namespace of a thread's own that ends with it.
pub fn new_ifindex() -> Probe {
    in_own_namespace("netlink RTM_NEWLINK with chosen indexes", || veth(None))
}

/// As [`new_ifindex`], the peer's namespace given by its id.
pub fn link_nsid() -> Probe {
    // An id that no namespace has: EINVAL from a kernel that looks at it.
    let asked = in_own_namespace("netlink RTM_NEWLINK with IFLA_LINK_NETNSID", || veth(Some(0x7fff_0000)));
    match asked {
        Probe::Present => absent("netlink RTM_NEWLINK: IFLA_LINK_NETNSID is ignored"),
        Probe::Absent(why) if why.contains(&io::Error::from_raw_os_error(libc::EINVAL).to_string()) => Probe::Present,
        other => other,
    }
}

fn in_own_namespace(what: &'static str, work: fn() -> io::Result<()>) -> Probe {
    let thread = std::thread::spawn(move || {
        crate::sys::probe::task::own_network_namespace().map_err(|e| format!("unshare(CLONE_NEWNET): {e}"))?;
        work().map_err(|e| format!("{what}: {e}"))
    });
    match thread.join() {
        Ok(Ok(())) => Probe::Present,
        Ok(Err(why)) => absent(why),
        Err(_) => absent("the probe failed"),
    }
}

/// struct ifinfomsg with an index.
fn ifinfo(index: i32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend([0; 8]);
    body
}

fn veth(link_nsid: Option<i32>) -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_INFO_DATA: u16 = 2;
    const IFLA_LINK_NETNSID: u16 = 37;
    const VETH_INFO_PEER: u16 = 1;
    let mut message =
        Message::new(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE_EXCL, &ifinfo(1001)).attribute(IFLA_IFNAME, b"probe0\0");
    if let Some(id) = link_nsid {
        message = message.attribute(IFLA_LINK_NETNSID, &id.to_ne_bytes());
    }
    let message = message.nested(IFLA_LINKINFO, |m| {
        m.attribute(IFLA_INFO_KIND, b"veth").nested(IFLA_INFO_DATA, |m| {
            m.nested(VETH_INFO_PEER, |m| m.raw(&ifinfo(1002)).attribute(IFLA_IFNAME, b"probe1\0"))
        })
    });
    message.ask(ROUTE)?;
    let index = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/dev_snmp6/{name}"));
    match (index("probe0"), index("probe1")) {
        (Ok(a), Ok(b)) if has_index(&a, 1001) && has_index(&b, 1002) => Ok(()),
        // Without IPv6 there is nothing to read them from; the kernel refuses indexes that it cannot give.
        (Err(_), _) => Ok(()),
        _ => Err(io::Error::other("the indexes are others than those asked for")),
    }
}

fn has_index(snmp: &str, index: i32) -> bool {
    snmp.lines().find_map(|l| l.strip_prefix("ifIndex")).is_some_and(|l| l.trim() == index.to_string())
}

fn nftables_there() -> Probe {
    // NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN; struct nfgenmsg.
    const GETGEN: u16 = 10 << 8 | 16;
    works("netlink NFT_MSG_GETGEN", Message::new(GETGEN, 0, &[0; 4]).ask(NETFILTER).map(|_| ()))
}

pub fn nftables() -> Probe {
    nftables_there()
}

pub fn network_lock_nftables() -> Probe {
    nftables_there()
}

pub fn has_ipt_legacy() -> Probe {
    match rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(rustix::net::ipproto::RAW),
    ) {
        Ok(s) => works("getsockopt(IPT_SO_GET_INFO)", sys::iptables_info(s, "filter")),
        Err(e) => absent(format!("socket: {}", io::Error::from(e))),
    }
}

pub fn external_net_ns() -> Probe {
    not_yet("restoring into an external network namespace", nsid())
}
