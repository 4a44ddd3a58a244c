//! The process that sent a request: who it is, its descriptors, and its end of the connection.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::error::{Error, Phase, Result};
use crate::proc::{ancestry, stat_of};
use crate::sys::peer::{PeerCredentials, credentials};

/// The peer of a connection, as it was when the connection was made.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub credentials: PeerCredentials,
}

impl Peer {
    /// # Errors
    /// The descriptor is no unix socket.
    pub fn of(socket: impl AsFd) -> Result<Self> {
        let credentials = credentials(socket)
            .map_err(|e| Error::os(Phase::Service, "the connection to the client", "getsockopt(SO_PEERCRED)", e))?;
        Ok(Peer { credentials })
    }

    /// Its pid; 0 when it lives in a pid namespace that is not seen from here.
    pub fn pid(self) -> i32 {
        self.credentials.pid
    }

    /// Opens the directory behind the peer's own descriptor `fd`; `what` names the option in errors.
    ///
    /// # Errors
    /// EBADRQC: no such descriptor, not a directory, or the peer is not seen.
    pub fn open_directory(self, fd: i32, what: &str) -> Result<OwnedFd> {
        let bad = |cause: String| Error::new(Phase::Options, format!("{what} {fd}"), cause).errno(libc::EBADRQC);
        if fd < 0 {
            return Err(bad("it is not a descriptor".into()));
        }
        if self.pid() == 0 {
            return Err(bad("the client lives in a pid namespace that this process does not see".into()));
        }
        let path = format!("/proc/{}/fd/{fd}", self.pid());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| bad(format!("open {path}: {}", io::Error::from(e))))
    }

    /// A duplicate of the peer's own descriptor `fd`; `what` names it in errors.
    ///
    /// # Errors
    /// EBADRQC: no such descriptor, or the peer is not seen.
    ///
    /// # References
    /// pidfd_getfd(2), since Linux 5.6.
    pub fn descriptor(self, fd: i32, what: &str) -> Result<OwnedFd> {
        let bad = |cause: String| Error::new(Phase::Options, what, cause).errno(libc::EBADRQC);
        let closed = || bad("the descriptor is not open".into());
        if fd < 0 {
            return Err(closed());
        }
        let pid = rustix::process::Pid::from_raw(self.pid()).filter(|p| p.as_raw_nonzero().get() > 0);
        let pid =
            pid.ok_or_else(|| bad("the client lives in a pid namespace that this process does not see".into()))?;
        let pidfd =
            pidfd_open(pid, PidfdFlags::empty()).map_err(|e| bad(format!("pidfd_open: {}", io::Error::from(e))))?;
        pidfd_getfd(&pidfd, fd, PidfdGetfdFlags::empty()).map_err(|e| match e {
            Errno::BADF => closed(),
            e => bad(format!("pidfd_getfd: {}", io::Error::from(e))),
        })
    }

    /// Whether the peer is `root` or one of its descendants, so that dumping `root` stops it.
    pub fn is_in_tree(self, root: i32) -> bool {
        if self.pid() == root {
            return root != 0;
        }
        stat_of(root).is_ok_and(|r| ancestry(self.pid(), r.start_time).contains(&root))
    }
}

/// The inode of the other end of a unix socket, asked of the kernel's socket diagnostics.
///
/// # Errors
/// Those of the netlink socket; NotFound when the kernel does not know the peer.
///
/// # References
/// sock_diag(7).
pub fn other_end_inode(socket: impl AsFd) -> io::Result<u64> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const UDIAG_SHOW_PEER: u32 = 4;
    const REQUEST_BYTES: u32 = 16 + 24;
    let own = rustix::fs::fstat(socket.as_fd())?.st_ino;
    let own = u32::try_from(own).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let mut request = Vec::with_capacity(REQUEST_BYTES as usize);
    request.extend(REQUEST_BYTES.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    // All states, this inode, no cookie.
    for word in [u32::MAX, own, UDIAG_SHOW_PEER, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    let diag = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(rustix::net::netlink::SOCK_DIAG),
    )?;
    rustix::net::sendto(&diag, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0u8; 1024];
    let (_, len) = rustix::net::recv(&diag, &mut answer[..], RecvFlags::empty())?;
    peer_attribute(&answer[..len.min(answer.len())]).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The peer's inode in a unix_diag_msg with its netlink header.
fn peer_attribute(answer: &[u8]) -> Option<u64> {
    const UNIX_DIAG_PEER: u16 = 2;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    if half(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut at = 16 + 16;
    loop {
        let (len, kind) = (usize::from(half(at)?), half(at + 2)?);
        if kind == UNIX_DIAG_PEER {
            return word(at + 4).filter(|&ino| ino != 0).map(u64::from);
        }
        if len < 4 {
            return None;
        }
        at += len.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn the_other_end_of_a_pair_is_found() {
        let (a, b) = UnixDatagram::pair().unwrap();
        match other_end_inode(&a) {
            Ok(ino) => assert_eq!(ino, rustix::fs::fstat(&b).unwrap().st_ino),
            Err(e) => eprintln!("skipped: no unix socket diagnostics on this kernel: {e}"),
        }
    }

    #[test]
    fn garbage_answers_name_no_inode() {
        assert_eq!(peer_attribute(&[]), None);
        assert_eq!(peer_attribute(&[0; 40]), None);
        let mut endless = vec![0u8; 36];
        endless[4] = 20;
        assert_eq!(peer_attribute(&endless), None);
    }

    #[test]
    fn a_peer_is_in_the_tree_of_itself_and_its_ancestors() {
        let (a, _b) = UnixDatagram::pair().unwrap();
        let peer = Peer::of(&a).unwrap();
        assert_eq!(peer.pid(), std::process::id() as i32);
        assert!(peer.is_in_tree(peer.pid()));
        assert!(peer.is_in_tree(stat_of(peer.pid()).unwrap().ppid));
        assert!(!peer.is_in_tree(i32::MAX));
        assert!(!peer.is_in_tree(0));
    }

    #[test]
    fn descriptors_are_lent() {
        use std::os::fd::AsRawFd;
        let (a, b) = UnixDatagram::pair().unwrap();
        let peer = Peer::of(&a).unwrap();
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        let own = OwnedFd::from(b);
        let lent = peer.descriptor(own.as_raw_fd(), "inherited fd").unwrap();
        assert_eq!(inode(&lent), inode(&own));
        for fd in [-1, 100_000] {
            let e = peer.descriptor(fd, "inherited fd 9 (pipe:[1])").unwrap_err();
            assert_eq!(e.errno, libc::EBADRQC);
            assert_eq!(e.to_string(), "inherited fd 9 (pipe:[1]): the descriptor is not open");
        }
    }

    #[test]
    fn only_directories_are_opened() {
        let (a, _b) = UnixDatagram::pair().unwrap();
        let peer = Peer::of(&a).unwrap();
        let dir = fs::File::open("/tmp").unwrap();
        let file = fs::File::open("/proc/self/status").unwrap();
        use std::os::fd::AsRawFd;
        assert!(peer.open_directory(dir.as_raw_fd(), "images_dir_fd").is_ok());
        for fd in [file.as_raw_fd(), -1, 100_000] {
            let e = peer.open_directory(fd, "images_dir_fd").unwrap_err();
            assert_eq!(e.errno, libc::EBADRQC);
            assert!(e.to_string().starts_with(&format!("images_dir_fd {fd}: ")), "{e}");
        }
    }
}
