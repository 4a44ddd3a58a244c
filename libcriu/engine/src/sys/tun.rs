//! Network devices that a process is behind (/dev/net/tun).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::socket::device_name;

const TUNSETIFF: libc::Ioctl = 0x4004_54ca_u32 as libc::Ioctl;
const TUNGETIFF: libc::Ioctl = 0x8004_54d2_u32 as libc::Ioctl;
/// The device stays when nobody has it open.
pub(crate) const PERSISTENT: u32 = 0x0800;
/// What TUNSETIFF takes: TUN, TAP, NAPI, NAPI_FRAGS, NO_CARRIER, MULTI_QUEUE, NO_PI, ONE_QUEUE, VNET_HDR.
const FEATURES: u32 = 0x7173;

/// `struct ifreq`
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: u16,
    rest: [u8; 22],
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub name: String,
    pub flags: u32,
}

/// The device that a descriptor is behind, if any.
///
/// # References
/// Documentation/networking/tuntap.rst
pub(crate) fn device(fd: BorrowedFd<'_>) -> io::Result<Option<Device>> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: 0, rest: [0; 22] };
    // SAFETY: the request writes one struct ifreq, which `request` is.
    if unsafe { libc::ioctl(fd.as_raw_fd(), TUNGETIFF, &raw mut request) } < 0 {
        let e = io::Error::last_os_error();
        return if e.raw_os_error() == Some(libc::EBADFD) { Ok(None) } else { Err(e) };
    }
    Ok(Some(Device { name: device_name(&request.name)?, flags: request.flags.into() }))
}

/// Puts a fresh descriptor behind a device: one that is there, or else a new one.
pub(crate) fn attach(fd: BorrowedFd<'_>, device: &Device) -> io::Result<()> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: (device.flags & FEATURES) as u16, rest: [0; 22] };
    let name = device.name.as_bytes();
    let room = request.name.get_mut(..name.len()).filter(|_| name.len() < libc::IFNAMSIZ);
    room.ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?.copy_from_slice(name);
    // SAFETY: the request reads and writes one struct ifreq, which `request` is.
    if unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
