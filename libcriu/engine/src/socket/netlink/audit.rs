//! Who the audit daemon is: of a socket of that protocol the kernel keeps nothing else that the socket does not tell.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

const AUDIT_GET: u16 = 1000;

/// The process that is registered as the audit daemon. None also where nobody of this namespace can be.
///
/// # Errors
/// Of socket, sendto and recv; EIO for an answer that is none, EAGAIN for none within two seconds.
pub(super) fn daemon() -> io::Result<Option<i32>> {
    let protocol = std::num::NonZeroU32::new(libc::NETLINK_AUDIT as u32).map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    // struct nlmsghdr: length, type and flags, sequence number, port.
    let header = [16, u32::from(AUDIT_GET) | (libc::NLM_F_REQUEST as u32) << 16, 1, 0];
    let request: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)) {
        // Outside the first user namespace.
        Err(Errno::CONNREFUSED) => return Ok(None),
        sent => sent?,
    };
    // A kernel thread answers.
    let mut fds = [PollFd::new(&socket, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 2, tv_nsec: 0 }))?;
    let mut answer = [0; 256];
    let (got, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    parse(&answer[..got]).ok_or_else(|| io::Error::from(Errno::IO))?
}

/// `struct audit_status` behind the header: mask, enabled, failure, pid; or an error's negative number.
fn parse(answer: &[u8]) -> Option<io::Result<Option<i32>>> {
    let word = |at: usize| Some(i32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    match i32::from(u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?)) {
        // Outside the first pid namespace, or without the right to it.
        libc::NLMSG_ERROR if word(16)? == -libc::EPERM => Some(Ok(None)),
        libc::NLMSG_ERROR => Some(Err(io::Error::from_raw_os_error(-word(16)?))),
        kind if kind == i32::from(AUDIT_GET) => Some(Ok(Some(word(28)?).filter(|pid| *pid != 0))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let answer = |kind: i32, words: [i32; 4]| {
            let all = [[32, kind, 1, 0], words].concat();
            parse(&all.iter().flat_map(|w| w.to_ne_bytes()).collect::<Vec<u8>>())
        };
        assert_eq!(answer(i32::from(AUDIT_GET), [0, 1, 1, 77]).unwrap().unwrap(), Some(77));
        assert_eq!(answer(i32::from(AUDIT_GET), [0, 1, 1, 0]).unwrap().unwrap(), None);
        assert_eq!(answer(libc::NLMSG_ERROR, [-libc::EPERM, 0, 0, 0]).unwrap().unwrap(), None);
        assert_eq!(
            answer(libc::NLMSG_ERROR, [-libc::ENOMEM, 0, 0, 0]).unwrap().unwrap_err().raw_os_error(),
            Some(libc::ENOMEM)
        );
        assert!(answer(libc::NLMSG_NOOP, [0; 4]).is_none() && parse(&[0; 3]).is_none());
    }

    #[test]
    fn the_kernel_answers() {
        daemon().unwrap();
    }
}
