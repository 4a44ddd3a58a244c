//! kcmp(2): do two tasks share a kernel object, and in which order do the objects stand.

use std::cmp::Ordering;
use std::io;

/// The objects that tasks can share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kobj {
    Vm = 1,
    Files = 2,
    Fs = 3,
    Sighand = 4,
    /// What semop(2) is to undo at the end of the process; alike for those that have nothing of the kind.
    SysvUndo = 6,
}

/// Compares an object of two tasks: `Equal` when they share it, otherwise an order that is stable while both exist.
///
/// # Errors
/// EPERM without ptrace access to both, ESRCH when one is gone, ENOSYS in a kernel without CONFIG_KCMP.
///
/// # References
/// kcmp(2), Linux 3.5.
pub fn kcmp(a: i32, b: i32, object: Kobj) -> io::Result<Ordering> {
    // SAFETY: kcmp takes five integers and touches no memory of the caller for these object types.
    let r = unsafe { libc::syscall(libc::SYS_kcmp, a, b, object as libc::c_int, 0usize, 0usize) };
    match r {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        -1 => Err(io::Error::last_os_error()),
        // 3: not equal, and no order is known.
        _ => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
    }
}
