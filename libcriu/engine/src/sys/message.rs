//! Datagrams of internet sockets with all that the kernel tells along with them.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

const CONTROL_BYTES: usize = 1024;

/// One look into a queue.
#[derive(Debug, Default)]
pub(crate) struct Peeked {
    pub bytes: usize,
    /// A `sockaddr_in` or `sockaddr_in6`.
    pub sender: Vec<u8>,
    pub control: Vec<Told>,
    /// It, or what is told along with it, is longer than there is room for.
    pub cut: bool,
}

/// A control message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub level: i32,
    pub kind: i32,
    pub data: Vec<u8>,
}

/// Control messages are written where the kernel wants them aligned.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Looks at the next datagram (or at that of SO_PEEK_OFF) without taking it out or waiting.
///
/// # Errors
/// EAGAIN when there is none.
///
/// # References
/// recvmsg(2), ip(7), ipv6(7)
pub(crate) fn peek(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Peeked> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut name = [0u8; size_of::<libc::sockaddr_in6>()];
    // SAFETY: all zero is a valid empty header.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = name.len() as u32;
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES;
    // SAFETY: every pointer in the header is to live memory of the length beside it.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peeked {
        bytes: got as usize,
        sender: name[..name.len().min(header.msg_namelen as usize)].to_vec(),
        control: parts(&control.0[..header.msg_controllen.min(CONTROL_BYTES)])
            .map(|(level, kind, data)| Told { level, kind, data: data.to_vec() })
            .collect(),
        cut: header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
    })
}

/// Control messages, one after the other: level, kind, data. Ends at the first that is none.
pub(super) fn parts(mut control: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    std::iter::from_fn(move || {
        let len = control.first_chunk().map(|b| usize::from_ne_bytes(*b))?;
        let part = (word(control, 8)?, word(control, 12)?, control.get(HEADER..len)?);
        control = control.get(len.next_multiple_of(8)..).unwrap_or(&[]);
        Some(part)
    })
}

/// The number at this place.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4).and_then(|w| w.try_into().ok()).map(i32::from_ne_bytes)
}
