//! Tasks: tracing, pids, namespaces, timers.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::event::epoll::CreateFlags;
use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use rustix::thread::CapabilitySet;

use super::{absent, fails_with, not_yet, works};
use crate::check::Probe;
use crate::sys::probe::{self as calls, task as sys};

pub fn seccomp_suspend() -> Probe {
    works("ptrace(PTRACE_O_SUSPEND_SECCOMP)", sys::suspend_seccomp())
}

pub fn seccomp_filters() -> Probe {
    works("ptrace(PTRACE_SECCOMP_GET_FILTER)", sys::get_seccomp_filter())
}

pub fn rseq_configuration() -> Probe {
    works("ptrace(PTRACE_GET_RSEQ_CONFIGURATION)", sys::rseq_configuration())
}

pub fn breakpoints() -> Probe {
    works("ptrace(PTRACE_POKEUSER) of a debug register", sys::hardware_breakpoint())
}

pub fn loginuid() -> Probe {
    works("writing /proc/self/loginuid", sys::set_loginuid())
}

pub fn kcmp_epoll() -> Probe {
    match rustix::event::epoll::create(CreateFlags::CLOEXEC) {
        Ok(epoll) => fails_with("kcmp(KCMP_EPOLL_TFD)", &sys::kcmp_epoll(0, epoll.as_raw_fd()), libc::ENOENT),
        Err(e) => absent(format!("epoll_create1: {}", io::Error::from(e))),
    }
}

pub fn clone3_set_tid() -> Probe {
    let wanted = CapabilitySet::CHECKPOINT_RESTORE | CapabilitySet::SYS_ADMIN;
    match rustix::thread::capabilities(None) {
        Ok(own) if own.effective.intersects(wanted) => {
            fails_with("clone3(set_tid)", &sys::clone3_set_tid(), libc::EINVAL)
        }
        Ok(_) => absent("choosing pids takes CAP_CHECKPOINT_RESTORE"),
        Err(e) => absent(format!("capget: {}", io::Error::from(e))),
    }
}

pub fn timer_ids() -> Probe {
    works("prctl(PR_TIMER_CREATE_RESTORE_IDS)", calls::timer_create_restore_ids())
}

pub fn ns_pid() -> Probe {
    match fs::read_to_string("/proc/self/status") {
        Ok(text) if text.lines().any(|l| l.starts_with("NSpid:")) => Probe::Present,
        Ok(_) => absent("no NSpid in /proc/self/status"),
        Err(e) => absent(format!("/proc/self/status: {e}")),
    }
}

pub fn pidfd_store() -> Probe {
    let own = rustix::process::getpid();
    let kernel = rustix::process::pidfd_open(own, PidfdFlags::empty()).and_then(|pidfd| {
        let number = pidfd.as_raw_fd();
        rustix::process::pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).map(drop)
    });
    not_yet("--pidfd-store", works("pidfd_getfd", kernel))
}

/// A namespace is there when a task can be seen to be in one.
fn namespace(files: &[&str]) -> Probe {
    match files.iter().find(|f| !Path::new(f).exists()) {
        None => Probe::Present,
        Some(file) => absent(format!("there is no {file}")),
    }
}

pub fn user_namespaces() -> Probe {
    match fs::read_to_string("/proc/sys/user/max_user_namespaces").as_deref().map(str::trim) {
        Ok("0") => absent("user.max_user_namespaces is 0"),
        _ => namespace(&["/proc/self/ns/user", "/proc/self/uid_map"]),
    }
}

pub fn cgroup_namespaces() -> Probe {
    namespace(&["/proc/self/ns/cgroup"])
}

pub fn time_namespaces() -> Probe {
    namespace(&["/proc/self/ns/time_for_children", "/proc/self/timens_offsets"])
}
