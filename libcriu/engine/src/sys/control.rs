//! The page that the coordinator of a restore shares with the tasks: stages, a bell, and the first failure.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use criu_pie::abi::restorer::{Control, FAILURE_TEXT_BYTES};

use super::mapping::Mapped;

/// Bytes of the shared mapping: `Control`, in whole pages.
pub const CONTROL_BYTES: u64 = (size_of::<Control>() as u64).next_multiple_of(4096);

/// The coordinator's (and, inherited, every task's) view of the control page.
#[derive(Debug)]
pub struct SharedControl {
    mapped: Mapped,
}

impl SharedControl {
    pub fn new() -> io::Result<SharedControl> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), CONTROL_BYTES as usize, prot, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(SharedControl { mapped: Mapped::inherited(at as u64, CONTROL_BYTES) })
    }

    /// The mapping, to be shown again inside the restorer's region.
    pub fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    /// The page itself.
    pub fn get(&self) -> &Control {
        // SAFETY: mapped for the life of `self`, zero-filled at first, which is a valid `Control` (atomics only).
        unsafe { &*(self.mapped.start() as *const Control) }
    }

    /// Waits until `word` is no longer `value`, is woken, or the time is over.
    pub fn wait(word: &AtomicU32, value: u32, time: Duration) {
        let ts = libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        // SAFETY: both addresses are live for the call; it reads them only.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const ts, 0, 0) };
    }

    /// Wakes all who wait on `word`, in any process.
    pub fn wake(word: &AtomicU32) {
        // SAFETY: the address is live; nothing is written.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX, 0, 0, 0) };
    }

    /// Makes the coordinator look.
    pub fn ring(&self) {
        let c = self.get();
        c.bell.fetch_add(1, Ordering::SeqCst);
        Self::wake(&c.bell);
    }

    /// Writes down a failure told in words, unless another one was first.
    pub fn fail(&self, pid: i32, errno: i32, text: &str) {
        let c = self.get();
        if c.failed.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return;
        }
        let bytes = &text.as_bytes()[..text.len().min(FAILURE_TEXT_BYTES)];
        for (to, from) in c.failure.text.iter().zip(bytes) {
            to.store(*from, Ordering::Relaxed);
        }
        c.failure.text_len.store(bytes.len() as u32, Ordering::SeqCst);
        c.failure.pid.store(pid as u32, Ordering::SeqCst);
        c.failure.errno.store(errno as u32, Ordering::SeqCst);
        c.failed.store(2, Ordering::SeqCst);
        self.ring();
    }
}

impl Drop for SharedControl {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` and references to it borrow `self`.
        unsafe { libc::munmap(self.mapped.start() as *mut libc::c_void, CONTROL_BYTES as usize) };
    }
}
