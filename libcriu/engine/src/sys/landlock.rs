//! A process that has confined itself by Landlock, to look at: no system call tells of a task whether it is confined.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::descriptor::{close_all_but, read_word, write_word};
use super::spawn;

const CREATE_RULESET_VERSION: u32 = 1;
/// LANDLOCK_ACCESS_FS_EXECUTE
const ACCESS_EXECUTE: u64 = 1;
const CONFINED: u8 = b'c';

/// Does the kernel confine tasks by Landlock?
///
/// # References
/// landlock_create_ruleset(2), Linux 5.13
pub(crate) fn is_available() -> bool {
    // SAFETY: no ruleset is given.
    unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u64>(), 0_usize, CREATE_RULESET_VERSION) > 0
    }
}

/// The process; it ends when it is dropped, or with the engine.
#[derive(Debug)]
pub(crate) struct Confined {
    child: i32,
    word: Option<OwnedFd>,
}

impl Confined {
    /// # Errors
    /// Those of pipe(2) and fork(2); UnexpectedEof: it could not confine itself.
    pub(crate) fn start() -> io::Result<Self> {
        let (end, word) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (ready, tells) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mask = spawn::block_signals();
        // SAFETY: the child makes system calls only: no lock of another thread is needed.
        let child = unsafe { libc::fork() };
        if child == 0 {
            confine([end.as_raw_fd(), tells.as_raw_fd()]);
        }
        let failed = io::Error::last_os_error();
        spawn::set_signal_mask(mask);
        if child < 0 {
            return Err(failed);
        }
        let confined = Confined { child, word: Some(word) };
        drop((end, tells));
        match rustix::io::retry_on_intr(|| rustix::io::read(&ready, &mut [0u8; 1]))? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(confined),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        self.word = None;
        spawn::reap(self.child);
    }
}

/// The child: all signals are blocked, nothing but the pipes is open.
fn confine([end, tells]: [RawFd; 2]) -> ! {
    close_all_but(&mut [end, tells]);
    let handled = ACCESS_EXECUTE;
    // SAFETY: the kernel reads the 8 bytes of `handled`.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64);
        let ruleset = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<u64>(), 0);
        if ruleset < 0 || libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) != 0 {
            spawn::exit_now(1);
        }
    }
    if !write_word(tells, CONFINED) {
        spawn::exit_now(1);
    }
    read_word(end);
    spawn::exit_now(0)
}
