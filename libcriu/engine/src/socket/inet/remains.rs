//! Ports on which connections linger that have no owner any more (TIME_WAIT and what comes before it).
//!
//! Without SO_REUSEADDR the kernel lets nobody bind to such a port, although the socket to be restored was bound to it all
//! along. In repair mode it binds a socket to anything; so what else is bound there is looked for afterwards, and is as much
//! in the way as ever. To listen is checked as binding is, and passes where the port was bound with SO_REUSEPORT last by the
//! same user. What the port has noted down of all that is cleared in the end.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use criu_images::messages::InetSkEntry;
use criu_soccr::Paused;
use rustix::fs::fstat;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use super::making::{Failed, call};
use super::{INET, STREAM, TCP, facts, state};
use crate::socket::diag::{Neighbour, neighbours};
use crate::sys::socket::{set_option, set_option_bytes};

/// TEST-NET-1: nobody sends to it.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const TIME_WAIT: u8 = 6;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

/// Whether remains may be what keeps the kernel from binding a socket.
pub(super) fn may_be_in_the_way(isk: &InetSkEntry, failed: &Failed) -> bool {
    let in_use = failed.source.raw_os_error() == Some(libc::EADDRINUSE);
    in_use && (isk.r#type, isk.proto) == (STREAM, TCP) && !isk.mptcp() && isk.src_port != 0
}

/// Binds a fresh socket. It has to be [settled](settle) afterwards, or [cleared](clear) when that failed.
///
/// # Errors
/// EADDRINUSE where something else than remains and `own` sockets has the address, or cannot be seen by this kernel.
pub(super) fn bind_over(
    fd: BorrowedFd<'_>,
    isk: &InetSkEntry,
    local: SocketAddr,
    reuse: bool,
    own: &[&OwnedFd],
) -> Result<(), Failed> {
    let refused = || Failed { call: "bind".into(), source: io::Error::from_raw_os_error(libc::EADDRINUSE) };
    if isk.state == state::LISTEN {
        set_option(fd, libc::SO_REUSEPORT, 1).map_err(call("setsockopt SO_REUSEPORT"))?;
    }
    let paused = Paused::pause_knowing(fd, reuse).map_err(|_| refused())?;
    bind(fd, &local).map_err(|e| call("bind")(e.into()))?;
    paused.resume_quietly().map_err(|e| {
        let source = io::Error::from_raw_os_error(e.errno());
        Failed { call: "setsockopt TCP_REPAIR".into(), source }
    })?;
    let itself = ino(fd)?;
    let own: HashSet<u32> = own.iter().map(|fd| ino(fd.as_fd())).collect::<Result<_, _>>()?;
    let others = neighbours(local.port()).map_err(call("sock_diag"))?;
    let device = match &isk.opts.so_bound_dev {
        Some(name) => name_to_index(fd, name).map_err(|e| call("its device")(e.into()))?,
        None => 0,
    };
    let here = Neighbour { ino: itself, state: state::CLOSE as u8, local, device, v6only: isk.v6only() };
    // A kernel that does not list sockets that are merely bound does not list this one.
    let sees_all = others.iter().any(|n| n.ino == itself);
    let is_in_the_way = |n: &&Neighbour| n.ino != itself && !own.contains(&n.ino) && !remains(n) && overlap(&here, n);
    match others.iter().find(is_in_the_way) {
        Some(other) => log::info!("port {} is taken: {other:?}", local.port()),
        None if sees_all => return Ok(()),
        None => log::info!("port {}: this kernel does not tell who has it", local.port()),
    }
    Err(refused())
}

/// Once it listens, if it is to: its own SO_REUSEPORT, and a port that has noted down nothing else.
pub(super) fn settle(fd: BorrowedFd<'_>, isk: &InetSkEntry) -> Result<(), Failed> {
    set_option(fd, libc::SO_REUSEPORT, isk.opts.so_reuseport().into()).map_err(call("setsockopt SO_REUSEPORT"))?;
    clear(isk)
}

/// Has the kernel compare whoever binds to the port with all that are bound to it: a socket that listens (at an address where
/// nobody is) without permission to share makes it forget that the last one had it.
pub(super) fn clear(isk: &InetSkEntry) -> Result<(), Failed> {
    let port = u16::try_from(isk.src_port).unwrap_or_default();
    let other = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|e| call("socket")(e.into()))?;
    let fd = other.as_fd();
    facts::let_bind_anywhere(fd, INET).map_err(call("setsockopt IP_FREEBIND"))?;
    if let Some(device) = &isk.opts.so_bound_dev {
        set_option_bytes(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, device.as_bytes())
            .map_err(call("setsockopt SO_BINDTODEVICE"))?;
    }
    let Ok(paused) = Paused::pause_knowing(fd, false) else { return Ok(()) };
    let noted = bind(fd, &SocketAddr::new(NOBODY, port)).and_then(|()| listen(fd, 0));
    paused.release();
    noted.map_err(|e| call("bind")(e.into()))
}

fn ino(fd: BorrowedFd<'_>) -> Result<u32, Failed> {
    Ok(fstat(fd).map_err(|e| call("fstat")(e.into()))?.st_ino as u32)
}

/// The rest of a connection whose owner has closed it.
fn remains(n: &Neighbour) -> bool {
    n.state == TIME_WAIT || n.ino == 0 && matches!(n.state, FIN_WAIT1 | FIN_WAIT2 | LAST_ACK | CLOSING)
}

/// Whether something could be meant for either of two sockets of a port.
fn overlap(a: &Neighbour, b: &Neighbour) -> bool {
    let devices = a.device == 0 || b.device == 0 || a.device == b.device;
    let (one, other) = (a.local.ip().to_canonical(), b.local.ip().to_canonical());
    let addresses = match (one, other) {
        (IpAddr::V6(six), IpAddr::V4(_)) => six.is_unspecified() && !a.v6only,
        (IpAddr::V4(_), IpAddr::V6(six)) => six.is_unspecified() && !b.v6only,
        (one, other) => one == other || one.is_unspecified() || other.is_unspecified(),
    };
    devices && addresses
}

#[cfg(test)]
mod tests {
    use rustix::net::{RecvFlags, accept, connect, recv};

    use super::super::tests::{local, own, socket};
    use super::*;
    use crate::file::tests::{dump, options, restore};
    use crate::sys::descriptor::borrow;
    use crate::sys::socket::option;
    use crate::sys::trial::put;

    fn at(local: &str) -> Neighbour {
        Neighbour { ino: 1, state: 10, local: format!("{local}:80").parse().unwrap(), device: 0, v6only: false }
    }

    #[test]
    fn addresses_that_overlap() {
        let only = |n: Neighbour| Neighbour { v6only: true, ..n };
        let on = |device, n: Neighbour| Neighbour { device, ..n };
        let (one, two, any) = (|| at("127.0.0.1"), || at("127.0.0.2"), || at("0.0.0.0"));
        let (six, all, mapped) = (|| at("[::1]"), || at("[::]"), || at("[::ffff:127.0.0.1]"));
        let together = [
            (one(), one()),
            (one(), any()),
            (one(), all()),
            (any(), all()),
            (six(), all()),
            (six(), only(all())),
            (one(), mapped()),
            (any(), mapped()),
            (on(3, one()), one()),
            (on(3, one()), on(3, any())),
        ];
        let apart = [
            (one(), two()),
            (one(), six()),
            (any(), six()),
            (one(), only(all())),
            (any(), only(all())),
            (two(), mapped()),
            (on(3, one()), on(4, any())),
        ];
        for (pairs, expected) in [(&together[..], true), (&apart[..], false)] {
            for (a, b) in pairs {
                assert_eq!((overlap(a, b), overlap(b, a)), (expected, expected), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn what_remains_has_no_owner() {
        let n = |state, ino| Neighbour { state, ino, ..at("127.0.0.1") };
        assert!(remains(&n(TIME_WAIT, 0)) && remains(&n(FIN_WAIT2, 0)) && remains(&n(LAST_ACK, 0)));
        assert!(!remains(&n(FIN_WAIT2, 7)) && !remains(&n(10, 0)) && !remains(&n(1, 0)));
    }

    /// Who is merely bound is in the way, and is not in the way once it is gone; what lingers is not.
    #[test]
    fn others_are_in_the_way() {
        own(0, 0);
        let images = tempfile::tempdir().unwrap();
        let options = options(images.path(), criu_images::messages::CriuOpts::default());
        fn stream() -> OwnedFd {
            socket(AddressFamily::INET, SocketType::STREAM)
        }
        let setup = || {
            let listener = stream();
            bind(&listener, &own(81, 5081)).unwrap();
            listen(&listener, 1).unwrap();
            let client = stream();
            connect(&client, &own(81, 5081)).unwrap();
            drop(accept(&listener).unwrap());
            assert_eq!(recv(&client, &mut [0u8; 1], RecvFlags::empty()).unwrap().0, 0);
            put(listener, 10);
        };
        dump(&options, setup, &[|| {}]);
        let bound = |host| bind(stream(), &own(host, 5081)).is_ok();
        assert!(!bound(81) && bound(82));
        let alone = crate::sys::trial::alone();
        let taker = stream();
        let paused = Paused::pause_knowing(taker.as_fd(), false).unwrap();
        bind(&taker, &own(81, 5081)).unwrap();
        paused.resume_quietly().unwrap();
        let dir = criu_images::ImageDir::new(options.images_dir.try_clone().unwrap());
        let mut files = crate::file::RestoreFiles::load(&dir, &options, &[(2, 1)]).unwrap();
        files.set_users(vec![4242]);
        let refused = files.open_shared().unwrap_err().to_string();
        assert!(refused.contains("Address already in use") && refused.contains("the port is taken"), "{refused}");
        drop((files, taker, alone));
        // That it was tried has left nothing behind.
        let sharing = stream();
        set_option(sharing.as_fd(), libc::SO_REUSEPORT, 1).unwrap();
        assert!(bind(&sharing, &own(81, 5081)).is_err());
        restore(
            &options,
            &[|| {
                assert_eq!(local(10), own(81, 5081));
                assert_eq!(option(borrow(10), libc::SO_REUSEPORT).unwrap(), 0);
            }],
        );
    }
}
