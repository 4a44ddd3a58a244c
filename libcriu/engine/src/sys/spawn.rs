//! Processes with chosen pids, and what a process that becomes a restored task does to itself.

use std::io;

/// What a new process has in common with the one that starts it.
#[derive(Clone, Copy, Debug)]
pub struct Kinship {
    /// Its parent.
    pub as_sibling: bool,
    /// The descriptor table.
    pub shares_files: bool,
    /// Root, current directory and umask.
    pub shares_fs: bool,
    /// Tells its parent of its end; 0: nothing does.
    pub exit_signal: i32,
}

impl Default for Kinship {
    fn default() -> Kinship {
        Kinship { as_sibling: false, shares_files: false, shares_fs: false, exit_signal: libc::SIGCHLD }
    }
}

/// Starts a copy of this process under the pid `pid`; returns 0 in the copy.
/// The process must be single-threaded, so that no lock is held by a thread that does not exist in the copy.
///
/// # Errors
/// EEXIST: the pid is taken; EINVAL: it is beyond pid_max; EPERM: CAP_CHECKPOINT_RESTORE is missing.
///
/// # References
/// clone3(2), `set_tid` (Linux 5.5).
pub fn fork_as(pid: i32, kinship: Kinship) -> io::Result<i32> {
    let flag = |set: bool, flag: i32| if set { flag } else { 0 };
    let flags = flag(kinship.as_sibling, libc::CLONE_PARENT)
        | flag(kinship.shares_files, libc::CLONE_FILES)
        | flag(kinship.shares_fs, libc::CLONE_FS);
    // The kernel refuses an exit signal beside CLONE_PARENT: the sibling inherits the creator's.
    let exit_signal = if kinship.as_sibling { 0 } else { kinship.exit_signal };
    let until = std::time::Instant::now() + BECOMES_FREE_WITHIN;
    loop {
        match clone_as(pid, flags, exit_signal) {
            // The kernel lets nobody see the task any more before its number is free.
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) && !has_task(pid) && std::time::Instant::now() < until => {
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            done => return done,
        }
    }
}

/// As [`fork_as`], by a copy of this process that ends at once: the new process is another's child, not even this one's if it
/// adopts orphans.
pub fn fork_orphan_as(pid: i32, kinship: Kinship) -> io::Result<i32> {
    let adopts = rustix::process::child_subreaper().is_ok_and(|v| v.is_some());
    prctl(libc::PR_SET_CHILD_SUBREAPER, 0)?;
    // SAFETY: the caller has one thread, so that no lock is held by a thread that does not exist in the copies.
    let forked = match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => match fork_as(pid, kinship) {
            Ok(0) => return Ok(0),
            Ok(_) => exit_now(0),
            // No number of an error is more than what an exit tells.
            Err(e) => exit_now(e.raw_os_error().unwrap_or(libc::EIO)),
        },
        parent => match exit_code(parent)? {
            0 => Ok(pid),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
    };
    prctl(libc::PR_SET_CHILD_SUBREAPER, adopts.into())?;
    forked
}

/// Waits for the end of a child.
fn exit_code(pid: i32) -> io::Result<i32> {
    let options = rustix::process::WaitOptions::empty();
    let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(rustix::process::Pid::from_raw(pid), options))?;
    ended.and_then(|(_, status)| status.exit_status()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// As [`fork_as`], under any free pid but those that are `reserved`.
///
/// # Errors
/// As [`fork_as`]; EEXIST: there is none.
pub fn fork_beside(reserved: impl Fn(i32) -> bool) -> io::Result<i32> {
    const FIRST: i32 = 2;
    let mut last = io::Error::from_raw_os_error(libc::EEXIST);
    for pid in (FIRST..).filter(|pid| !reserved(*pid)) {
        match clone_as(pid, 0, libc::SIGCHLD) {
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => last = e,
            // Beyond the last number.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break,
            done => return done,
        }
    }
    Err(last)
}

/// How long a number that no task has any more may take to become free; the kernel always gets there.
const BECOMES_FREE_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Does a process or a thread have this number?
pub fn has_task(pid: i32) -> bool {
    // A signal 0 reaches processes and threads alike and does nothing.
    let answer = rustix::process::Pid::from_raw(pid).map(rustix::process::test_kill_process);
    !matches!(answer, Some(Err(rustix::io::Errno::SRCH)))
}

/// [`fork_as`] with the flags of clone (CLONE_VM is none of them) and the signal that tells of the copy's end, 0 for none.
pub(super) fn clone_as(pid: i32, flags: i32, exit_signal: i32) -> io::Result<i32> {
    let mut args = libc::clone_args {
        flags: flags as u64,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: exit_signal as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: &raw const pid as u64,
        set_tid_size: 1,
        cgroup: 0,
    };
    // SAFETY: without CLONE_VM the child has its own copy of everything, as after fork.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret as i32) }
}

/// Starts a copy of this (single-threaded) process that runs `f` and ends.
pub fn fork_plain(f: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: the caller has one thread, so that no lock is held by a thread that does not exist in the copy.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            f();
            exit_now(0)
        }
        pid => Ok(pid),
    }
}

/// Runs `f` in a copy of this process and returns the bytes it makes. The copy finishes what it has begun even when this
/// process is killed meanwhile.
///
/// # Errors
/// Those of pipe2 and fork; UnexpectedEof: the copy died.
pub fn run_apart(f: impl FnOnce() -> Vec<u8>) -> io::Result<Vec<u8>> {
    use std::io::{Read, Write};
    let (mut from, mut to) = io::pipe()?;
    // SAFETY: the copy runs `f`, which takes no lock of another thread but the allocator's, which the C library makes
    // usable after fork; it leaves without returning.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            block_signals();
            let bytes = f();
            // A length in front: all of it, or the copy died.
            let len = (bytes.len() as u64).to_le_bytes();
            let told = to.write_all(&len).and_then(|()| to.write_all(&bytes));
            exit_now(i32::from(told.is_err()))
        }
        pid => {
            drop(to);
            let mut bytes = Vec::new();
            let read = from.read_to_end(&mut bytes);
            reap(pid);
            read?;
            match bytes.split_first_chunk::<8>() {
                Some((len, rest)) if u64::from_le_bytes(*len) == rest.len() as u64 => Ok(rest.to_vec()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

/// A pid that is somebody's for the moment: of a process that has ended and was not waited for.
#[derive(Debug)]
pub(crate) struct HeldPid(i32);

/// Makes `pid` exist, where no process has it. The process must be single-threaded.
///
/// # Errors
/// As [`fork_as`].
pub(crate) fn hold_pid(pid: i32) -> io::Result<HeldPid> {
    // Nobody is to be told of its end.
    match clone_as(pid, 0, 0)? {
        0 => exit_now(0),
        _ => Ok(HeldPid(pid)),
    }
}

impl Drop for HeldPid {
    fn drop(&mut self) {
        // SAFETY: no status is asked for; the child is this process's own and has ended or is about to.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL) };
    }
}

/// Ends this process without running any handler, buffer flush or destructor.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Ends this process by `signal`, without a core dump.
pub fn die_by(signal: i32) -> ! {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain calls on this process, which is about to end; the addresses are live locals.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(signal, libc::SIG_DFL);
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::kill(libc::getpid(), signal);
    }
    exit_now(128 + signal)
}

/// Blocks every signal in this thread; returns what was blocked.
pub fn block_signals() -> u64 {
    let all = u64::MAX;
    let mut old = 0_u64;
    // SAFETY: the kernel's signal set is 8 bytes; both locals are.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, &raw mut old, 8) };
    old
}

/// Puts the signal mask back.
pub fn set_signal_mask(mask: u64) {
    // SAFETY: as above, nothing is written.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, 0, 8) };
}

/// Throws away pending signals of this process (blocked, so they wait to be fetched); `set` has bit n - 1 for signal n.
pub fn forget_signals(set: u64) {
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the locals are live; no siginfo is asked for.
    while unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, 0, &raw const zero, 8) } > 0 {}
}

/// A prctl whose arguments are numbers.
///
/// # References
/// prctl(2).
pub fn prctl(option: i32, argument: u64) -> io::Result<i32> {
    prctl_with(option, [argument, 0])
}

/// The same with two arguments.
pub fn prctl_with(option: i32, [first, second]: [u64; 2]) -> io::Result<i32> {
    // SAFETY: options that take addresses are not called through this.
    match unsafe { libc::prctl(option, first, second, 0_u64, 0_u64) } {
        -1 => Err(io::Error::last_os_error()),
        n => Ok(n),
    }
}

/// Does this thread run under seccomp filters?
///
/// # References
/// prctl(2), PR_GET_SECCOMP; a thread in strict mode could not ask.
pub fn is_confined() -> bool {
    prctl(libc::PR_GET_SECCOMP, 0).is_ok_and(|mode| mode != 0)
}

/// Describes this process's address space anew, its executable included.
///
/// # References
/// prctl(2), PR_SET_MM_MAP (Linux 3.18).
pub fn set_mm_map(map: &criu_pie::abi::restorer::MmMap) -> io::Result<()> {
    // SAFETY: the kernel reads the structure and checks it; it changes what /proc shows, no memory.
    let ret =
        unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, std::ptr::from_ref(map), size_of_val(map), 0) };
    if ret == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Where the heap of this process ends.
pub fn current_break() -> u64 {
    // SAFETY: an increment of 0 changes nothing.
    (unsafe { libc::sbrk(0) }) as u64
}

/// Registers this process's address space for a membarrier command.
///
/// # References
/// membarrier(2).
pub fn membarrier(command: i32) -> io::Result<()> {
    // SAFETY: registration takes no address.
    match unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Waits until the child `pid` has ended, leaving it a zombie.
pub fn wait_dead(pid: i32) -> io::Result<()> {
    loop {
        // SAFETY: a zeroed siginfo is valid, and the kernel writes to it only.
        let ret = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid as u32, &raw mut info, libc::WEXITED | libc::WNOWAIT | libc::__WALL)
        };
        if ret == 0 {
            return Ok(());
        }
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
}

/// Reaps the child `pid`, waiting for it; false when it is no child of this process.
pub fn reap(pid: i32) -> bool {
    loop {
        // SAFETY: no status is asked for.
        let ret = unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
        if ret == pid {
            return true;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
}

/// Ends the child `pid` and reaps it.
pub fn end(pid: i32) {
    // SAFETY: integers only; a child that was not waited for keeps its number.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    reap(pid);
}

/// Where the C library registered this thread's restartable-sequences area: address, size, signature.
pub fn own_rseq() -> Option<(u64, u32, u32)> {
    const SIGNATURE: u32 = 0x5305_3053;
    // SAFETY: dlsym only looks names up; the symbols are documented as a ptrdiff_t and an unsigned int that never change.
    unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        let size = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()).cast::<u32>();
        if offset.is_null() || size.is_null() || *size == 0 {
            return None;
        }
        let pointer: u64;
        std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly));
        // The registered size is 32 until the kernel's area outgrows it, whatever part of it is in use.
        Some((pointer.wrapping_add_signed(*offset as i64), (*size).max(32), SIGNATURE))
    }
}

/// Creates a segment of shared anonymous memory: its mapping, and the file behind it.
///
/// # Errors
/// EPERM without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, which /proc/PID/map_files asks for.
pub fn shared_segment(len: u64, flags: i32) -> io::Result<(super::mapping::Mapped, std::fs::File)> {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, flags | libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len as usize, prot, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let at = at as u64;
    let segment = super::mapping::Mapped::inherited(at, len);
    Ok((segment, shared_file(&segment)?))
}

/// The file behind a mapping that shows it from its beginning on, for reading and writing.
///
/// # Errors
/// As `shared_segment`.
pub fn shared_file(segment: &super::mapping::Mapped) -> io::Result<std::fs::File> {
    // Neighbouring segments of the kernel's choice are never merged: each has a file of its own.
    let (start, end) = (segment.start(), segment.start() + segment.len().next_multiple_of(4096));
    std::fs::File::options().read(true).write(true).open(format!("/proc/self/map_files/{start:x}-{end:x}"))
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Takes a descriptor over that was given away by its number.
pub fn own_descriptor(fd: std::os::fd::RawFd) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: callers pass numbers that they let go of themselves (`into_raw_fd`) and that stayed open.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}

/// Reaps the child (or traced process) `pid` if it is dead.
pub fn reap_if_dead(pid: i32) {
    // SAFETY: no status is asked for.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL | libc::WNOHANG) };
}
