//! Landlock: a task that is confined by it cannot be saved, for nobody is told what it may do. That it is confined stands in its
//! credentials, in the part that belongs to security modules. Where in there is found out from a process that has just confined itself:
//! it differs from this one in nothing else.
//!
//! Only tasks with no_new_privs are looked at: without it, confining oneself takes CAP_SYS_ADMIN. Of those that still have that, each is
//! asked whether it may look at this process: if so, it is not confined.

use std::io;
use std::os::fd::AsFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sys::kernel::{Address, Kernel};
use crate::sys::landlock::{Confined, is_available};

/// PIDFD_THREAD (Linux 6.9).
const OF_THREAD: u32 = libc::O_EXCL as u32;
/// More than security modules keep.
const MOST_BYTES: usize = 128;
const KERNELS_HALF: u64 = 0xffff_8000_0000_0000;

/// Those of the threads that are confined by Landlock in a way in which this process is not.
///
/// # Errors
/// Those of reading the kernel's memory.
pub fn confined(tids: &[i32]) -> io::Result<Vec<i32>> {
    if tids.is_empty() || !is_available() {
        return Ok(Vec::new());
    }
    let kernel = Kernel::open()?;
    let own = words(&kernel, std::process::id() as i32)?;
    let theirs = words(&kernel, Confined::start()?.pid())?;
    let place = own.iter().zip(&theirs).position(|(a, b)| a != b && *b >= KERNELS_HALF);
    let place = place.ok_or_else(|| io::Error::from_raw_os_error(libc::ENXIO))?;
    let mut found = Vec::new();
    for &tid in tids {
        let domain = words(&kernel, tid)?[place];
        if domain != 0 && domain != own[place] {
            found.push(tid);
        }
    }
    Ok(found)
}

/// What security modules keep in the credentials of a thread.
fn words(kernel: &Kernel, tid: i32) -> io::Result<Vec<Address>> {
    let pid = Pid::from_raw(tid).ok_or(io::ErrorKind::InvalidInput)?;
    let of_thread = PidfdFlags::from_bits_retain(OF_THREAD);
    let thread = pidfd_open(pid, of_thread).or_else(|_| pidfd_open(pid, PidfdFlags::empty()))?;
    let cred = kernel.number(kernel.task_of(thread.as_fd())?, "task_struct", "cred")?;
    let mut bytes = [0; MOST_BYTES];
    kernel.read(kernel.number(cred, "cred", "security")?, &mut bytes)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|word| Address::from_le_bytes(*word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_is_confined() {
        let Ok(kernel) = Kernel::open() else { return };
        drop(kernel);
        if !is_available() {
            return;
        }
        let other = Confined::start().unwrap();
        let own = std::process::id() as i32;
        assert_eq!(confined(&[own, other.pid()]).unwrap(), [other.pid()]);
        assert!(confined(&[]).unwrap().is_empty());
    }
}
