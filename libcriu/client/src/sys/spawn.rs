//! Starts a worker with vfork semantics: the host's memory is not copied, however large, and none of its locks, handlers
//! or descriptors reach the worker.
//!
//! The child shares the host's memory until it executes, so everything it needs is prepared beforehand, and it makes
//! nothing but system calls. An orphan is started by a child in between that ends at once: the worker is then no child of
//! the host, so neither its `wait(-1)` nor its SIGCHLD handler ever meets it. The one in between has no exit signal,
//! which hides it from both, too. (exec resets a process's exit signal to SIGCHLD, so hiding the worker itself that way
//! does not work.)

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

/// What is executed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exec<'a> {
    Path(&'a CStr),
    /// An open file. When it may not be executed (EACCES) and there is a loader, `loader /proc/self/fd/N` is.
    File(BorrowedFd<'a>, Option<&'a CStr>),
}

/// Whose child the worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The host's.
    Child,
    /// That of the nearest reaper of orphans.
    Orphan,
}

#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) exec: Exec<'a>,
    /// Arguments after the program's name.
    pub(crate) args: &'a [CString],
    pub(crate) environment: &'a [CString],
    /// The only descriptor above 2 that the worker inherits.
    pub(crate) connection: BorrowedFd<'a>,
    pub(crate) relation: Relation,
    /// The worker leaves the host's session and process group. Otherwise it would, until it is collected, keep their
    /// numbers taken, and a host that dumped itself could not be restored that long.
    pub(crate) new_session: bool,
}

const STACK_BYTES: usize = 64 << 10;
/// Sized for the kernel, not for libc's sigset_t.
const KERNEL_SIGSET_BYTES: usize = 8;
const SIGNALS: c_int = 64;
const CAP_VERSION_3: u32 = 0x2008_0522;

/// All that the child reads and writes, in the memory it shares with the host.
struct Shared {
    path: *const c_char,
    file: c_int,
    loader: *const c_char,
    argv: *const *const c_char,
    loader_argv: *const *const c_char,
    envp: *const *const c_char,
    connection: c_int,
    raise_caps: bool,
    new_session: bool,
    inner_stack: *mut c_void,
    worker: c_int,
    errno: c_int,
}

/// Starts the program and returns its pid once it executes.
///
/// # Errors
/// It could not be created or executed.
pub(crate) fn spawn(launch: &Launch<'_>) -> io::Result<i32> {
    let stacks = Stacks::new()?;
    let argv = pointers([c"criu"].into_iter().chain(launch.args.iter().map(CString::as_c_str)));
    let envp = pointers(launch.environment.iter().map(CString::as_c_str));
    let mut shared = Shared {
        path: ptr::null(),
        file: -1,
        loader: ptr::null(),
        argv: argv.as_ptr(),
        loader_argv: ptr::null(),
        envp: envp.as_ptr(),
        connection: launch.connection.as_raw_fd(),
        raise_caps: !rustix::process::geteuid().is_root(),
        new_session: launch.new_session,
        inner_stack: stacks.top(1),
        worker: 0,
        errno: 0,
    };
    let loaded;
    let loader_argv;
    match launch.exec {
        Exec::Path(path) => shared.path = path.as_ptr(),
        Exec::File(file, loader) => {
            shared.file = file.as_raw_fd();
            if let Some(loader) = loader {
                loaded = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                let rest = launch.args.iter().map(CString::as_c_str);
                loader_argv = pointers([loader, loaded.as_c_str()].into_iter().chain(rest));
                shared.loader = loader.as_ptr();
                shared.loader_argv = loader_argv.as_ptr();
            }
        }
    }
    let entry = match launch.relation {
        Relation::Child => execute as extern "C" fn(*mut c_void) -> c_int,
        Relation::Orphan => execute_in_child,
    };
    let data = (&raw mut shared).cast::<c_void>();
    let mask = block_all();
    // SAFETY: `data`, what it points to and the stacks live until clone returns; CLONE_VFORK holds this thread until the
    // child has executed or ended. No exit signal: see the module.
    let child = unsafe { libc::clone(entry, stacks.top(0), libc::CLONE_VM | libc::CLONE_VFORK, data) };
    let failure = io::Error::last_os_error();
    if child > 0 && launch.relation == Relation::Orphan {
        super::wait_blocking(child);
    }
    set_mask(&mask);
    if child < 0 {
        return Err(failure);
    }
    // SAFETY: `shared` is alive; the child wrote to it through `data` before this thread went on.
    let (worker, errno) =
        unsafe { ((&raw const shared.worker).read_volatile(), (&raw const shared.errno).read_volatile()) };
    if errno != 0 {
        if launch.relation == Relation::Child {
            super::wait_blocking(child);
        }
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok(if launch.relation == Relation::Child { child } else { worker })
}

fn pointers<'a>(strings: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    strings.map(CStr::as_ptr).chain([ptr::null()]).collect()
}

/// The child in between: starts the worker and ends.
extern "C" fn execute_in_child(data: *mut c_void) -> c_int {
    let shared = data.cast::<Shared>();
    // SAFETY: `data` is the host's `Shared`, which waits in clone (see `spawn`). The second stack is used by nobody else.
    unsafe {
        let worker = libc::clone(execute, (*shared).inner_stack, libc::CLONE_VM | libc::CLONE_VFORK, data);
        if worker < 0 {
            (*shared).errno = *libc::__errno_location();
        } else {
            (*shared).worker = worker;
        }
    }
    0
}

/// The worker before it executes. It shares the host's memory: system calls only.
extern "C" fn execute(data: *mut c_void) -> c_int {
    let shared = data.cast::<Shared>();
    // SAFETY: `data` is the host's `Shared`, which waits in clone (see `spawn`); every pointer in it was made there and
    // is NULL or a terminated string or array. Handlers and mask are this process's own: CLONE_SIGHAND was not given.
    unsafe {
        default_signals();
        keep_only((*shared).connection);
        if (*shared).new_session {
            libc::syscall(libc::SYS_setsid);
        }
        if (*shared).raise_caps {
            keep_capabilities();
        }
        let (argv, envp) = ((*shared).argv, (*shared).envp);
        if (*shared).path.is_null() {
            libc::syscall(libc::SYS_execveat, (*shared).file, c"".as_ptr(), argv, envp, libc::AT_EMPTY_PATH);
            if *libc::__errno_location() == libc::EACCES && !(*shared).loader.is_null() {
                libc::syscall(libc::SYS_fcntl, (*shared).file, libc::F_SETFD, 0);
                libc::syscall(libc::SYS_execve, (*shared).loader, (*shared).loader_argv, envp);
            }
        } else {
            libc::syscall(libc::SYS_execve, (*shared).path, argv, envp);
        }
        (*shared).errno = *libc::__errno_location();
    }
    127
}

/// Makes a forked copy of the host what an executed worker is: default signals, no descriptor but 0-2 and the connection.
pub(super) fn become_worker(connection: &OwnedFd) {
    default_signals();
    let kept = connection.as_raw_fd() as c_long;
    // SAFETY: closes descriptors that only code of the host's knows, none of which runs here any more.
    unsafe {
        if kept > 3 {
            libc::syscall(libc::SYS_close_range, 3 as c_long, kept - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, kept + 1, u32::MAX as c_long, 0);
    }
}

/// The kernel's `struct sigaction`.
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// Every disposition to default, then nothing blocked.
fn default_signals() {
    let default = KernelAction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    for signal in 1..=SIGNALS {
        // SAFETY: `default` outlives the call. EINVAL for SIGKILL and SIGSTOP.
        unsafe {
            let old = ptr::null_mut::<c_void>();
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, old, KERNEL_SIGSET_BYTES)
        };
    }
    set_mask(&0);
}

/// Marks every descriptor above 2 close-on-exec, except the connection.
fn keep_only(connection: c_int) {
    const CLOSE_RANGE_CLOEXEC: c_long = 4;
    // SAFETY: touches no memory but `limit`, which outlives its call.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 3 as c_long, u32::MAX as c_long, CLOSE_RANGE_CLOEXEC) != 0 {
            // Before Linux 5.11.
            let mut limit = libc::rlimit64 { rlim_cur: 1024, rlim_max: 0 };
            libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, ptr::null::<c_void>(), &raw mut limit);
            let mut fd = 3;
            while fd < limit.rlim_cur.min(1 << 20) {
                libc::syscall(libc::SYS_fcntl, fd as c_long, libc::F_SETFD, libc::FD_CLOEXEC);
                fd += 1;
            }
        }
        libc::syscall(libc::SYS_fcntl, connection, libc::F_SETFD, 0);
    }
}

/// Carries the permitted capabilities of a host that is not root through the exec: the worker may do what its host may.
fn keep_capabilities() {
    const PR_CAP_AMBIENT: c_int = 47;
    const PR_CAP_AMBIENT_RAISE: c_int = 2;
    let header: [u32; 2] = [CAP_VERSION_3, 0];
    // Two of {effective, permitted, inheritable}.
    let mut data = [0u32; 6];
    // SAFETY: header and data are as capget(2) wants them and outlive the calls.
    unsafe {
        if libc::syscall(libc::SYS_capget, &raw const header, &raw mut data) != 0 || data[1] | data[4] == 0 {
            return;
        }
        data[2] |= data[1];
        data[5] |= data[4];
        libc::syscall(libc::SYS_capset, &raw const header, &raw const data);
        let permitted = u64::from(data[1]) | u64::from(data[4]) << 32;
        let mut cap = 0;
        while cap < 64 {
            if permitted >> cap & 1 != 0 {
                libc::syscall(libc::SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap as c_long, 0, 0);
            }
            cap += 1;
        }
    }
}

/// Blocks every signal, those of libc's own threads included; returns the mask there was.
fn block_all() -> u64 {
    let all = u64::MAX;
    let mut old = 0u64;
    // SAFETY: both masks outlive the call and have the kernel's size.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, &raw mut old, KERNEL_SIGSET_BYTES)
    };
    old
}

fn set_mask(mask: &u64) {
    // SAFETY: the mask outlives the call and has the kernel's size.
    unsafe {
        let old = ptr::null_mut::<u64>();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, ptr::from_ref(mask), old, KERNEL_SIGSET_BYTES)
    };
}

/// Two stacks, each with a guard page below it.
struct Stacks {
    base: NonNull<c_void>,
    guard_bytes: usize,
}

impl Stacks {
    fn new() -> io::Result<Self> {
        let guard_bytes = rustix::param::page_size();
        let len = 2 * (STACK_BYTES + guard_bytes);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let base = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
            libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let stacks = Stacks { base, guard_bytes };
        for n in 0..2 {
            // SAFETY: the upper part of one half of the mapping just made.
            let r = unsafe {
                let start = stacks.top(n).byte_sub(STACK_BYTES);
                libc::mprotect(start, STACK_BYTES, libc::PROT_READ | libc::PROT_WRITE)
            };
            if r != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(stacks)
    }

    /// Where stack `n` begins; it grows downwards.
    fn top(&self, n: usize) -> *mut c_void {
        // SAFETY: n < 2, so this is within the mapping or right behind it.
        unsafe { self.base.as_ptr().byte_add((n + 1) * (STACK_BYTES + self.guard_bytes)) }
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; whoever ran on it has executed or ended.
        unsafe { libc::munmap(self.base.as_ptr(), 2 * (STACK_BYTES + self.guard_bytes)) };
    }
}
