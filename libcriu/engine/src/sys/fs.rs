//! A root and a current directory for a few calls alone.

use std::io;
use std::os::fd::BorrowedFd;

/// Runs `f` in a thread that has its own root directory, current directory and umask: what it changes of them nobody else
/// notices. Descriptors are those of the process.
///
/// # Errors
/// Those of unshare and of `f`; EAGAIN when no thread can be made.
///
/// # References
/// unshare(2): CLONE_FS
pub(crate) fn apart<T: Send>(f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let run = || {
        // SAFETY: integers only; the thread is about to end and shares nothing else that this could change.
        if unsafe { libc::unshare(libc::CLONE_FS) } < 0 {
            return Err(io::Error::last_os_error());
        }
        f()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, run)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread ended early")))
    })
}

/// Makes a directory the root and the current directory of the calling thread; only within [`apart`].
///
/// # References
/// chroot(2)
pub(crate) fn enter_root(dir: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(dir)?;
    rustix::process::chroot(".")?;
    Ok(())
}
