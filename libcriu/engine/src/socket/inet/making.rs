//! One socket from its entry.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use criu_images::messages::{InetSkEntry, SkOptsEntry, SkShutdown, TcpOptsEntry};
use criu_soccr::{Connection, Paused};
use rustix::fs::{Gid, OFlags, Uid, fchown, fcntl_setfl};
use rustix::net::{RecvFlags, Shutdown, bind, connect, listen, recv, shutdown};

use super::address::Addresses;
use super::facts::Fresh;
use super::more_options::SocketKind;
use super::{facts, hidden, memberships, more_options, raw_options, remains, resend, state, stream};
use crate::file::FileId;
use crate::socket::options;
use crate::sys::socket::{attach_filter, set_int_option, set_option, set_option_bytes};

/// The call that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub call: String,
    pub source: io::Error,
}

impl Failed {
    pub(super) fn hint(&self) -> &'static str {
        match self.source.raw_os_error() {
            Some(libc::EADDRINUSE) => "the port is taken: end the process that has it, or restore in another network",
            Some(libc::EADDRNOTAVAIL) => "give this host the address first, or restore where it is",
            Some(libc::ENODEV) => "make the network device first, or restore where it is",
            Some(libc::EAFNOSUPPORT) => "this kernel has IPv6 switched off",
            Some(libc::EPERM | libc::EACCES) => "it takes CAP_NET_ADMIN and CAP_NET_BIND_SERVICE",
            _ => "",
        }
    }
}

pub(super) fn call(name: &str) -> impl Fn(io::Error) -> Failed {
    move |source| Failed { call: name.into(), source }
}

/// What becomes of the socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape<'a> {
    /// Bound, connected, listening as its entry says.
    Plain,
    /// The end of a TCP connection, or what is left of one.
    Connected(&'a Connection),
    /// A connection that was left out: its end has come.
    Closed,
}

pub(super) struct Making<'a> {
    pub isk: &'a InetSkEntry,
    /// Another socket of the images has the same port.
    pub shares_port: bool,
    pub fresh: Fresh,
    pub switches: Switches,
    /// Those that were made before it.
    pub others: &'a BTreeMap<FileId, OwnedFd>,
}

/// TCP_CORK and TCP_NODELAY where older images have them: with the connection.
pub(super) type Switches = (Option<bool>, Option<bool>);

impl Making<'_> {
    /// The socket, complete but for SO_REUSEADDR where it shares its port.
    pub(super) fn make(&self, shape: Shape<'_>) -> Result<OwnedFd, Failed> {
        match self.attempt(shape, false) {
            Err(failed) if remains::may_be_in_the_way(self.isk, &failed) => {
                let made = self.attempt(shape, true);
                if made.is_err() {
                    remains::clear(self.isk)?;
                }
                made
            }
            made => made,
        }
    }

    fn attempt(&self, shape: Shape<'_>, over_remains: bool) -> Result<OwnedFd, Failed> {
        let isk = self.isk;
        let socket = SocketKind::of(isk).socket().map_err(call("socket"))?;
        let fd = socket.as_fd();
        if isk.r#type == super::RAW {
            hear_nothing(fd).map_err(call("setsockopt SO_ATTACH_FILTER"))?;
        }
        resend::fill(fd, isk).map_err(call("receiving a datagram again"))?;
        self.set_early(fd, matches!(shape, Shape::Connected(_)))?;
        let addresses = Addresses::of(isk, self.scope()?).map_err(|why| Failed {
            call: format!("its address: {why}"),
            source: io::Error::from_raw_os_error(libc::EINVAL),
        })?;
        match shape {
            Shape::Plain => {}
            Shape::Closed => {
                self.set_late(fd)?;
                shut_down(fd, Shutdown::Both)?;
                return Ok(socket);
            }
            Shape::Connected(connection) => {
                self.connect(fd, &Connection { local: addresses.local, peer: addresses.peer, ..connection.clone() })?;
                return Ok(socket);
            }
        }
        if over_remains {
            let others: Vec<_> = self.others.values().collect();
            let reuse = isk.opts.reuseaddr() || self.shares_port;
            remains::bind_over(fd, isk, addresses.local, reuse, &others)?;
        } else if addresses.is_bound() {
            bind(fd, &addresses.local).map_err(|e| call("bind")(e.into()))?;
        }
        if isk.state == state::ESTABLISHED {
            connect(fd, &addresses.peer).map_err(|e| call("connect")(e.into()))?;
        }
        self.set_late(fd)?;
        if isk.state == state::LISTEN {
            listen(fd, isk.backlog as i32).map_err(|e| call("listen")(e.into()))?;
        }
        if over_remains {
            remains::settle(fd, isk)?;
        }
        hidden::set(fd, isk).map_err(|(call, source)| Failed { call, source })?;
        for group in &isk.groups {
            memberships::join(fd, group).map_err(|(call, source)| Failed { call, source })?;
        }
        self.shut_down_as_before(fd)?;
        Ok(socket)
    }

    /// Leaves the socket in repair mode, its network end silent.
    fn connect(&self, fd: BorrowedFd<'_>, connection: &Connection) -> Result<(), Failed> {
        let failed = |e: criu_soccr::Error| Failed {
            source: io::Error::from_raw_os_error(e.errno()),
            call: match &e {
                criu_soccr::Error::Call { what, call, .. } => format!("{what}: {call}"),
                other => other.to_string(),
            },
        };
        // Switched on where there is something to send already, these would send it.
        facts::set_tcp_options(fd, &self.tcp_opts(), &self.fresh).map_err(call("setsockopt IPPROTO_TCP"))?;
        let reuse = self.isk.opts.reuseaddr() || self.shares_port;
        let paused = Paused::pause_knowing(fd, reuse).map_err(failed)?;
        paused.restore(connection).map_err(failed)?;
        paused.release();
        self.set_others(fd)?;
        if stream::receives_not(self.isk) { shut_down(fd, Shutdown::Read) } else { Ok(()) }
    }

    /// What binding and connecting depend on. In repair mode any address may be shared.
    fn set_early(&self, fd: BorrowedFd<'_>, to_be_repaired: bool) -> Result<(), Failed> {
        let isk = self.isk;
        if let Some(only) = isk.v6only.filter(|_| isk.family == super::INET6 && isk.r#type != super::RAW) {
            set_int_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only.into())
                .map_err(call("setsockopt IPV6_V6ONLY"))?;
        }
        if let Some(opts) = &isk.ip_opts {
            facts::set_freebind(fd, isk.family, opts).map_err(call("setsockopt IP_FREEBIND"))?;
        }
        self.set_more(fd, true)?;
        if let Some(device) = &isk.opts.so_bound_dev {
            set_option_bytes(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, device.as_bytes())
                .map_err(call(&format!("binding to device {device}")))?;
        }
        let flags = [
            (libc::SO_REUSEADDR, !to_be_repaired && (isk.opts.reuseaddr() || self.shares_port)),
            (libc::SO_REUSEPORT, isk.opts.so_reuseport()),
            (libc::SO_BROADCAST, isk.opts.so_broadcast()),
        ];
        for (name, _) in flags.into_iter().filter(|f| f.1) {
            set_option(fd, name, 1).map_err(call("setsockopt"))?;
        }
        match isk.opts.so_mark.filter(|&m| m != 0) {
            Some(mark) => set_option(fd, libc::SO_MARK, mark as i32).map_err(call("setsockopt SO_MARK")),
            None => Ok(()),
        }
    }

    fn set_late(&self, fd: BorrowedFd<'_>) -> Result<(), Failed> {
        self.set_others(fd)?;
        if !facts::has_tcp_options(SocketKind::of(self.isk)) {
            return Ok(());
        }
        facts::set_tcp_options(fd, &self.tcp_opts(), &self.fresh).map_err(call("setsockopt IPPROTO_TCP"))
    }

    /// Older images have them in two other places.
    fn tcp_opts(&self) -> TcpOptsEntry {
        let (opts, older) = (self.isk.tcp_opts.unwrap_or_default(), &self.isk.opts);
        TcpOptsEntry {
            cork: opts.cork.or(self.switches.0),
            nodelay: opts.nodelay.or(self.switches.1),
            keepcnt: opts.keepcnt.or(older.tcp_keepcnt),
            keepidle: opts.keepidle.or(older.tcp_keepidle),
            keepintvl: opts.keepintvl.or(older.tcp_keepintvl),
        }
    }

    /// All but those of TCP.
    fn set_others(&self, fd: BorrowedFd<'_>) -> Result<(), Failed> {
        let isk = self.isk;
        if let Some(opts) = &isk.ip_opts {
            facts::set_ip_options(fd, isk.family, opts, &self.fresh).map_err(call("setsockopt IPPROTO_IP"))?;
        }
        raw_options::set(fd, isk).map_err(call("setsockopt of a raw socket"))?;
        self.set_more(fd, false)?;
        if isk.r#type == super::RAW {
            // What was on its way when the filter came.
            drain(fd);
            if isk.opts.so_filter.is_empty() {
                set_option(fd, libc::SO_DETACH_FILTER, 0).map_err(call("setsockopt SO_DETACH_FILTER"))?;
            }
        }
        // The kernel derives a priority from the type of service: the own one comes behind it. What was there when it
        // was bound stays until all are bound.
        let opts = SkOptsEntry { reuseaddr: None, ..isk.opts.clone() };
        options::write(fd, &opts, None).map_err(call("setsockopt"))?;
        if isk.owner_uid.is_some() || isk.owner_gid.is_some() {
            fchown(fd, isk.owner_uid.map(Uid::from_raw), isk.owner_gid.map(Gid::from_raw))
                .map_err(|e| call("fchown")(e.into()))?;
        }
        let flags = OFlags::from_bits_retain(isk.flags) & (OFlags::NONBLOCK | OFlags::APPEND | OFlags::NOATIME);
        if flags.is_empty() { Ok(()) } else { fcntl_setfl(fd, flags).map_err(|e| call("fcntl F_SETFL")(e.into())) }
    }

    fn set_more(&self, fd: BorrowedFd<'_>, early: bool) -> Result<(), Failed> {
        more_options::set(fd, &self.isk.more_opts, early).map_err(|(call, source)| Failed { call, source })
    }

    /// The index of the device that link-local addresses belong to.
    fn scope(&self) -> Result<u32, Failed> {
        let Some(device) = self.isk.ifname.as_ref().or(self.isk.opts.so_bound_dev.as_ref()) else { return Ok(0) };
        let path = format!("/sys/class/net/{device}/ifindex");
        let text = std::fs::read_to_string(&path).map_err(call(&path))?;
        text.trim().parse().map_err(|_| call(&path)(io::Error::from_raw_os_error(libc::EINVAL)))
    }

    fn shut_down_as_before(&self, fd: BorrowedFd<'_>) -> Result<(), Failed> {
        let how = match self.isk.shutdown.and_then(|s| SkShutdown::try_from(s).ok()) {
            None | Some(SkShutdown::None) => return Ok(()),
            Some(SkShutdown::Read) => Shutdown::Read,
            Some(SkShutdown::Write) => Shutdown::Write,
            Some(SkShutdown::Both) => Shutdown::Both,
        };
        shut_down(fd, how)
    }
}

/// Puts SO_REUSEADDR as it was, once all sockets are bound.
pub(super) fn settle_reuse(fd: BorrowedFd<'_>, isk: &InetSkEntry) -> Result<(), Failed> {
    set_option(fd, libc::SO_REUSEADDR, isk.opts.reuseaddr().into()).map_err(call("setsockopt SO_REUSEADDR"))
}

/// A raw socket hears all of its protocol from the beginning: it is to hear nothing until it is bound and has its own filters.
fn hear_nothing(fd: BorrowedFd<'_>) -> io::Result<()> {
    let drop_all = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
    attach_filter(fd, &mut [drop_all])?;
    drain(fd);
    Ok(())
}

fn drain(fd: BorrowedFd<'_>) {
    while recv(fd, &mut [0u8; 1], RecvFlags::DONTWAIT).is_ok() {}
}

fn shut_down(fd: BorrowedFd<'_>, how: Shutdown) -> Result<(), Failed> {
    match shutdown(fd, how) {
        // It counts all the same.
        Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
        Err(e) => Err(call("shutdown")(e.into())),
    }
}
