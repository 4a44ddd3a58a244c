//! What the kernel has of a stop.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys::kernel::Kernel;

/// Whether the parent of a stopped process has fetched the report.
///
/// # Errors
/// Those of reading the kernel's memory.
pub fn is_reported(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let kernel = Kernel::open()?;
    let process = kernel.number(kernel.task_of(pidfd)?, "task_struct", "signal")?;
    // What a wait would give; it takes it.
    Ok(kernel.number(process, "signal_struct", "group_exit_code")? == 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};

    use super::*;

    #[test]
    fn a_report_is_fetched_once() {
        let Ok(_kernel) = Kernel::open() else { return };
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT).unwrap();
        assert!(!is_reported(pidfd.as_fd()).unwrap());
        waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
        assert!(is_reported(pidfd.as_fd()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
