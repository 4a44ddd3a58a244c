//! The ptrace requests as typed functions. A tracer is a *thread*: all of them have to be called by the one that seized.

use std::ffi::c_void;
use std::io;
use std::ptr;

use crate::error::{Error, Kind, Result};

/// General registers, `orig_rax` included.
pub type Regs = libc::user_regs_struct;

const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;
const PTRACE_SECCOMP_GET_METADATA: libc::c_uint = 0x420d;
const PTRACE_O_TRACESYSGOOD: usize = 1;
const PTRACE_O_TRACECLONE: usize = 1 << 3;
const PTRACE_O_EXITKILL: usize = 1 << 20;
const PTRACE_O_SUSPEND_SECCOMP: usize = 1 << 21;
const NT_X86_XSTATE: usize = 0x202;
/// Longer than the area of most processors: memory for the longest of all would be got from the kernel, and given back.
const XSTATE_USUAL_BYTES: usize = 4 << 10;
/// Larger than any xsave area there is (AMX tiles make about 11 KiB).
const XSTATE_MAX_BYTES: usize = 64 << 10;
const SIGINFO_BYTES: usize = 128;

/// A `siginfo_t` as the kernel keeps it.
pub type RawSiginfo = [u8; SIGINFO_BYTES];

/// What a tracee is seized with; TRACESYSGOOD is always set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeizeOptions {
    /// The tracee dies with its tracer.
    pub exit_kill: bool,
    /// Seccomp is not in force while it is traced; takes CAP_SYS_ADMIN (Linux 4.3).
    pub suspend_seccomp: bool,
}

impl SeizeOptions {
    fn bits(self) -> usize {
        let mut bits = PTRACE_O_TRACESYSGOOD;
        if self.exit_kill {
            bits |= PTRACE_O_EXITKILL;
        }
        if self.suspend_seccomp {
            bits |= PTRACE_O_SUSPEND_SECCOMP;
        }
        bits
    }
}

fn request(tid: i32, request: libc::c_uint, call: &'static str, addr: usize, data: *mut c_void) -> Result<i64> {
    // SAFETY: every caller in this file passes as `data` a value, or a pointer to memory of the size that the request uses,
    // alive during the call.
    let ask = || match unsafe { libc::ptrace(request, tid, addr, data) } {
        -1 => Err(Error::last(tid, call)),
        ret => Ok(ret),
    };
    // A task halfway into or out of an infection is worth a second try. A request that failed has changed nothing.
    ask().or_else(|e| if matches!(e.errno(), libc::ESRCH | libc::EINVAL) { Err(e) } else { ask() })
}

/// PTRACE_SEIZE: attaches without stopping (Linux 3.4).
///
/// # Errors
/// As ptrace(2); `EPERM` also when somebody else traces it or it is dead: see [`crate::status`].
pub fn seize(tid: i32, options: SeizeOptions) -> Result<()> {
    request(tid, libc::PTRACE_SEIZE, "PTRACE_SEIZE", 0, options.bits() as *mut c_void)?;
    Ok(())
}

/// PTRACE_SETOPTIONS. TRACESYSGOOD stays set; `hold_clones`: a process that the tracee clones is traced from its birth on,
/// with the tracee's options.
///
/// # Errors
/// `ESRCH` when it is gone or not stopped, `EPERM` when seccomp may not be suspended.
pub fn set_options(tid: i32, options: SeizeOptions, hold_clones: bool) -> Result<()> {
    let bits = options.bits() | if hold_clones { PTRACE_O_TRACECLONE } else { 0 };
    request(tid, libc::PTRACE_SETOPTIONS, "PTRACE_SETOPTIONS", 0, bits as *mut c_void)?;
    Ok(())
}

/// PTRACE_GETEVENTMSG: of a stop that told of a clone the new process, by its number where the tracer is.
///
/// # Errors
/// `ESRCH` when it is gone or not stopped.
pub fn event_message(tid: i32) -> Result<u64> {
    let mut message: libc::c_ulong = 0;
    request(tid, libc::PTRACE_GETEVENTMSG, "PTRACE_GETEVENTMSG", 0, ptr::from_mut(&mut message).cast())?;
    Ok(message)
}

/// PTRACE_INTERRUPT: the tracee will report an event stop.
///
/// # Errors
/// `ESRCH` when it is gone.
pub fn interrupt(tid: i32) -> Result<()> {
    request(tid, libc::PTRACE_INTERRUPT, "PTRACE_INTERRUPT", 0, ptr::null_mut())?;
    Ok(())
}

/// PTRACE_CONT with a signal to deliver, 0 for none.
///
/// # Errors
/// `ESRCH` when it is gone or not stopped.
pub fn cont(tid: i32, signal: i32) -> Result<()> {
    request(tid, libc::PTRACE_CONT, "PTRACE_CONT", 0, signal as usize as *mut c_void)?;
    Ok(())
}

/// PTRACE_SYSCALL: goes on until the next entry of or exit from a system call.
///
/// # Errors
/// `ESRCH` when it is gone or not stopped.
pub fn cont_to_syscall(tid: i32, signal: i32) -> Result<()> {
    request(tid, libc::PTRACE_SYSCALL, "PTRACE_SYSCALL", 0, signal as usize as *mut c_void)?;
    Ok(())
}

/// PTRACE_DETACH. A group-stopped tracee stays stopped.
///
/// # Errors
/// `ESRCH` when it is gone or not stopped.
pub fn detach(tid: i32) -> Result<()> {
    request(tid, libc::PTRACE_DETACH, "PTRACE_DETACH", 0, ptr::null_mut())?;
    Ok(())
}

/// PTRACE_GETREGS.
///
/// # Errors
/// `ESRCH` when it is gone or not stopped.
pub fn regs(tid: i32) -> Result<Regs> {
    // SAFETY: user_regs_struct is plain integers, for which zero is a value.
    let mut regs: Regs = unsafe { std::mem::zeroed() };
    request(tid, libc::PTRACE_GETREGS, "PTRACE_GETREGS", 0, ptr::from_mut(&mut regs).cast())?;
    Ok(regs)
}

/// PTRACE_SETREGS.
///
/// # Errors
/// `ESRCH` when it is gone or not stopped, `EIO` for values no thread can have.
pub fn set_regs(tid: i32, regs: &Regs) -> Result<()> {
    let mut copy = *regs;
    request(tid, libc::PTRACE_SETREGS, "PTRACE_SETREGS", 0, ptr::from_mut(&mut copy).cast())?;
    Ok(())
}

/// The extended state (x87, SSE and all further components) in the layout of the xsave instruction, not compacted.
///
/// # Errors
/// `ESRCH` when it is gone or not stopped, `ENODEV` on a CPU without xsave.
pub fn xstate(tid: i32) -> Result<Vec<u8>> {
    let bytes = xstate_of_at_most(tid, XSTATE_USUAL_BYTES)?;
    if bytes.len() < XSTATE_USUAL_BYTES { Ok(bytes) } else { xstate_of_at_most(tid, XSTATE_MAX_BYTES) }
}

/// What is longer is cut off.
fn xstate_of_at_most(tid: i32, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::<u8>::with_capacity(most);
    let mut iov = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: most };
    request(tid, libc::PTRACE_GETREGSET, "PTRACE_GETREGSET", NT_X86_XSTATE, ptr::from_mut(&mut iov).cast())?;
    // SAFETY: the kernel has written so many bytes from the beginning on, at most as many as there is room for.
    unsafe { bytes.set_len(iov.iov_len.min(most)) };
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// Sets what [`xstate`] returned.
///
/// # Errors
/// `EINVAL` or `EFAULT` when the state does not fit this CPU.
pub fn set_xstate(tid: i32, bytes: &[u8]) -> Result<()> {
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    request(tid, libc::PTRACE_SETREGSET, "PTRACE_SETREGSET", NT_X86_XSTATE, ptr::from_mut(&mut iov).cast())?;
    Ok(())
}

/// The mask of blocked signals, bit 0 for signal 1. Inside sigsuspend, ppoll and the like it is the mask that comes back afterwards
/// (Linux 3.11).
///
/// # Errors
/// `ESRCH` when it is gone or not stopped.
pub fn sigmask(tid: i32) -> Result<u64> {
    let mut mask = 0_u64;
    request(tid, libc::PTRACE_GETSIGMASK, "PTRACE_GETSIGMASK", 8, ptr::from_mut(&mut mask).cast())?;
    Ok(mask)
}

/// Sets the mask of blocked signals (Linux 3.11).
///
/// # Errors
/// `ESRCH` when it is gone or not stopped.
pub fn set_sigmask(tid: i32, mask: u64) -> Result<()> {
    let mut mask = mask;
    request(tid, libc::PTRACE_SETSIGMASK, "PTRACE_SETSIGMASK", 8, ptr::from_mut(&mut mask).cast())?;
    Ok(())
}

/// The signal that made it stop; `None` in a group stop or event stop without one.
///
/// # Errors
/// `ESRCH` when it is gone or not stopped.
pub fn siginfo(tid: i32) -> Result<Option<RawSiginfo>> {
    let mut info: RawSiginfo = [0; SIGINFO_BYTES];
    match request(tid, libc::PTRACE_GETSIGINFO, "PTRACE_GETSIGINFO", 0, info.as_mut_ptr().cast()) {
        Ok(_) => Ok(Some(info)),
        Err(e) if e.errno() == libc::EINVAL => Ok(None),
        Err(e) => Err(e),
    }
}

/// Has job control stopped the process of this thread, which is in an event stop, or does it do so now?
///
/// # Errors
/// As [`siginfo`].
pub fn is_in_group_stop(tid: i32) -> Result<bool> {
    let Some(info) = siginfo(tid)? else { return Ok(false) };
    let word = |at: usize| i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
    // The status that wait4 gives for the stop.
    let is_event = word(8) >> 8 == PTRACE_EVENT_STOP;
    Ok(is_event && word(0) != libc::SIGTRAP)
}

/// Signals that wait in the thread's own queue, or in that of its process; nothing is taken out (Linux 3.10).
///
/// # Errors
/// `ESRCH` when it is gone or not stopped.
pub fn pending_signals(tid: i32, shared: bool) -> Result<Vec<RawSiginfo>> {
    const BATCH: usize = 32;
    let mut all = Vec::new();
    loop {
        let mut batch = [[0_u8; SIGINFO_BYTES]; BATCH];
        let args = libc::ptrace_peeksiginfo_args { off: all.len() as u64, flags: u32::from(shared), nr: BATCH as i32 };
        let addr = ptr::from_ref(&args) as usize;
        let got = request(tid, libc::PTRACE_PEEKSIGINFO, "PTRACE_PEEKSIGINFO", addr, batch.as_mut_ptr().cast())?;
        let got = usize::try_from(got).unwrap_or(0).min(BATCH);
        all.extend_from_slice(&batch[..got]);
        if got < BATCH {
            return Ok(all);
        }
    }
}

/// Where and how a thread registered restartable sequences.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RseqConfiguration {
    /// 0 when it registered none.
    pub address: u64,
    pub size_bytes: u32,
    pub signature: u32,
    pub flags: u32,
    pub pad: u32,
}

/// PTRACE_GET_RSEQ_CONFIGURATION (Linux 5.13).
///
/// # Errors
/// `EIO` on an older kernel.
pub fn rseq(tid: i32) -> Result<RseqConfiguration> {
    let mut conf = RseqConfiguration::default();
    let call = "PTRACE_GET_RSEQ_CONFIGURATION";
    let size = size_of::<RseqConfiguration>();
    request(tid, libc::PTRACE_GET_RSEQ_CONFIGURATION, call, size, ptr::from_mut(&mut conf).cast())?;
    Ok(conf)
}

/// How a thread has its system calls dispatched to itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyscallUserDispatch {
    /// 0 = off.
    pub mode: u64,
    pub selector: u64,
    pub offset: u64,
    pub len: u64,
}

/// PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG (Linux 6.4).
///
/// # Errors
/// `EIO` on an older kernel.
pub fn syscall_user_dispatch(tid: i32) -> Result<SyscallUserDispatch> {
    let mut conf = SyscallUserDispatch::default();
    let call = "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG";
    let size = size_of::<SyscallUserDispatch>();
    request(tid, libc::PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, call, size, ptr::from_mut(&mut conf).cast())?;
    Ok(conf)
}

/// One seccomp filter of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeccompFilter {
    /// `struct sock_filter`s, eight bytes each.
    pub program: Vec<[u8; 8]>,
    /// SECCOMP_FILTER_FLAG_* it was installed with, as far as the kernel remembers them (LOG).
    pub flags: u64,
}

/// The filter number `index` of the thread, 0 = the one installed first; `None` behind the last (Linux 4.4, flags 4.14).
///
/// # Errors
/// `EACCES` without CAP_SYS_ADMIN or from a tracer under seccomp itself, `EMEDIUMTYPE` for a filter that is no classic program,
/// `EIO` on a kernel without it.
pub fn seccomp_filter(tid: i32, index: usize) -> Result<Option<SeccompFilter>> {
    let call = "PTRACE_SECCOMP_GET_FILTER";
    let len = match request(tid, PTRACE_SECCOMP_GET_FILTER, call, index, ptr::null_mut()) {
        Ok(len) => usize::try_from(len).unwrap_or(0),
        // EINVAL: the thread is in no filter mode at all.
        Err(e) if matches!(e.errno(), libc::ENOENT | libc::EINVAL) => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut program = vec![[0_u8; 8]; len];
    request(tid, PTRACE_SECCOMP_GET_FILTER, call, index, program.as_mut_ptr().cast())?;
    let mut meta = [index as u64, 0];
    let call = "PTRACE_SECCOMP_GET_METADATA";
    request(tid, PTRACE_SECCOMP_GET_METADATA, call, size_of_val(&meta), meta.as_mut_ptr().cast())?;
    Ok(Some(SeccompFilter { program, flags: meta[1] }))
}

/// Head and length of the thread's list of robust futexes.
///
/// # Errors
/// `ESRCH` when it is gone, `EPERM` without the right to trace it.
pub fn robust_list(tid: i32) -> Result<(u64, u64)> {
    let (mut head, mut len) = (0_u64, 0_u64);
    // SAFETY: both pointers are to integers of the size that the kernel writes.
    let ret = unsafe { libc::syscall(libc::SYS_get_robust_list, tid, &raw mut head, &raw mut len) };
    if ret < 0 {
        return Err(Error::last(tid, "get_robust_list"));
    }
    Ok((head, len))
}

/// The same of the list that a thread has registered by the i386 call, which is one of its own.
///
/// # Errors
/// As [`robust_list`]; `ENOSYS` where the kernel knows no such calls, `ENOMEM`.
pub fn robust_list_ia32(tid: i32) -> Result<(u64, u64)> {
    let failed = |errno| Error::os(tid, "get_robust_list", io::Error::from_raw_os_error(errno));
    // SAFETY: a new mapping, where 32 bits of address are enough.
    let page = unsafe {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT);
        libc::mmap(ptr::null_mut(), ROBUST_PAGE_BYTES, access, kind, -1, 0)
    };
    if page == libc::MAP_FAILED {
        return Err(Error::last(tid, "mmap"));
    }
    let words = page.cast::<u32>();
    // SAFETY: the page is there until it is unmapped here; the kernel writes a word at its beginning and the one behind.
    let (ret, found) = unsafe {
        let ret = crate::arch::call_ia32(SYS_GET_ROBUST_LIST_IA32, [tid as u32, words as u32, words.add(1) as u32]);
        let found = (u64::from(words.read_volatile()), u64::from(words.add(1).read_volatile()));
        libc::munmap(page, ROBUST_PAGE_BYTES);
        (ret, found)
    };
    if ret < 0 { Err(failed(-ret)) } else { Ok(found) }
}

const ROBUST_PAGE_BYTES: usize = 4096;
const SYS_GET_ROBUST_LIST_IA32: u32 = 312;

/// The kernel's `struct user_desc`: entry number, base, limit, flags.
pub type ThreadArea = [u32; 4];
/// The entries of a thread's descriptor table that set_thread_area(2) sets.
pub const THREAD_AREAS: std::ops::Range<u32> = 12..15;

/// One of the thread's segments (PTRACE_GET_THREAD_AREA), by its entry of [`THREAD_AREAS`].
///
/// # Errors
/// `ESRCH` when it is gone or not stopped, `EINVAL` for another entry.
pub fn thread_area(tid: i32, entry: u32) -> Result<ThreadArea> {
    let mut area: ThreadArea = [0; 4];
    let call = "PTRACE_GET_THREAD_AREA";
    request(tid, PTRACE_GET_THREAD_AREA, call, entry as usize, area.as_mut_ptr().cast())?;
    Ok(area)
}

const PTRACE_EVENT_STOP: i32 = 128;
const PTRACE_GET_THREAD_AREA: libc::c_uint = 25;

/// What wait4 says about a tracee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// PTRACE_EVENT_STOP with SIGTRAP: interrupted, or told of a change of its group stop.
    Event,
    /// PTRACE_EVENT_STOP with a stop signal: job control has stopped it.
    Group(i32),
    /// Before or after a system call.
    Syscall,
    /// A signal is about to be delivered.
    Signal(i32),
    /// Any other PTRACE_EVENT_*.
    Other(i32),
    /// It exited (status) ...
    Exited(i32),
    /// ... or was killed (signal), or another thread called execve: nothing is left to trace.
    Killed(i32),
}

impl Stop {
    fn decode(status: i32) -> Stop {
        if libc::WIFEXITED(status) {
            return Stop::Exited(libc::WEXITSTATUS(status));
        }
        if libc::WIFSIGNALED(status) {
            return Stop::Killed(libc::WTERMSIG(status));
        }
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Stop::Event,
            PTRACE_EVENT_STOP => Stop::Group(signal),
            0 if signal == libc::SIGTRAP | 0x80 => Stop::Syscall,
            0 => Stop::Signal(signal),
            event => Stop::Other(event),
        }
    }
}

/// Looks whether the tracee has something to report. Any stop that is taken here is the caller's to handle.
///
/// # Errors
/// [`Kind::Gone`] when there is no such tracee (any more).
pub fn try_wait(tid: i32, block: bool) -> Result<Option<Stop>> {
    let mut status = 0;
    let flags = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    let mut tries = 0;
    loop {
        // SAFETY: `status` is an int for the kernel to fill.
        let got = unsafe { libc::waitpid(tid, &raw mut status, flags) };
        if got == 0 {
            return Ok(None);
        }
        if got == tid {
            return Ok(Some(Stop::decode(status)));
        }
        let e = io::Error::last_os_error();
        match e.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Err(Error::new(tid, Kind::Gone, "wait4")),
            // It took nothing: a thread that is not waited for now would be lost on its way.
            _ if tries < 2 => tries += 1,
            _ => return Err(Error::os(tid, "wait4", e)),
        }
    }
}
