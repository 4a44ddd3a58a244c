//! WAIT_PID: waits for a child of this process, usually a restored root, and tells its status.

use std::io;
use std::os::fd::AsFd;

use criu_images::messages::{CriuReq, CriuReqType, CriuResp};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions};

use super::connection::Received;
use super::{Session, response};
use crate::error::{Error, Phase, Result};

impl Session {
    /// The status is that of waitpid(2). The client may close the connection meanwhile.
    pub(super) fn wait_pid(&self, request: &CriuReq) -> Result<CriuResp> {
        let number = request.pid.and_then(|p| i32::try_from(p).ok()).unwrap_or(0);
        let failed = |call: &str, e: Errno| {
            let e = io::Error::from(e);
            let errno = e.raw_os_error().unwrap_or(0);
            Error::os(Phase::Service, "the task to wait for", call, e).pid(number).errno(errno)
        };
        let pid = Pid::from_raw(number)
            .filter(|_| number > 0)
            .ok_or_else(|| Error::new(Phase::Options, "pid", "none is given").errno(libc::EBADRQC))?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|e| failed("pidfd_open", e))?;
        loop {
            match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => {
                    let kind = CriuReqType::WaitPid as i32;
                    return Ok(CriuResp { status: Some(status.as_raw()), ..response::success(kind) });
                }
                Ok(None) | Err(Errno::INTR) => {}
                Err(e) => return Err(failed("waitpid", e)),
            }
            let mut fds = [
                PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.connection.fd(), PollFlags::IN),
            ];
            match rustix::event::poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(failed("poll", e)),
            }
            if !fds[1].revents().is_empty() && !matches!(self.connection.take()?, Received::Nothing) {
                return Err(Error::new(Phase::Service, "the wait", "given up by the client").errno(libc::ECANCELED));
            }
        }
    }
}
