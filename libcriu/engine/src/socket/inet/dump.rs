//! Internet sockets, seen from outside.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use criu_images::ImageDir;
use criu_images::messages::{FdTypes, FileEntry, InetSkEntry, SkShutdown};

use super::address::{Addresses, unspecified};
use super::hidden::Hidden;
use super::hold::{Connections, Datagrams, Held};
use super::memberships::Groups;
use super::more_options::{SocketKind, Usual};
use super::{
    DGRAM, ICMP, ICMPV6, MPTCP, RAW, STREAM, TCP, UDP, UDP_LITE, facts, listed, queue, raw_options, state, stream,
};
use crate::error::Result;
use crate::file::{Collected, DumpKind, FileId, Seen, Unsaved};
use crate::namespace::Namespace;
use crate::netlock::Flow;
use crate::socket::diag::{InetSockets as Diag, TcpSocket};
use crate::socket::{Told, options};

#[derive(Debug, Default)]
pub(crate) struct InetSockets {
    usual: Usual,
    /// The engine's own network namespace.
    namespace: Option<Vec<u8>>,
    diag: Diag,
    alike: Alike,
    connections: Connections,
    groups: Groups,
    hidden: Hidden,
}

/// Of connections that are alike, the first one's entry: options, and that nothing stands in the way.
#[derive(Debug, Default)]
struct Alike {
    options: options::Known,
    entries: HashMap<u32, InetSkEntry>,
}

/// A system call on the socket that failed, as an error of the dump.
fn os<'a>(seen: &'a Seen<'_>, call: &'a str) -> impl Fn(std::io::Error) -> Unsaved + 'a {
    move |e| Unsaved::os(seen, call, e)
}

impl DumpKind for InetSockets {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        matches!(seen.socket_family(), Some(super::INET | super::INET6))
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let fd = seen.dup.as_fd();
        let kind = match seen.told {
            Some(Told { family, kind, protocol, .. }) => SocketKind { family, kind, protocol },
            None => facts::kind(fd).map_err(os(seen, "getsockopt"))?,
        };
        let mut known = None;
        if facts::is_tcp(kind) {
            known = self.diag.tcp_socket(seen.stat.st_ino as u32).map_err(os(seen, "sock_diag"))?;
        }
        // Netlink tells of this network namespace alone.
        if known.is_none() {
            self.check_namespace(seen, kind)?;
        }
        let mut listed = None;
        let (state, backlog, shutdown) = match kind {
            _ if facts::is_tcp(kind) => self.tcp(seen, id, known, common)?,
            SocketKind { kind: STREAM, protocol: MPTCP, .. } => self.mptcp(seen, id, common)?,
            SocketKind { kind: DGRAM, protocol: UDP | UDP_LITE, .. } => self.udp(seen, kind)?,
            SocketKind { kind: RAW, .. } | SocketKind { kind: DGRAM, protocol: ICMP | ICMPV6, .. } => {
                if kind.socket().is_err_and(|e| e.raw_os_error() == Some(libc::EACCES)) {
                    let cause = "an ICMP socket, such as the engine may not make";
                    return Err(Unsaved::because(cause).hint("set the sysctl net.ipv4.ping_group_range"));
                }
                listed = listed::find(kind, seen.stat.st_ino).map_err(os(seen, "reading /proc/net"))?;
                let state = listed.map_or(state::CLOSE, |l| l.0);
                // Whether anything may be sent is hidden.
                let ended = facts::receives_not(fd).map_err(os(seen, "poll"))?;
                (state, 0, Some(SkShutdown::Read).filter(|_| ended))
            }
            SocketKind { protocol, .. } => {
                let cause = format!("an internet socket of protocol {protocol} ({}) cannot be saved", name(protocol));
                return Err(Unsaved::because(cause).hint("close it before the dump"));
            }
        };
        let mut isk = InetSkEntry {
            id,
            ino: seen.stat.st_ino as u32,
            family: kind.family,
            r#type: kind.kind,
            proto: kind.protocol,
            state,
            flags: seen.info.flags,
            backlog,
            shutdown: shutdown.map(i32::from),
            fown: seen.fown,
            ns_id: Some(Namespace::Net as u32 + 1),
            owner_uid: Some(seen.stat.st_uid).filter(|&uid| uid != 0),
            owner_gid: Some(seen.stat.st_gid).filter(|&gid| gid != 0),
            ..InetSkEntry::default()
        };
        self.options(seen, kind, &mut isk)?;
        if facts::is_tcp(kind)
            && stream::is_connected(state)
            && let Some(why) = queue::refusal_of_stream(fd, &isk).map_err(os(seen, "poll"))?
        {
            return Err(Unsaved::because(why).hint("have it read before the dump"));
        }
        if kind.kind != STREAM {
            isk.groups = self.groups.of(fd, kind.family).map_err(os(seen, "getsockopt MCAST_MSFILTER"))?;
            if let Some(why) = queue::refusal(fd, &isk).map_err(os(seen, "poll"))? {
                return Err(Unsaved::because(why).hint(queue::HINT));
            }
        }
        if matches!(kind, SocketKind { kind: DGRAM, protocol: UDP | UDP_LITE, .. }) {
            let dup = Rc::clone(&seen.dup);
            let object = format!("{} (UDP socket ino {})", seen.holder, isk.ino);
            self.connections.push_datagrams(Datagrams { id, pid: seen.holder_pid, object, dup });
        }
        self.hidden.find(seen, fd, &mut isk)?;
        let (local, peer) = addresses(seen, known)?;
        let peer = peer.or(listed.map(|l| l.1)).filter(|_| state != state::CLOSE);
        Addresses { local, peer: peer.unwrap_or(unspecified(kind.family)) }.put(&mut isk);
        if matches!(local.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()) {
            isk.ifname = isk.opts.so_bound_dev.clone();
        }
        if isk.proto == MPTCP {
            (isk.proto, isk.mptcp) = (TCP, Some(true));
        }
        Ok(FileEntry { r#type: FdTypes::Inetsk as i32, id, isk: Some(Box::new(isk)), ..FileEntry::default() })
    }

    fn is_delicate(&self) -> bool {
        self.connections.have_peers()
    }

    fn hold(&mut self, common: &mut Collected, images: &ImageDir) -> Result<()> {
        self.connections.hold(common, images)
    }

    fn released(&mut self, killed: bool) -> Result<()> {
        self.connections.released(killed)
    }
}

impl InetSockets {
    fn check_namespace(&mut self, seen: &Seen<'_>, kind: SocketKind) -> Result<(), Unsaved> {
        let its = facts::namespace(seen.dup.as_fd()).map_err(os(seen, "getsockopt SO_NETNS_COOKIE"))?;
        let own = match &self.namespace {
            Some(own) => own,
            None => {
                let fresh = SocketKind { kind: DGRAM, protocol: UDP, ..kind }.socket();
                let own = fresh.and_then(|s| facts::namespace(s.as_fd())).map_err(os(seen, "socket"))?;
                self.namespace.insert(own)
            }
        };
        if its == *own { Ok(()) } else { Err(Unsaved::because("a socket of another network namespace")) }
    }

    fn options(&mut self, seen: &Seen<'_>, kind: SocketKind, isk: &mut InetSkEntry) -> Result<(), Unsaved> {
        let fd = seen.dup.as_fd();
        let getting = os(seen, "getsockopt");
        isk.opts = match self.alike.options.read(fd, seen.told.as_ref(), options::read).map_err(&getting)? {
            Ok(opts) => opts,
            Err(what) => return Err(Unsaved::because(format!("{what} cannot be saved"))),
        };
        let likeness = seen.told.and_then(|t| t.likeness);
        if let Some(like) = likeness.and_then(|l| self.alike.entries.get(&l)) {
            isk.v6only = like.v6only;
            (isk.ip_opts, isk.tcp_opts) = (like.ip_opts.clone(), like.tcp_opts);
            (isk.opts.so_bound_dev, isk.more_opts) = (like.opts.so_bound_dev.clone(), like.more_opts.clone());
            return Ok(());
        }
        isk.v6only = facts::v6only(fd, kind).map_err(&getting)?;
        isk.ip_opts = Some(facts::ip_options(fd, kind).map_err(&getting)?);
        isk.opts.so_bound_dev = facts::device(fd).map_err(&getting)?;
        let tcp = facts::is_tcp(kind);
        isk.tcp_opts = Some(if facts::has_tcp_options(kind) {
            facts::tcp_options(fd).map_err(&getting)?
        } else {
            Default::default()
        });
        // A connection that has ended still shows what it was.
        let peer = facts::peer(fd).map_err(&getting)?;
        let connected = tcp && (stream::is_connected(isk.state) || peer.is_some());
        isk.more_opts = self.usual.differing(fd, kind, connected).map_err(&getting)?;
        raw_options::put(isk);
        if let Some(likeness) = likeness {
            self.alike.entries.insert(likeness, isk.clone());
        }
        Ok(())
    }

    /// State, backlog, shutdown.
    fn tcp(
        &mut self,
        seen: &Seen<'_>,
        id: FileId,
        known: Option<TcpSocket>,
        common: &Collected,
    ) -> Result<(u32, u32, Option<SkShutdown>), Unsaved> {
        if known.is_some_and(|k| k.has_md5_keys) {
            return Err(Unsaved::because("a connection signed with MD5 keys cannot be saved"));
        }
        let info = || facts::tcp_info(seen.dup.as_fd()).map_err(os(seen, "getsockopt TCP_INFO"));
        let state = known.map_or_else(|| info().map(|i| i.state), |k| Ok(k.state))?;
        match state {
            state::LISTEN => self.listener(seen, id, info()?, common),
            state::CLOSE => {
                self.hold_on(seen, id, None, false)?;
                // Whether it was shut down for sending, too, makes no difference that anybody could see.
                let ended = facts::receives_not(seen.dup.as_fd()).map_err(os(seen, "poll"))?;
                Ok((state::CLOSE, 0, Some(SkShutdown::Both).filter(|_| ended)))
            }
            connected => {
                self.connection(seen, id, known, common)?;
                let shutdown = SkShutdown::try_from(i32::from(known.map_or(0, |k| k.shutdown)))
                    .ok()
                    .filter(|&s| s != SkShutdown::None);
                Ok((connected, 0, shutdown))
            }
        }
    }

    fn listener(
        &mut self,
        seen: &Seen<'_>,
        id: FileId,
        info: facts::TcpInfo,
        common: &Collected,
    ) -> Result<(u32, u32, Option<SkShutdown>), Unsaved> {
        refuse_ao_keys(seen)?;
        let local = facts::local(seen.dup.as_fd()).map_err(os(seen, "getsockname"))?;
        let half_open = self.diag.half_open(local).map_err(os(seen, "sock_diag"))?;
        let pending = info.waiting + half_open;
        if pending > 0 && !common.opts.tcp_skip_in_flight() {
            let cause = format!("{pending} connections wait to be accepted");
            return Err(Unsaved::because(cause).hint(super::HAVE_THEM_ACCEPTED));
        }
        self.hold_on(seen, id, None, true)?;
        Ok((state::LISTEN, info.backlog, None))
    }

    /// The same of MPTCP, whose state is that of its first TCP socket.
    fn mptcp(
        &mut self,
        seen: &Seen<'_>,
        id: FileId,
        common: &Collected,
    ) -> Result<(u32, u32, Option<SkShutdown>), Unsaved> {
        let fd = seen.dup.as_fd();
        let info = facts::tcp_info(fd).map_err(os(seen, "getsockopt TCP_INFO"))?;
        let has_peer = facts::peer(fd).map_err(os(seen, "getsockopt SO_PEERNAME"))?.is_some();
        let ended = || facts::receives_not(fd).map_err(os(seen, "poll"));
        match info.state {
            state::LISTEN => self.listener(seen, id, info, common),
            state::CLOSE if !has_peer && !ended()? => Ok((state::CLOSE, 0, None)),
            _ => {
                let hint = "close it before the dump; programs do without MPTCP where sysctl net.mptcp.enabled=0 is set before \
                            they start, those of Go by GODEBUG=multipathtcp=0";
                Err(Unsaved::because("a connection of MPTCP cannot be saved").hint(hint))
            }
        }
    }

    fn connection(
        &mut self,
        seen: &Seen<'_>,
        id: FileId,
        known: Option<TcpSocket>,
        common: &Collected,
    ) -> Result<(), Unsaved> {
        if common.opts.tcp_close() {
            return Ok(());
        }
        if !common.opts.tcp_established() {
            return Err(Unsaved::because("an established TCP connection")
                .hint("save it with --tcp-established, or leave it out with --tcp-close"));
        }
        if !seen.told.and_then(|t| t.likeness).is_some_and(|l| self.alike.entries.contains_key(&l)) {
            refuse_keys_and_layers(seen)?;
        }
        let (local, peer) = addresses(seen, known)?;
        self.hold_on(seen, id, peer.map(|peer| Flow { local, peer }), false)
    }

    /// Keeps a descriptor for the moment when everything stands still.
    fn hold_on(&mut self, seen: &Seen<'_>, id: FileId, flow: Option<Flow>, listens: bool) -> Result<(), Unsaved> {
        let dup = Rc::clone(&seen.dup);
        let ino = seen.stat.st_ino as u32;
        let object = format!("{} (TCP socket ino {ino})", seen.holder);
        let former = if listens || flow.is_some() {
            None
        } else {
            let (local, peer) = addresses(seen, None)?;
            peer.map(|peer| Flow { local, peer })
        };
        self.connections.push(Held { id, ino, pid: seen.holder_pid, object, dup, flow, former, listens });
        Ok(())
    }

    fn udp(&mut self, seen: &Seen<'_>, kind: SocketKind) -> Result<(u32, u32, Option<SkShutdown>), Unsaved> {
        let fd = seen.dup.as_fd();
        if has_unsent(fd).map_err(os(seen, "ioctl SIOCOUTQ"))? {
            return Err(Unsaved::because("a datagram that is not sent yet (corked) cannot be saved")
                .hint("have it sent before the dump"));
        }
        let connected = facts::peer(fd).map_err(os(seen, "getpeername"))?.is_some();
        let told = self.diag.shutdown(kind.protocol, seen.stat.st_ino as u32).map_err(os(seen, "sock_diag"))?;
        let shutdown = SkShutdown::try_from(i32::from(told)).ok().filter(|&s| s != SkShutdown::None);
        Ok((if connected { state::ESTABLISHED } else { state::CLOSE }, 0, shutdown))
    }
}

/// What libsoccr cannot keep of a connection.
fn refuse_keys_and_layers(seen: &Seen<'_>) -> Result<(), Unsaved> {
    let fd = seen.dup.as_fd();
    if let Some(protocol) = facts::upper_layer(fd).map_err(os(seen, "getsockopt TCP_ULP"))? {
        let cause = format!("a connection with the upper layer protocol {protocol} cannot be saved");
        return Err(Unsaved::because(cause).hint("close it before the dump"));
    }
    refuse_ao_keys(seen)
}

fn refuse_ao_keys(seen: &Seen<'_>) -> Result<(), Unsaved> {
    if facts::has_ao_keys(seen.dup.as_fd()).map_err(os(seen, "getsockopt TCP_AO_INFO"))? {
        return Err(Unsaved::because("a connection signed with AO keys cannot be saved"));
    }
    Ok(())
}

/// Both ends. What netlink tells of IPv4 is all there is to tell.
fn addresses(seen: &Seen<'_>, known: Option<TcpSocket>) -> Result<(SocketAddr, Option<SocketAddr>), Unsaved> {
    let fd = seen.dup.as_fd();
    if let Some(TcpSocket { state, local: local @ SocketAddr::V4(_), peer, .. }) = known
        && stream::is_connected(state)
    {
        return Ok((local, Some(peer)));
    }
    let local = facts::local(fd).map_err(os(seen, "getsockname"))?;
    Ok((local, facts::peer(fd).map_err(os(seen, "getsockopt SO_PEERNAME"))?))
}

/// Whether a datagram stays in the send queue: what is on its way to a device leaves within milliseconds.
fn has_unsent(fd: BorrowedFd<'_>) -> std::io::Result<bool> {
    for _ in 0..20 {
        if crate::sys::socket::unsent_bytes(fd)? == 0 {
            return Ok(false);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(true)
}

fn name(protocol: u32) -> &'static str {
    match protocol as i32 {
        libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 => "ICMP",
        libc::IPPROTO_SCTP => "SCTP",
        libc::IPPROTO_DCCP => "DCCP",
        _ if protocol == TCP || protocol == UDP => "raw",
        _ => "unknown",
    }
}
