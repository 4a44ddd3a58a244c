//! Sockets: options by number, ioctls.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::{ioctl, new_fd, result};

/// getsockopt into a buffer large enough for any option that is probed.
///
/// # Errors
/// ENOPROTOOPT where the kernel does not know it.
pub fn get_option(socket: impl AsFd, level: i32, name: i32) -> io::Result<()> {
    let mut data = [0u8; 256];
    let mut len = data.len() as libc::socklen_t;
    // SAFETY: `data` is writable for `len` bytes.
    result(
        unsafe { libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, data.as_mut_ptr().cast(), &raw mut len) }
            .into(),
    )
    .map(|_| ())
}

/// getsockopt(IPT_SO_GET_INFO) for a table of the old iptables.
///
/// # Errors
/// ENOPROTOOPT or ENOENT where there is none.
pub fn iptables_info(raw_socket: impl AsFd, table: &str) -> io::Result<()> {
    const IPT_SO_GET_INFO: i32 = 64;
    // struct ipt_getinfo: the name in 32 bytes, then 13 numbers.
    let mut data = [0u8; 84];
    let name = table.as_bytes();
    let n = name.len().min(31);
    data[..n].copy_from_slice(&name[..n]);
    let mut len = data.len() as libc::socklen_t;
    // SAFETY: `data` is a readable and writable ipt_getinfo of `len` bytes.
    result(
        unsafe {
            libc::getsockopt(
                raw_socket.as_fd().as_raw_fd(),
                libc::IPPROTO_IP,
                IPT_SO_GET_INFO,
                data.as_mut_ptr().cast(),
                &raw mut len,
            )
        }
        .into(),
    )
    .map(|_| ())
}

/// setsockopt of a number.
///
/// # Errors
/// What the kernel answered.
pub fn set_option(socket: impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: `value` is readable for the four bytes announced.
    result(unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), 4) }.into())
        .map(|_| ())
}

/// SIOCGSKNS: the network namespace of a socket.
///
/// # Errors
/// ENOTTY where the kernel does not know it.
pub fn network_namespace(socket: impl AsFd) -> io::Result<()> {
    const SIOCGSKNS: u32 = 0x894c;
    ioctl(socket, SIOCGSKNS, &mut [0; 64]).map(|fd| drop(new_fd(fd)))
}

/// SIOCUNIXFILE: the file a unix socket is bound to. ENOENT for a socket without one, where the kernel knows the call.
///
/// # Errors
/// What the kernel answered.
pub fn unix_file(socket: impl AsFd) -> io::Result<()> {
    const SIOCUNIXFILE: u32 = 0x89e0;
    ioctl(socket, SIOCUNIXFILE, &mut [0; 64]).map(|fd| drop(new_fd(fd)))
}
