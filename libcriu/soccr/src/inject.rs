//! Segments in the peer's name, sent to a socket of this host: the only way to make the kernel believe that the peer has
//! closed or acknowledged.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

use crate::data::v4;
use crate::error::Doing;
use crate::segment::Segment;
use crate::sys::{self, SOL_SOCKET};
use crate::{Error, MARK, Result, State, socket};

/// How long a packet may take over the loopback device.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRANSMISSION: Duration = Duration::from_millis(100);

/// Sends `segment` to the socket `fd` and waits until it is in state `want`.
pub(crate) fn deliver(fd: BorrowedFd<'_>, segment: &Segment, want: State) -> Result<()> {
    let bound = BoundDevice::lift(fd, segment)?;
    let result = until_reached(fd, segment, want);
    bound.put_back()?;
    result
}

fn send(segment: &Segment) -> Result<()> {
    let what = "sending a segment in the peer's name";
    let v4_address = v4(&segment.to);
    let family = if v4_address.is_some() { AddressFamily::INET } else { AddressFamily::INET6 };
    // IPPROTO_RAW: the packet brings its own IP header.
    let raw = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW)).doing(what, "socket")?;
    sys::set(raw.as_fd(), SOL_SOCKET, sys::SO_MARK, MARK).doing(what, "setsockopt SO_MARK")?;
    let mut to = match v4_address {
        Some(ip) => SocketAddr::new(ip.into(), 0),
        None => segment.to,
    };
    to.set_port(0);
    sendto(&raw, &segment.packet(), SendFlags::empty(), &to).doing(what, "sendto")?;
    Ok(())
}

/// Sends again after a while, as a peer does. On a device that came up just now, the kernel installs the route to a local
/// IPv6 address late, and the first segment leaves in search of another host.
fn until_reached(fd: BorrowedFd<'_>, segment: &Segment, want: State) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        send(segment)?;
        let again = Instant::now() + RETRANSMISSION;
        loop {
            // Nearly always there already: loopback delivers before sendto returns.
            let is = socket::state(fd)?;
            if is == want {
                return Ok(());
            }
            let now = Instant::now();
            if now > deadline {
                return Err(Error::Stuck { is, want });
            }
            if now > again {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// A device that an IPv4 socket is bound to: packets over loopback would not find the socket. (Over IPv6 they come from the
/// device that has the address.)
struct BoundDevice<'fd> {
    fd: BorrowedFd<'fd>,
    name: Option<[u8; 16]>,
}

impl<'fd> BoundDevice<'fd> {
    fn lift(fd: BorrowedFd<'fd>, segment: &Segment) -> Result<Self> {
        let name: [u8; 16] = sys::get(fd, SOL_SOCKET, sys::SO_BINDTODEVICE)
            .doing("asking for the device", "getsockopt SO_BINDTODEVICE")?;
        if name[0] == 0 || v4(&segment.to).is_none() {
            return Ok(BoundDevice { fd, name: None });
        }
        let device = BoundDevice { fd, name: Some(name) };
        device.bind([0; 16])?;
        Ok(device)
    }

    fn bind(&self, name: [u8; 16]) -> Result<()> {
        sys::set(self.fd, SOL_SOCKET, sys::SO_BINDTODEVICE, name)
            .doing("binding to the device", "setsockopt SO_BINDTODEVICE")
    }

    fn put_back(self) -> Result<()> {
        self.name.map_or(Ok(()), |name| self.bind(name))
    }
}
