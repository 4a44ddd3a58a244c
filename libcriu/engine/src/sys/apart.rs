//! A copy of the engine that does an operation in its place.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use super::spawn;

/// The process that waits for this one, 0 when there is none.
static FRONT: AtomicI32 = AtomicI32::new(0);

/// Who runs on after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The process that was called; the copy's pid.
    Front(i32),
    /// The copy. It dies with the front unless it says otherwise.
    Copy,
}

/// The process in front of this one, when this is a copy.
pub fn front() -> Option<i32> {
    Some(FRONT.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
}

/// Copies this process, which must be single-threaded.
///
/// # Errors
/// Those of fork(2); `EDEADLK` when there are other threads, whose locks would stay locked in the copy.
pub fn fork() -> io::Result<Side> {
    await_lone_thread()?;
    let front = std::process::id() as i32;
    // SAFETY: no other thread exists, so the copy finds every lock as this thread left it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            FRONT.store(front, Ordering::Relaxed);
            if die_with_front(true).is_err() || !front_lives() {
                spawn::exit_now(1);
            }
            Ok(Side::Copy)
        }
        copy => Ok(Side::Front(copy)),
    }
}

/// A thread that has been joined is still listed for a moment.
fn await_lone_thread() -> io::Result<()> {
    const MOMENTS: u32 = 20;
    for _ in 0..MOMENTS {
        if std::fs::read_dir("/proc/self/task")?.count() == 1 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Err(io::Error::from_raw_os_error(libc::EDEADLK))
}

/// Whether the kernel is to kill this copy when the front dies. Look at [`front_lives`] after turning it on.
///
/// # Errors
/// None that is known of.
pub fn die_with_front(yes: bool) -> io::Result<()> {
    spawn::prctl(libc::PR_SET_PDEATHSIG, if yes { libc::SIGKILL as u64 } else { 0 }).map(drop)
}

/// False once nobody waits for this copy any more.
pub fn front_lives() -> bool {
    let parent = rustix::process::getppid().map(|p| p.as_raw_nonzero().get());
    front().is_none_or(|front| parent == Some(front))
}
