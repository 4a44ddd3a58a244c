//! What can be done to a task: asked of a child made for it.

use std::io;
use std::ptr;

use super::result;

const PTRACE_GET_RSEQ_CONFIGURATION: u32 = 0x420f;
const PTRACE_SECCOMP_GET_FILTER: u32 = 0x420c;
const PTRACE_O_SUSPEND_SECCOMP: usize = 1 << 21;

/// What the child does before it waits to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    Waits,
    /// Installs a seccomp filter that allows everything.
    Filtered,
    /// Writes its own loginuid back; dies when that fails.
    SetsLoginuid,
}

/// Runs `probe` on a fresh child that is seized with `options` and stopped; kills it afterwards.
fn with_child<T>(child: Child, options: usize, probe: impl FnOnce(i32) -> io::Result<T>) -> io::Result<T> {
    // SAFETY: the child calls nothing but system calls (see `live`), so that locks of other threads do not matter.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => return Err(io::Error::last_os_error()),
        0 => live(child),
        _ => {}
    }
    let answer = seize(pid, options).and_then(|()| probe(pid));
    // SAFETY: `pid` is this process's own child, not yet waited for; stops of the tracee come before its end.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        while libc::waitpid(pid, ptr::null_mut(), libc::__WALL) == pid
            || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
    answer
}

/// The child's whole life: system calls only.
fn live(child: Child) -> ! {
    let filter = [libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }];
    let program = libc::sock_fprog { len: 1, filter: filter.as_ptr().cast_mut() };
    // SAFETY: system calls with numbers, and with buffers of this frame; the process ends here whatever happens.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        match child {
            Child::Waits => {}
            Child::Filtered => {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                if libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0 {
                    libc::_exit(1);
                }
            }
            Child::SetsLoginuid => {
                let mut text = [0u8; 16];
                let fd = libc::open(c"/proc/self/loginuid".as_ptr(), libc::O_RDWR);
                let n = libc::read(fd, text.as_mut_ptr().cast(), text.len());
                if n <= 0 || libc::pwrite(fd, text.as_ptr().cast(), n as usize, 0) != n {
                    libc::_exit(1);
                }
            }
        }
        libc::kill(libc::getpid(), libc::SIGSTOP);
        loop {
            libc::pause();
        }
    }
}

/// Waits until the child has stopped itself, then seizes and interrupts it.
fn seize(pid: i32, options: usize) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: `pid` is a child of this process; `status` is writable; the ptrace requests take numbers.
    unsafe {
        result(libc::waitpid(pid, &raw mut status, libc::WUNTRACED).into())?;
        if !libc::WIFSTOPPED(status) {
            return Err(io::Error::other("the child could not do its part"));
        }
        result(libc::ptrace(libc::PTRACE_SEIZE, pid, 0, options))?;
        result(libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0))?;
        result(libc::waitpid(pid, &raw mut status, libc::__WALL).into())?;
    }
    Ok(())
}

/// PTRACE_O_SUSPEND_SECCOMP.
///
/// # Errors
/// What the kernel answered.
pub fn suspend_seccomp() -> io::Result<()> {
    with_child(Child::Filtered, PTRACE_O_SUSPEND_SECCOMP, |_| Ok(()))
}

/// PTRACE_SECCOMP_GET_FILTER.
///
/// # Errors
/// What the kernel answered.
pub fn get_seccomp_filter() -> io::Result<()> {
    with_child(Child::Filtered, 0, |pid| {
        // SAFETY: with a null buffer the request only returns the length.
        result(unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, 0) }).map(|_| ())
    })
}

/// PTRACE_GET_RSEQ_CONFIGURATION.
///
/// # Errors
/// What the kernel answered.
pub fn rseq_configuration() -> io::Result<()> {
    with_child(Child::Waits, 0, |pid| {
        let mut data = [0u8; 24];
        // SAFETY: `data` has the size announced, that of struct ptrace_rseq_configuration.
        result(unsafe { libc::ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, data.len(), data.as_mut_ptr()) }).map(|_| ())
    })
}

/// Whether a debug register can be written.
///
/// # Errors
/// What the kernel answered.
pub fn hardware_breakpoint() -> io::Result<()> {
    with_child(Child::Waits, 0, |pid| {
        let at = std::mem::offset_of!(libc::user, u_debugreg) + 7 * 8;
        // SAFETY: the request writes one word into the child's own debug register.
        result(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, pid, at, 0) }).map(|_| ())
    })
}

/// Whether a task may write its loginuid.
///
/// # Errors
/// It may not, or there is none.
pub fn set_loginuid() -> io::Result<()> {
    with_child(Child::SetsLoginuid, 0, |_| Ok(()))
}

/// clone3 with more pids than there are nested namespaces: EINVAL where `set_tid` is known, E2BIG or ENOSYS where not.
pub fn clone3_set_tid() -> io::Error {
    // struct clone_args up to set_tid_size: the two last of ten words.
    let mut args = [0u64; 10];
    let tids = [1i32; 64];
    args[8] = (&raw const tids).addr() as u64;
    args[9] = tids.len() as u64;
    // SAFETY: `args` is a readable clone_args of the size announced; 64 exceeds the deepest nesting (32), so that the
    // call fails before it makes anything.
    let r = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    if r == 0 {
        // SAFETY: a child that should not exist ends at once.
        unsafe { libc::_exit(0) };
    }
    if r > 0 { io::Error::other("it made a process") } else { io::Error::last_os_error() }
}

/// kcmp(KCMP_EPOLL_TFD) for a descriptor that is in no epoll: ENOENT where the kernel knows the call.
pub fn kcmp_epoll(file: i32, epoll: i32) -> io::Error {
    const KCMP_EPOLL_TFD: i32 = 7;
    let slot = [epoll as u32, file as u32, 0];
    let pid = std::process::id();
    // SAFETY: `slot` is a readable struct kcmp_epoll_slot; the call only compares.
    let r = unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_EPOLL_TFD, file, slot.as_ptr()) };
    if r >= 0 { io::Error::from_raw_os_error(libc::ENOENT) } else { io::Error::last_os_error() }
}

/// Gives the calling thread a mount namespace of its own (and a file system context of its own).
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn own_mount_namespace() -> io::Result<()> {
    // SAFETY: unshare takes flags; the thread calling is one that was made for a probe.
    result(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into()).map(|_| ())
}

/// Gives the calling thread a network namespace of its own.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn own_network_namespace() -> io::Result<()> {
    // SAFETY: as above.
    result(unsafe { libc::unshare(libc::CLONE_NEWNET) }.into()).map(|_| ())
}
