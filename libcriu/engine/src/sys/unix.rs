//! Messages of unix sockets with all that goes along with them, and the files that sockets are bound to.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::descriptor::adopt;
use super::message::{parts, word};

const SIOCUNIXFILE: libc::Ioctl = 0x89e0;
const SCM_SECURITY: i32 = 3;
const SCM_PIDFD: i32 = 4;
/// Room for SCM_MAX_FD (253) descriptors, credentials, a pidfd and a label.
const CONTROL_BYTES: usize = 4096;
/// Where the name starts in a `sockaddr_un`.
const NAME_AT: usize = size_of::<libc::sa_family_t>();

/// What SCM_CREDENTIALS carries; the pid as the calling process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Credentials {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// One look into a queue.
#[derive(Debug, Default)]
pub(crate) struct Peeked {
    pub bytes: usize,
    /// Name of the sender as the kernel has it, empty for none.
    pub sender: Vec<u8>,
    /// Duplicates of the descriptors in the message.
    pub rights: Vec<OwnedFd>,
    pub credentials: Option<Credentials>,
    /// The message is longer than the buffer.
    pub cut: bool,
    /// Control messages of another kind came along, or did not fit.
    pub more: Option<&'static str>,
}

/// Control messages are read and written where the kernel wants them aligned.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Looks at the next message (or at the bytes from SO_PEEK_OFF on) without taking it out or waiting.
///
/// # Errors
/// EAGAIN when there is none.
///
/// # References
/// recvmsg(2), unix(7)
pub(crate) fn peek(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Peeked> {
    let mut control = Control([0; CONTROL_BYTES]);
    // SAFETY: all zero is a valid address of no family, and a valid empty header.
    let (mut name, mut header): (libc::sockaddr_un, libc::msghdr) =
        unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size_of::<libc::sockaddr_un>() as u32;
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: every pointer in the header is to live memory of the length beside it.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, flags) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut peeked = Peeked { bytes: got as usize, cut: header.msg_flags & libc::MSG_TRUNC != 0, ..Peeked::default() };
    // The length of a path of 108 bytes is one more than the structure has.
    let len = (header.msg_namelen as usize).saturating_sub(NAME_AT).min(name.sun_path.len());
    peeked.sender = name.sun_path[..len].iter().map(|&c| c as u8).collect();
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        peeked.more = Some("control messages that do not fit");
    }
    sort_control(&control.0[..header.msg_controllen.min(CONTROL_BYTES)], &mut peeked);
    Ok(peeked)
}

/// How many bytes at the front of a stream's queue (from SO_PEEK_OFF on) were sent apart from those behind them, of the
/// first `buf.len()`: as a look fails that has no room for the rest of what was sent together.
pub(crate) fn peek_whole(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: all zero is a valid empty header.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    // Nothing is ever mapped at this address: what would be copied there fails, and with it all of its piece.
    let nowhere = std::ptr::without_provenance_mut::<libc::c_void>(8);
    let mut iov = [
        libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() },
        libc::iovec { iov_base: nowhere, iov_len: 1 },
    ];
    header.msg_iov = iov.as_mut_ptr();
    header.msg_iovlen = iov.len();
    // SAFETY: the first part is to live memory of its length; the second is not mapped, so that nothing is written there.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    match io::Error::last_os_error() {
        _ if got >= 0 => Ok(got as usize),
        e if e.raw_os_error() == Some(libc::EFAULT) => Ok(0),
        e => Err(e),
    }
}

/// Takes the control messages apart; descriptors among them get an owner.
fn sort_control(control: &[u8], peeked: &mut Peeked) {
    for (level, kind, data) in parts(control) {
        let numbers = || data.chunks_exact(4).filter_map(|w| word(w, 0)).filter(|&n: &RawFd| n >= 0);
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => peeked.rights.extend(numbers().map(adopt)),
            (libc::SOL_SOCKET, SCM_PIDFD) => numbers().for_each(|fd| drop(adopt(fd))),
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                if let (Some(pid), Some(uid), Some(gid)) = (word(data, 0), word(data, 4), word(data, 8)) {
                    peeked.credentials = Some(Credentials { pid, uid: uid as u32, gid: gid as u32 });
                }
            }
            (libc::SOL_SOCKET, SCM_SECURITY) => peeked.more = Some("a security label"),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMP | libc::SCM_TIMESTAMPNS | libc::SCM_TIMESTAMPING | 63..=65) => {
                peeked.more = Some("the time that a message came at (SO_TIMESTAMP)");
            }
            _ => peeked.more = Some("a control message of an unknown kind"),
        }
    }
}

/// What goes along with bytes that are sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Along<'a> {
    pub rights: &'a [BorrowedFd<'a>],
    pub credentials: Option<Credentials>,
    /// The last byte is out-of-band.
    pub urgent: bool,
    /// The receiver's name as the kernel has it; none for the peer.
    pub to: Option<&'a [u8]>,
}

/// Sends a message without waiting; answers the bytes taken.
///
/// # Errors
/// ESRCH when no process has the pid of the credentials.
///
/// # References
/// sendmsg(2), unix(7)
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8], along: Along<'_>) -> io::Result<usize> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut used = 0;
    let mut add = |kind: i32, data: &[u8]| {
        let len = size_of::<libc::cmsghdr>() + data.len();
        let Some(room) = control.0.get_mut(used..used + len) else {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        };
        room[..8].copy_from_slice(&len.to_ne_bytes());
        room[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
        room[12..16].copy_from_slice(&kind.to_ne_bytes());
        room[16..].copy_from_slice(data);
        used = (used + len).next_multiple_of(8);
        Ok(())
    };
    if !along.rights.is_empty() {
        let numbers: Vec<u8> = along.rights.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes()).collect();
        add(libc::SCM_RIGHTS, &numbers)?;
    }
    if let Some(c) = along.credentials {
        let words = [c.pid as u32, c.uid, c.gid];
        add(libc::SCM_CREDENTIALS, &words.map(u32::to_ne_bytes).concat())?;
    }
    let mut name = along.to.map(address).transpose()?;
    // SAFETY: all zero is a valid empty header.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    if let Some((name, len)) = &mut name {
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = *len;
    }
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    header.msg_control = if used == 0 { std::ptr::null_mut() } else { control.0.as_mut_ptr().cast() };
    header.msg_controllen = used;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if along.urgent { libc::MSG_OOB } else { 0 };
    // SAFETY: every pointer in the header is null or to live memory of the length beside it; nothing is written to.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &header, flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

/// The address of a name as the kernel has it (a path may end in a zero byte, an abstract name starts with one), and its
/// length.
pub(super) fn address(name: &[u8]) -> io::Result<(libc::sockaddr_un, u32)> {
    // SAFETY: all zero is a valid address.
    let mut address: libc::sockaddr_un = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let name = if name.first().is_some_and(|&b| b != 0) { name.strip_suffix(&[0]).unwrap_or(name) } else { name };
    let Some(room) = address.sun_path.get_mut(..name.len()) else {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    };
    for (to, from) in room.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    Ok((address, (NAME_AT + name.len()) as u32))
}

/// Binds a socket to a name as the kernel has it.
///
/// # References
/// bind(2), unix(7)
pub(crate) fn bind(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let (address, len) = address(name)?;
    // SAFETY: the address is live and at least `len` bytes long.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) }).map(drop)
}

/// Connects a socket to a name as the kernel has it.
///
/// # References
/// connect(2), unix(7)
pub(crate) fn connect(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let (address, len) = address(name)?;
    // SAFETY: the address is live and at least `len` bytes long.
    check(unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), len) }).map(drop)
}

/// Takes a datagram socket's peer from it. What is in its queue is lost.
pub(crate) fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    let family = (libc::AF_UNSPEC as libc::sa_family_t).to_ne_bytes();
    // SAFETY: the address is the two bytes of a family, as its length says.
    check(unsafe { libc::connect(fd.as_raw_fd(), family.as_ptr().cast(), family.len() as u32) }).map(drop)
}

/// The file that a socket is bound to, as an O_PATH descriptor.
///
/// # Errors
/// ENOENT for a socket without a path; EPERM without CAP_NET_ADMIN.
///
/// # References
/// SIOCUNIXFILE of `linux/un.h`, Linux 4.17
pub(crate) fn file(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: this request takes no argument; it answers a new descriptor.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCUNIXFILE, 0) }).map(adopt)
}

/// Whether the next byte to read is the one that was sent out-of-band.
pub(crate) fn at_mark(fd: BorrowedFd<'_>) -> io::Result<bool> {
    const SIOCATMARK: libc::Ioctl = 0x8905;
    let mut at = 0i32;
    // SAFETY: the request writes one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCATMARK, &mut at) })?;
    Ok(at != 0)
}

/// Memory of what a socket has sent and nobody has read yet; 0 when there is nothing.
pub(crate) fn unread_by_others(fd: BorrowedFd<'_>) -> io::Result<i32> {
    let mut bytes = 0i32;
    // SAFETY: the request writes one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) })?;
    Ok(bytes)
}

fn check(ret: i32) -> io::Result<i32> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}
