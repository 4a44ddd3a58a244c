//! The page that the coordinator of a restore shares with the tasks: stages, a bell, and the first failure.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use criu_pie::abi::restorer::{Control, FAILURE_TEXT_BYTES};

use super::mapping::Mapped;

/// What one task tells the coordinator beside the counters of `Control`.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Slot {
    /// 1 once the task exists.
    pub born: AtomicU32,
    /// 1 once the process group exists that it founds.
    pub leads: AtomicU32,
    /// 1 once it is in its final session and process group.
    pub grouped: AtomicU32,
    /// The restorer's region: address and bytes.
    pub region: AtomicU64,
    pub region_len: AtomicU64,
    /// A task that shares its descriptor table or directories: 1 once it needs no path and no new descriptor any more, 2
    /// once the table is in place.
    pub files: AtomicU32,
    /// The descriptors it still needs, by number.
    pub kept: [AtomicU32; 3],
}

/// Numbers for the statistics, added up by all tasks.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Counts {
    pub pages_compared: AtomicU64,
    pub pages_skipped_cow: AtomicU64,
    pub pages_restored: AtomicU64,
    /// Tasks that exist; woken when all do.
    pub born: AtomicU32,
    /// 1 once the coordinator traces the root: from then on it dies with the coordinator.
    pub root_traced: AtomicU32,
    /// When the last task was born, in nanoseconds of CLOCK_MONOTONIC.
    pub born_ns: AtomicU64,
}

/// The coordinator's (and, inherited, every task's) view of the shared pages: `Control`, then `Counts`, then the slots.
#[derive(Debug)]
pub struct SharedControl {
    mapped: Mapped,
    tasks: usize,
}

const COUNTS_AT: u64 = (size_of::<Control>() as u64).next_multiple_of(64);
const SLOTS_AT: u64 = COUNTS_AT + 64;

impl SharedControl {
    pub fn new(tasks: usize) -> io::Result<SharedControl> {
        let len = (SLOTS_AT + (tasks * size_of::<Slot>()) as u64).next_multiple_of(4096);
        Ok(SharedControl { mapped: Mapped::shared(len)?, tasks })
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

    pub fn counts(&self) -> &Counts {
        // SAFETY: inside the mapping, behind `Control`; zeroes are a valid value.
        unsafe { &*((self.mapped.start() + COUNTS_AT) as *const Counts) }
    }

    /// One for each task, in the checkpoint's order.
    pub fn slots(&self) -> &[Slot] {
        // SAFETY: `new` made the mapping long enough for `tasks` of them; zeroes are a valid value.
        unsafe { std::slice::from_raw_parts((self.mapped.start() + SLOTS_AT) as *const Slot, self.tasks) }
    }

    /// Where in the mapping the word is that tells of a task's birth.
    pub fn born_at(&self, task: usize) -> u64 {
        SLOTS_AT + (task * size_of::<Slot>() + std::mem::offset_of!(Slot, born)) as u64
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
        unsafe { libc::munmap(self.mapped.start() as *mut libc::c_void, self.mapped.len() as usize) };
    }
}
