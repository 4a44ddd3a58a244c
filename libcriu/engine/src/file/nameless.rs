//! Pipes and sockets: what /proc calls them follows from their numbers, and costs several times as much to ask for.

use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::{Stat, fstat};

/// Device numbers of the kernel's own file systems of pipes and of sockets.
static DEVICES: OnceLock<Option<(u64, u64)>> = OnceLock::new();

/// The text of the link in /proc/PID/fd; `None` for whatever has a place in a file system.
pub(super) fn link(stat: &Stat) -> Option<Vec<u8>> {
    let (kind, device) = match stat.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => ("socket", DEVICES.get_or_init(devices).as_ref()?.1),
        libc::S_IFIFO => ("pipe", DEVICES.get_or_init(devices).as_ref()?.0),
        _ => return None,
    };
    (stat.st_dev == device).then(|| format!("{kind}:[{}]", stat.st_ino).into_bytes())
}

fn devices() -> Option<(u64, u64)> {
    let device = |fd: std::os::fd::BorrowedFd<'_>| fstat(fd).ok().map(|stat| stat.st_dev);
    let (pipe, _writer) = std::io::pipe().ok()?;
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().ok()?;
    Some((device(pipe.as_fd())?, device(socket.as_fd())?))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn as_proc_calls_them() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        for fd in [reader.as_fd(), socket.as_fd()] {
            let told = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
            assert_eq!(link(&fstat(fd).unwrap()).unwrap(), told.as_os_str().as_bytes());
        }
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(link(&fstat(&null).unwrap()), None);
    }
}
