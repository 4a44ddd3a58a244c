//! Descriptors of whoever restores that stand in for files of the images (`inherit_fd`): each has to be one that can.
//!
//! Sockets take sockets of their kind, terminals terminals. For a pipe, or for a file, whatever bytes can be read from or
//! written to the same way may stand: standard output that was a pipe may become a file.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fstat};
use rustix::net::sockopt::{socket_domain, socket_protocol, socket_type};

use super::Plan;
use crate::error::{Error, Phase, Result};
use crate::sys::descriptor::borrow;

/// What a descriptor is to stand in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// As socket(2) has them.
    Socket {
        family: u32,
        kind: u32,
        protocol: u32,
    },
    Pipe,
    File,
    Directory,
    Terminal,
}

impl Plan {
    /// A duplicate of the descriptor that `inherit_fd` gives for `key`.
    ///
    /// # Errors
    /// It is of something else than what is wanted.
    pub(crate) fn inherited(&self, key: &str, wanted: Wanted) -> Result<Option<OwnedFd>> {
        let Some(&number) = self.inherit.get(key) else { return Ok(None) };
        let object = || format!("inherited fd {number} ({key})");
        let fd = rustix::io::fcntl_dupfd_cloexec(borrow(number), 0)
            .map_err(|e| Error::os(Phase::Files, object(), "dup", e))?;
        let unfit = unfit(fd.as_fd(), wanted).map_err(|e| Error::os(Phase::Files, object(), "looking at it", e))?;
        match unfit {
            None => Ok(Some(fd)),
            Some(kind) => {
                let cause = format!("it is {kind}, which cannot stand in for {}", wanted.in_words());
                Err(Error::new(Phase::Files, object(), cause).hint("give one of the same kind").errno(libc::EBADRQC))
            }
        }
    }
}

impl Wanted {
    fn in_words(self) -> String {
        match self {
            Wanted::Socket { family, kind, protocol } => socket_in_words(family, kind, protocol),
            Wanted::Pipe => "a pipe".into(),
            Wanted::File => "a file".into(),
            Wanted::Directory => "a directory".into(),
            Wanted::Terminal => "a terminal".into(),
        }
    }
}

/// Why a descriptor of status flags `given` cannot be read from or written to as one of `wanted` was.
pub(super) fn unfit_direction(given: u32, wanted: u32, name: &str) -> Option<Error> {
    let [given, wanted] = [given, wanted].map(|flags| flags & libc::O_ACCMODE as u32);
    let missing = match (given, wanted) {
        (same, other) if same == other || same == libc::O_RDWR as u32 => return None,
        (given, _) if given == libc::O_RDONLY as u32 => "written to",
        _ => "read from",
    };
    let error = Error::new(Phase::Files, name, format!("the inherited descriptor cannot be {missing}"));
    Some(error.hint("open it for that").errno(libc::EBADRQC))
}

/// What a descriptor is, if it cannot stand in for what is wanted.
fn unfit(fd: BorrowedFd<'_>, wanted: Wanted) -> io::Result<Option<String>> {
    let kind = fstat(fd)?.st_mode & libc::S_IFMT;
    let has_content = !fcntl_getfl(fd)?.contains(OFlags::PATH);
    let is_fit = match (wanted, kind) {
        (Wanted::Socket { family, kind, protocol }, libc::S_IFSOCK) => {
            if !has_content || !is_alike((family, kind, protocol), of_socket(fd)?) {
                return Ok(Some(in_words(fd, libc::S_IFSOCK)));
            }
            true
        }
        (Wanted::Pipe, libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFREG) => has_content,
        (Wanted::File, kind) => kind != libc::S_IFDIR,
        (Wanted::Directory, kind) => kind == libc::S_IFDIR,
        (Wanted::Terminal, libc::S_IFCHR) => rustix::termios::isatty(fd),
        _ => false,
    };
    Ok((!is_fit).then(|| in_words(fd, kind)))
}

fn of_socket(fd: BorrowedFd<'_>) -> io::Result<(u32, u32, u32)> {
    let protocol = socket_protocol(fd)?.map_or(0, |p| p.as_raw().get());
    Ok((socket_domain(fd)?.as_raw().into(), socket_type(fd)?.as_raw(), protocol))
}

/// Which family of the internet's does not matter to who reads and writes, nor does whether TCP has more than one path.
fn is_alike(wanted: (u32, u32, u32), given: (u32, u32, u32)) -> bool {
    let general = |(family, kind, protocol): (u32, u32, u32)| {
        let family = if family == libc::AF_INET6 as u32 { libc::AF_INET as u32 } else { family };
        let protocol = match (family as i32, protocol as i32) {
            (libc::AF_INET, libc::IPPROTO_MPTCP) => libc::IPPROTO_TCP as u32,
            (libc::AF_INET | libc::AF_NETLINK, _) => protocol,
            _ => 0,
        };
        (family, if family == libc::AF_NETLINK as u32 { 0 } else { kind }, protocol)
    };
    general(wanted) == general(given)
}

fn in_words(fd: BorrowedFd<'_>, kind: u32) -> String {
    let name = || rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new());
    let named = |what: &str| match name() {
        Ok(name) => format!("{what} ({})", name.to_string_lossy()),
        Err(_) => what.into(),
    };
    match kind {
        libc::S_IFSOCK => of_socket(fd)
            .map_or_else(|_| "a socket".into(), |(family, kind, protocol)| socket_in_words(family, kind, protocol)),
        libc::S_IFIFO => "a pipe".into(),
        libc::S_IFREG => named("a regular file"),
        libc::S_IFDIR => named("a directory"),
        libc::S_IFCHR => named("a character device"),
        libc::S_IFBLK => named("a block device"),
        _ => named("something else"),
    }
}

fn socket_in_words(family: u32, kind: u32, protocol: u32) -> String {
    let family = match family as i32 {
        libc::AF_UNIX => "unix".to_owned(),
        libc::AF_INET | libc::AF_INET6 => "internet".into(),
        libc::AF_NETLINK => "netlink".into(),
        libc::AF_PACKET => "packet".into(),
        _ => format!("family {family}"),
    };
    let kind = match kind as i32 {
        libc::SOCK_STREAM => "stream".to_owned(),
        libc::SOCK_DGRAM => "datagram".into(),
        libc::SOCK_SEQPACKET => "seqpacket".into(),
        libc::SOCK_RAW => "raw".into(),
        _ => format!("type {kind}"),
    };
    let article = if family == "internet" { "an" } else { "a" };
    if protocol == 0 {
        format!("{article} {family} {kind} socket")
    } else {
        format!("{article} {family} {kind} socket of protocol {protocol}")
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

    use super::*;

    #[test]
    fn kinds_that_can_stand_in() {
        let socket = |family, kind| socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
        let of = |family: i32, kind: i32, protocol: i32| Wanted::Socket {
            family: family as u32,
            kind: kind as u32,
            protocol: protocol as u32,
        };
        let fits = |fd: &OwnedFd, wanted| unfit(fd.as_fd(), wanted).unwrap().is_none();
        let tcp = of(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP);
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        let null: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let folder: OwnedFd = std::fs::File::open("/").unwrap().into();
        let stream = socket(AddressFamily::INET6, SocketType::STREAM);
        let datagram = socket(AddressFamily::INET, SocketType::DGRAM);
        let local = socket(AddressFamily::UNIX, SocketType::STREAM);
        assert!(fits(&stream, tcp) && fits(&datagram, of(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDP)));
        assert!(fits(&local, of(libc::AF_UNIX, libc::SOCK_STREAM, 0)));
        assert!(!fits(&local, of(libc::AF_UNIX, libc::SOCK_DGRAM, 0)));
        for other in [&file, &pipe, &null, &folder, &datagram, &local] {
            assert!(!fits(other, tcp), "{:?}", unfit(other.as_fd(), tcp));
        }
        for other in [&file, &pipe, &null, &local] {
            assert!(fits(other, Wanted::Pipe) && fits(other, Wanted::File));
            assert!(!fits(other, Wanted::Directory) && !fits(other, Wanted::Terminal));
        }
        assert!(fits(&folder, Wanted::Directory) && !fits(&folder, Wanted::Pipe) && !fits(&folder, Wanted::File));
        let words = unfit(datagram.as_fd(), tcp).unwrap().unwrap();
        assert_eq!(words, "an internet datagram socket of protocol 17");
    }
}
