//! Socket options by number, and the lists of sockets that only netlink tells.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

fn check(ret: i32) -> io::Result<()> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An option of `SOL_SOCKET` whose value is an int.
pub(crate) fn option(fd: BorrowedFd<'_>, name: i32) -> io::Result<i32> {
    let mut value = 0i32;
    get(fd, name, &mut value)?;
    Ok(value)
}

pub(crate) fn set_option(fd: BorrowedFd<'_>, name: i32, value: i32) -> io::Result<()> {
    set(fd, name, &value)
}

/// A timeout (`SO_RCVTIMEO`, `SO_SNDTIMEO`) as (seconds, microseconds).
pub(crate) fn timeout(fd: BorrowedFd<'_>, name: i32) -> io::Result<(u64, u64)> {
    let mut t = [0i64; 2];
    get(fd, name, &mut t)?;
    Ok((t[0] as u64, t[1] as u64))
}

pub(crate) fn set_timeout(fd: BorrowedFd<'_>, name: i32, (sec, usec): (u64, u64)) -> io::Result<()> {
    set(fd, name, &[sec as i64, usec as i64])
}

/// `SO_LINGER`: seconds, when it is on.
pub(crate) fn linger(fd: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let mut l = [0i32; 2];
    get(fd, libc::SO_LINGER, &mut l)?;
    Ok((l[0] != 0).then_some(l[1] as u32))
}

pub(crate) fn set_linger(fd: BorrowedFd<'_>, seconds: u32) -> io::Result<()> {
    set(fd, libc::SO_LINGER, &[1, seconds as i32])
}

/// Types whose every bit pattern is a value and which have no padding.
trait Plain: Copy {}
impl Plain for i32 {}
impl Plain for [i32; 2] {}
impl Plain for [i64; 2] {}

fn get<T: Plain>(fd: BorrowedFd<'_>, name: i32, value: &mut T) -> io::Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `value`, which any bytes are valid for.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut *value).cast(), &mut len) })
}

fn set<T: Plain>(fd: BorrowedFd<'_>, name: i32, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, (&raw const *value).cast(), len) })
}

/// An option of any level as bytes, at most `room` of them.
///
/// # Errors
/// Those of getsockopt(2).
pub(crate) fn option_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, room: usize) -> io::Result<Vec<u8>> {
    let mut value = vec![0u8; room];
    let mut len = room as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which `value` has.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &mut len) })?;
    value.truncate(len as usize);
    Ok(value)
}

/// A device's name, with zeros behind it. The kernel takes any bytes, images only text.
///
/// # Errors
/// EILSEQ: it is no text.
pub(crate) fn device_name(bytes: &[u8]) -> io::Result<String> {
    let name = bytes.split(|&b| b == 0).next().unwrap_or_default();
    String::from_utf8(name.to_vec()).map_err(|_| io::Error::from_raw_os_error(libc::EILSEQ))
}

/// An option that answers a question: `asked` holds it, and room for the answer.
///
/// # Errors
/// Those of getsockopt(2).
pub(crate) fn exchange_option(fd: BorrowedFd<'_>, level: i32, name: i32, asked: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut value = asked;
    let mut len = value.len() as libc::socklen_t;
    // SAFETY: the kernel reads and writes at most `len` bytes of `value`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &mut len) })?;
    value.truncate(len as usize);
    Ok(value)
}

/// An option of any level from bytes.
///
/// # Errors
/// Those of setsockopt(2).
pub(crate) fn set_option_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let len = value.len() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), len) })
}

/// An option of any level whose value is an int.
pub(crate) fn int_option(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let bytes = option_bytes(fd, level, name, size_of::<i32>())?;
    let bytes = bytes.try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    Ok(i32::from_ne_bytes(bytes))
}

pub(crate) fn set_int_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_option_bytes(fd, level, name, &value.to_ne_bytes())
}

/// The attached classic filter; empty without one.
///
/// # Errors
/// EACCES for one of eBPF.
pub(crate) fn filter(fd: BorrowedFd<'_>) -> io::Result<Vec<libc::sock_filter>> {
    let mut len: libc::socklen_t = 0;
    let null = std::ptr::null_mut();
    // SAFETY: with no room nothing is written but the length, in instructions.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_GET_FILTER, null, &mut len) })?;
    if len == 0 {
        return Ok(Vec::new());
    }
    let mut filter = vec![libc::sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; len as usize];
    let at = filter.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `len` instructions, which `filter` has room for.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_GET_FILTER, at, &mut len) })?;
    filter.truncate(len as usize);
    Ok(filter)
}

/// Attaches a classic filter.
///
/// # Errors
/// EINVAL for a program that the kernel does not accept.
pub(crate) fn attach_filter(fd: BorrowedFd<'_>, filter: &mut [libc::sock_filter]) -> io::Result<()> {
    attach(fd, libc::SO_ATTACH_FILTER, filter)
}

/// Attaches a classic program that chooses among the sockets of a port.
///
/// # Errors
/// EINVAL for a program that the kernel does not accept, or a socket without SO_REUSEPORT.
///
/// # References
/// socket(7), SO_ATTACH_REUSEPORT_CBPF
pub(crate) fn attach_reuseport_filter(fd: BorrowedFd<'_>, filter: &mut [libc::sock_filter]) -> io::Result<()> {
    attach(fd, libc::SO_ATTACH_REUSEPORT_CBPF, filter)
}

fn attach(fd: BorrowedFd<'_>, option: i32, filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let too_long = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let program = libc::sock_fprog { len: u16::try_from(filter.len()).map_err(too_long)?, filter: filter.as_mut_ptr() };
    let len = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let at = (&raw const program).cast();
    // SAFETY: the kernel reads the program and its `len` instructions, which `filter` owns.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, at, len) })
}

/// Bytes that a socket has written and that have not left it (`SIOCOUTQ`).
pub(crate) fn unsent_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes as u32)
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// Asks for every unix socket of this network namespace; answers the payloads of the messages, which are
/// `struct unix_diag_msg` and attributes.
///
/// # Errors
/// ENOENT without CONFIG_UNIX_DIAG.
///
/// # References
/// sock_diag(7), Linux 3.3
pub(crate) fn unix_diag(show: u32, each: impl FnMut(&[u8])) -> io::Result<()> {
    // family, protocol, pad; all states; any inode; what to show; no cookie
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    for word in [u32::MAX, 0, show, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    diag(&request, each)
}

/// As `unix_diag`, for sockets of an internet protocol in the given states (a bit for each), bound to `port` (0:
/// any): `struct inet_diag_msg` and attributes.
pub(crate) fn inet_diag(
    family: i32,
    protocol: i32,
    extensions: u8,
    states: u32,
    port: u16,
    each: impl FnMut(&[u8]),
) -> io::Result<()> {
    // family, protocol, extensions, pad; states; local port; any addresses
    let mut request = vec![family as u8, protocol as u8, extensions, 0];
    request.extend(states.to_ne_bytes());
    request.extend(port.to_be_bytes());
    request.resize(56, 0);
    diag(&request, each)
}

/// As `unix_diag`, for packet sockets: `struct packet_diag_msg` and attributes.
///
/// # Errors
/// ENOENT without CONFIG_PACKET_DIAG.
pub(crate) fn packet_diag(show: u32, each: impl FnMut(&[u8])) -> io::Result<()> {
    // family, protocol, pad; inode, what to show, cookie
    let mut request = vec![libc::AF_PACKET as u8, 0, 0, 0];
    for word in [0, show, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    diag(&request, each)
}

/// Binds a packet socket to a protocol and a device (0: any); one of type SOCK_PACKET to the device by its name.
///
/// # References
/// packet(7)
pub(crate) fn bind_packet(fd: BorrowedFd<'_>, protocol: u16, index: u32, device: Option<&str>) -> io::Result<()> {
    let address = packet_address(protocol, index);
    let mut bytes = [0u8; size_of::<libc::sockaddr_ll>()];
    let mut len = bytes.len();
    if let Some(device) = device {
        // struct sockaddr: the family, and a name of at most 13 bytes and a zero.
        len = 16;
        bytes[..2].copy_from_slice(&address.sll_family.to_ne_bytes());
        let name = device.as_bytes();
        let room = bytes.get_mut(2..2 + name.len()).filter(|_| name.len() < 14);
        room.ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?.copy_from_slice(name);
    }
    let at = if device.is_some() { bytes.as_ptr().cast() } else { (&raw const address).cast() };
    // SAFETY: both are live and at least `len` bytes long.
    check(unsafe { libc::bind(fd.as_raw_fd(), at, len as libc::socklen_t) })
}

/// Has a packet socket with a sending ring send what stands in it, as frames of a protocol over a device.
///
/// # References
/// packet(7)
pub(crate) fn send_packets(fd: BorrowedFd<'_>, protocol: u16, index: u32) -> io::Result<()> {
    let address = packet_address(protocol, index);
    let len = size_of_val(&address) as libc::socklen_t;
    let (flags, none) = (libc::MSG_DONTWAIT, std::ptr::null());
    // SAFETY: the address is live and `len` bytes long; there are no bytes to be sent beside the ring's.
    let sent = unsafe { libc::sendto(fd.as_raw_fd(), none, 0, flags, (&raw const address).cast(), len) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn packet_address(protocol: u16, index: u32) -> libc::sockaddr_ll {
    // SAFETY: all zero is a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index as i32;
    address.sll_halen = 6;
    address
}

fn diag(asked: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    // SAFETY: integers only.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG) };
    check(fd)?;
    // SAFETY: just made, nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut request = Vec::with_capacity(16 + asked.len());
    request.extend((16 + asked.len() as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    request.extend([0u8; 8]);
    request.extend(asked);
    rustix::net::send(&fd, &request, rustix::net::SendFlags::empty())?;
    let mut buf = vec![0u8; 256 << 10];
    loop {
        let (got, _) = rustix::net::recv(&fd, buf.as_mut_slice(), rustix::net::RecvFlags::empty())?;
        let mut rest = &buf[..got];
        while let Some((kind, body, after)) = message(rest) {
            rest = after;
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    let code = body.get(..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ => each(body),
            }
        }
    }
}

/// Type, body and what follows.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..len)?;
    Some((kind, body, bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])))
}
