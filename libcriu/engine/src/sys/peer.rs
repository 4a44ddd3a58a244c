//! Who is at the other end of a unix socket.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// Credentials of the process that connected (or made the pair), as the kernel noted them then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Pid in this process's pid namespace; 0 when it has none there.
    pub pid: i32,
    /// Effective ids, mapped into this process's user namespace.
    pub uid: u32,
    pub gid: u32,
}

/// `SO_PEERCRED` of a unix socket.
///
/// # Errors
/// Those of getsockopt: not a socket, not a unix one.
///
/// # References
/// unix(7).
pub fn credentials(socket: impl AsFd) -> io::Result<PeerCredentials> {
    let mut cred = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `cred` is a live, writable ucred and `len` its size; the descriptor is borrowed for the call.
    let r = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &raw mut len,
        )
    };
    if r != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(PeerCredentials { pid: cred.pid, uid: cred.uid, gid: cred.gid })
}

/// `SO_PEERGROUPS` of a unix socket: the supplementary groups that go with [`credentials`]. Linux 4.13.
///
/// # Errors
/// Those of getsockopt.
pub fn groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    const SO_PEERGROUPS: libc::c_int = 59;
    let mut groups = vec![0u32; 32];
    loop {
        let mut len = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: `groups` is writable for `len` bytes; the descriptor is borrowed for the call.
        let r = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let needed = len as usize / size_of::<u32>();
        match io::Error::last_os_error() {
            _ if r == 0 => {
                groups.truncate(needed);
                return Ok(groups);
            }
            // The kernel has written how much it takes.
            e if e.raw_os_error() == Some(libc::ERANGE) && needed > groups.len() => groups.resize(needed, 0),
            e => return Err(e),
        }
    }
}
