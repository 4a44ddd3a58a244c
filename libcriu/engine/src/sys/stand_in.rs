//! Calls by which the kernel notes down who made them (SO_PEERCRED), made by whom it is to name: in the name of this
//! process, or of one that has the pid for the moment and shares this one's descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use super::control::SharedControl;
use super::descriptor::adopt;
use super::spawn::{clone_as, end, exit_now, prctl};
use super::unix::address;

/// Whom the kernel is to name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub pid: i32,
    /// Effective ids.
    pub uid: u32,
    pub gid: u32,
    /// In ascending order, as the kernel keeps them.
    pub groups: Vec<u32>,
}

impl Identity {
    pub(crate) fn own() -> io::Result<Self> {
        let groups = rustix::process::getgroups()?.iter().map(|g| g.as_raw()).collect();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(Identity { pid: std::process::id() as i32, uid, gid, groups })
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call<'a> {
    /// Two sockets of a type, close-on-exec.
    Pair(i32),
    Listen(BorrowedFd<'a>, i32),
    /// To a name as the kernel has it.
    Connect(BorrowedFd<'a>, &'a [u8]),
}

/// The two descriptors of a pair; nothing of other calls.
pub(crate) type Made = Option<(OwnedFd, OwnedFd)>;

/// A call in plain numbers and bytes: it is made where nothing may be allocated.
#[derive(Debug)]
#[repr(C)]
struct Page {
    turn: AtomicU32,
    what: AtomicU32,
    fd: AtomicI32,
    number: AtomicI32,
    /// 0, or an errno.
    result: AtomicI32,
    made: [AtomicI32; 2],
    address: [AtomicU8; ADDRESS_BYTES],
}

const ADDRESS_BYTES: usize = size_of::<libc::sockaddr_un>();
const PAGE_BYTES: usize = 4096;
const ASKED: u32 = 1;
const ANSWERED: u32 = 2;
const PAIR: u32 = 0;
const LISTEN: u32 = 1;
const CONNECT: u32 = 2;

impl Page {
    const fn new() -> Self {
        Page {
            turn: AtomicU32::new(0),
            what: AtomicU32::new(0),
            fd: AtomicI32::new(-1),
            number: AtomicI32::new(0),
            result: AtomicI32::new(0),
            made: [const { AtomicI32::new(-1) }; 2],
            address: [const { AtomicU8::new(0) }; ADDRESS_BYTES],
        }
    }

    fn ask(&self, call: Call<'_>) -> io::Result<()> {
        let (what, fd, number) = match call {
            Call::Pair(kind) => (PAIR, -1, kind),
            Call::Listen(fd, backlog) => (LISTEN, fd.as_raw_fd(), backlog),
            Call::Connect(fd, name) => {
                let (address, len) = address(name)?;
                let at = (&raw const address).cast::<u8>();
                for (i, to) in self.address.iter().enumerate() {
                    // SAFETY: `address` is a live structure of as many bytes as the page has room for.
                    to.store(unsafe { *at.add(i) }, Ordering::Relaxed);
                }
                (CONNECT, fd.as_raw_fd(), len as i32)
            }
        };
        self.what.store(what, Ordering::Relaxed);
        self.fd.store(fd, Ordering::Relaxed);
        self.number.store(number, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the call that was asked for. Allocates nothing, takes no lock.
    fn perform(&self) {
        let (fd, number) = (self.fd.load(Ordering::Relaxed), self.number.load(Ordering::Relaxed));
        let mut made = [-1; 2];
        // SAFETY: the pair is written to a live array; the address is `number` bytes of the page, which are at least as many.
        let ret = unsafe {
            match self.what.load(Ordering::Relaxed) {
                PAIR => libc::socketpair(libc::AF_UNIX, number | libc::SOCK_CLOEXEC, 0, made.as_mut_ptr()),
                LISTEN => libc::listen(fd, number),
                _ => libc::connect(fd, self.address.as_ptr().cast(), number as u32),
            }
        };
        // SAFETY: the address of this thread's errno is always valid.
        let errno = if ret < 0 { unsafe { *libc::__errno_location() } } else { 0 };
        self.result.store(errno, Ordering::Relaxed);
        for (to, fd) in self.made.iter().zip(made) {
            to.store(fd, Ordering::Relaxed);
        }
    }

    fn outcome(&self) -> io::Result<()> {
        match self.result.load(Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn answer(&self) -> io::Result<Made> {
        self.outcome()?;
        let [a, b] = self.made.each_ref().map(|fd| fd.load(Ordering::Relaxed));
        Ok((a >= 0 && b >= 0).then(|| (adopt(a), adopt(b))))
    }
}

/// Makes a call as this process is.
pub(crate) fn call(call: Call<'_>) -> io::Result<Made> {
    let page = Page::new();
    page.ask(call)?;
    page.perform();
    page.answer()
}

/// Makes a call with this thread's pid and the other rights of `who`, for the moment.
///
/// # Errors
/// EPERM without CAP_SETUID and CAP_SETGID; those of the call.
pub(crate) fn call_with_rights(who: &Identity, what: Call<'_>) -> io::Result<Made> {
    let own = Identity::own()?;
    // A change of rights clears the first of these, and may change the second.
    let mut signal = 0_i32;
    // SAFETY: the option writes one int.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    let (parent, dumpable) = (rustix::process::getppid(), prctl(libc::PR_GET_DUMPABLE, 0)?);
    let bits = prctl(libc::PR_GET_SECUREBITS, 0)?;
    // Capabilities are kept on the way. Without the right to say so, those in effect are back afterwards.
    let keeps = prctl(libc::PR_SET_SECUREBITS, bits as u64 | SECBIT_NO_SETUID_FIXUP).is_ok();
    let made = take_rights(who).and_then(|()| call(what));
    let back = take_rights(&own);
    if keeps {
        prctl(libc::PR_SET_SECUREBITS, bits as u64)?;
    }
    back?;
    if dumpable == 1 {
        prctl(libc::PR_SET_DUMPABLE, 1)?;
    }
    if signal != 0 {
        prctl(libc::PR_SET_PDEATHSIG, signal as u64)?;
        if rustix::process::getppid() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    made
}

const SECBIT_NO_SETUID_FIXUP: u64 = 1 << 2;
const KEEP: u32 = u32::MAX;

/// Are these the groups of this thread? Some user namespaces let nobody set any. False for more than are looked at here.
fn has_groups(groups: &[u32]) -> bool {
    let mut now = [0_u32; 16];
    // SAFETY: the buffer has room for as many as are asked for.
    let count = unsafe { libc::syscall(libc::SYS_getgroups, now.len(), now.as_mut_ptr()) };
    usize::try_from(count).ok().and_then(|n| now.get(..n)) == Some(groups)
}

/// Effective ids and groups of this thread. Allocates nothing, takes no lock.
fn take_rights(who: &Identity) -> io::Result<()> {
    let check = |ret: i64| if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: plain system calls (those of the C library would change every thread); the list is live.
    unsafe {
        // On the way back only root may do the rest.
        if who.uid == 0 {
            check(libc::syscall(libc::SYS_setresuid, KEEP, 0_u32, KEEP))?;
        }
        if !has_groups(&who.groups) {
            check(libc::syscall(libc::SYS_setgroups, who.groups.len(), who.groups.as_ptr()))?;
        }
        check(libc::syscall(libc::SYS_setresgid, KEEP, who.gid, KEEP))?;
        check(libc::syscall(libc::SYS_setresuid, KEEP, who.uid, KEEP))
    }
}

/// A process that makes calls in the name of somebody who is not there: it has the pid, and shares descriptors.
#[derive(Debug)]
pub(crate) struct StandIn {
    pid: i32,
    page: *const Page,
    /// The process whose child it is.
    parent: u32,
}

impl StandIn {
    /// # Errors
    /// EEXIST: the pid is taken; EINVAL: there is no such pid; EPERM: a right to choose pids or ids is missing.
    ///
    /// # References
    /// clone3(2), `set_tid` (Linux 5.5)
    pub(crate) fn start(who: &Identity) -> io::Result<Self> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), PAGE_BYTES, prot, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut made = StandIn { pid: 0, page: at.cast(), parent: std::process::id() };
        // Nobody is to be told of its end. It runs `serve` alone, which takes no lock that another thread could have had.
        match clone_as(who.pid, libc::CLONE_FILES, 0)? {
            0 => serve(made.page(), who, made.parent),
            pid => {
                made.pid = pid;
                made.page().turn.compare_exchange(0, ASKED, Ordering::SeqCst, Ordering::SeqCst).ok();
                made.wait()?;
                made.page().outcome()?;
                Ok(made)
            }
        }
    }

    pub(crate) fn call(&self, call: Call<'_>) -> io::Result<Made> {
        let page = self.page();
        page.ask(call)?;
        page.turn.store(ASKED, Ordering::SeqCst);
        SharedControl::wake(&page.turn);
        self.wait()?;
        page.answer()
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped for the life of `self`, longer than a `Page`, and zero-filled at first, which is a valid one.
        unsafe { &*self.page }
    }

    fn wait(&self) -> io::Result<()> {
        while self.page().turn.load(Ordering::SeqCst) == ASKED {
            SharedControl::wait(&self.page().turn, ASKED, Duration::from_millis(100));
            // SAFETY: signal 0 is none; a zeroed siginfo is valid, and the kernel writes to it only.
            let ended = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
                libc::waitid(libc::P_PID, self.pid as u32, &raw mut info, flags) == 0 && info.si_pid() != 0
            };
            if ended && self.page().turn.load(Ordering::SeqCst) == ASKED {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if self.parent != std::process::id() {
            return;
        }
        if self.pid != 0 {
            end(self.pid);
        }
        // SAFETY: the page is used by nobody else then.
        unsafe { libc::munmap(self.page.cast_mut().cast(), PAGE_BYTES) };
    }
}

/// The stand-in's life: ended by its parent, or with it.
fn serve(page: &Page, who: &Identity, parent: u32) -> ! {
    // SAFETY: plain calls with integer arguments.
    let bits = unsafe { libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) };
    if bits >= 0 {
        // It may have to reach files that only the engine can.
        prctl(libc::PR_SET_SECUREBITS, bits as u64 | SECBIT_NO_SETUID_FIXUP).ok();
    }
    let result = take_rights(who);
    // After the change of rights, which would clear it.
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).ok();
    if rustix::process::getppid().map(|p| p.as_raw_nonzero().get()) != Some(parent as i32) {
        exit_now(1);
    }
    page.result.store(result.err().and_then(|e| e.raw_os_error()).unwrap_or(0), Ordering::Relaxed);
    loop {
        page.turn.store(ANSWERED, Ordering::SeqCst);
        SharedControl::wake(&page.turn);
        while page.turn.load(Ordering::SeqCst) != ASKED {
            SharedControl::wait(&page.turn, ANSWERED, Duration::from_secs(10));
        }
        page.perform();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::peer::{credentials, groups};

    #[test]
    fn the_kernel_names_the_stand_in() {
        let who = Identity { pid: 32_123, uid: 1234, gid: 2345, groups: vec![7, 99] };
        let made = StandIn::start(&who).map(|s| (s.call(Call::Pair(libc::SOCK_STREAM)), s.call(Call::Pair(77))));
        let (pair, refused) = match made {
            // Without the right, or somebody has the pid.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::EEXIST)) => return,
            other => other.unwrap(),
        };
        let (a, b) = pair.unwrap().unwrap();
        for fd in [&a, &b] {
            let told = credentials(fd).unwrap();
            assert_eq!((told.pid, told.uid, told.gid), (32_123, 1234, 2345));
            assert_eq!(groups(fd).unwrap(), [7, 99]);
        }
        assert!(refused.is_err());
        assert!(!std::path::Path::new("/proc/32123").exists());
    }

    #[test]
    fn rights_for_the_moment() {
        let own = Identity::own().unwrap();
        let who = Identity { uid: 1234, gid: 2345, groups: vec![5], ..own.clone() };
        let (a, _b) = match call_with_rights(&who, Call::Pair(libc::SOCK_DGRAM)) {
            Err(e) if e.raw_os_error() == Some(libc::EPERM) => return,
            other => other.unwrap().unwrap(),
        };
        let told = credentials(a.as_fd()).unwrap();
        assert_eq!((told.pid, told.uid, told.gid), (own.pid, 1234, 2345));
        assert_eq!(Identity::own().unwrap(), own);
    }
}
