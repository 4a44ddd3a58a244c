//! Sleeping in system calls: each must end as if nobody had looked, none with EINTR.

use std::io::Error;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use super::Verdict;

const MS: u64 = 800;
const NAP: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: MS as i64 * 1_000_000 };

fn expect(what: &str, ret: i64, wanted: i64) -> Verdict {
    if ret == wanted { Ok(()) } else { Err(format!("{what} gave {ret}, not {wanted}: {}", Error::last_os_error())) }
}

fn pipe() -> [i32; 2] {
    let mut fds = [0; 2];
    // SAFETY: two ints to fill.
    assert_eq!(unsafe { libc::pipe(fds.as_mut_ptr()) }, 0);
    fds
}

/// A child that does something after the nap.
fn child(then: impl Fn()) {
    // SAFETY: the process has one thread; the child only sleeps, does one system call and exits.
    unsafe {
        if libc::fork() == 0 {
            libc::nanosleep(&NAP, null_mut());
            then();
            libc::_exit(0);
        }
    }
}

extern "C" fn on_alarm(_: i32) {}

fn alarm_later() {
    // SAFETY: the handler does nothing; all structures are valid.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as extern "C" fn(i32) as usize;
        libc::sigaction(libc::SIGALRM, &action, null_mut());
        let timer = libc::itimerval {
            it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
            it_value: libc::timeval { tv_sec: 0, tv_usec: MS as i64 * 1000 },
        };
        libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &timer, 0);
    }
}

fn blocked(signal: i32) -> libc::sigset_t {
    // SAFETY: the sets are valid memory.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut set, signal);
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_BLOCK, &set, &mut old);
        old
    }
}

fn interrupted(what: &str, ret: i64) -> Verdict {
    let errno = Error::last_os_error().raw_os_error();
    if ret == -1 && errno == Some(libc::EINTR) { Ok(()) } else { Err(format!("{what} gave {ret}, {errno:?}")) }
}

fn failed_with(what: &str, ret: i64, wanted: i32) -> Verdict {
    let errno = Error::last_os_error().raw_os_error();
    if ret == -1 && errno == Some(wanted) { Ok(()) } else { Err(format!("{what} gave {ret}, {errno:?}")) }
}

pub fn run(kind: &str) -> Verdict {
    // SAFETY: getpid has no arguments. Nothing is buffered before `ready`.
    let (fds, word) = (pipe(), shared_word());
    prepare(kind, fds, word);
    super::ready();
    let begin = Instant::now();
    sleep(kind, fds, word)?;
    let took = begin.elapsed();
    // Calls whose timeout the kernel does not keep across a stop start it anew; the alarm may come while it is stopped.
    let slack = if matches!(kind, "epoll_wait" | "sigtimedwait" | "semtimedop" | "pause") { 1500 } else { 400 };
    let wanted = Duration::from_millis(MS);
    if took < wanted - Duration::from_millis(60) || took > wanted + Duration::from_millis(slack) {
        return Err(format!("{kind} took {took:?}"));
    }
    Ok(())
}

fn shared_word() -> *mut u32 {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping.
    unsafe { libc::mmap(null_mut(), 4096, prot, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0).cast() }
}

fn prepare(kind: &str, fds: [i32; 2], word: *mut u32) {
    match kind {
        // SAFETY: a byte that lives long enough.
        "read" => child(|| unsafe {
            libc::write(fds[1], b"x".as_ptr().cast(), 1);
        }),
        "wait4" => child(|| ()),
        // SAFETY: the word is mapped.
        "futex" => child(|| unsafe {
            libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, 1);
        }),
        "pause" => alarm_later(),
        "sigsuspend" => {
            blocked(libc::SIGALRM);
            alarm_later();
        }
        _ => {}
    }
}

fn sleep(kind: &str, fds: [i32; 2], word: *mut u32) -> Verdict {
    let mut pollfd = libc::pollfd { fd: fds[0], events: libc::POLLIN, revents: 0 };
    // SAFETY: an empty set of signals and descriptors is all zeros.
    let (mut none, mut set): (libc::sigset_t, libc::fd_set) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: every pointer below is to a live variable of the type that the call takes.
    unsafe {
        libc::FD_SET(fds[0], &mut set);
        match kind {
            "nanosleep" => expect(kind, libc::nanosleep(&NAP, null_mut()).into(), 0),
            "nanosleep_abs" => {
                let mut until: libc::timespec = std::mem::zeroed();
                libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut until);
                until.tv_nsec += NAP.tv_nsec;
                until.tv_sec += until.tv_nsec / 1_000_000_000;
                until.tv_nsec %= 1_000_000_000;
                let ret = libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &until, null_mut());
                expect(kind, ret.into(), 0)
            }
            "poll" => expect(kind, libc::poll(&mut pollfd, 1, MS as i32).into(), 0),
            "ppoll" => {
                libc::sigaddset(&mut none, libc::SIGUSR2);
                expect(kind, libc::ppoll(&mut pollfd, 1, &NAP, &none).into(), 0)
            }
            "select" => {
                let mut time = libc::timeval { tv_sec: 0, tv_usec: MS as i64 * 1000 };
                expect(kind, libc::select(fds[0] + 1, &mut set, null_mut(), null_mut(), &mut time).into(), 0)
            }
            "pselect" => {
                let ret = libc::pselect(fds[0] + 1, &mut set, null_mut(), null_mut(), &NAP, &none);
                expect(kind, ret.into(), 0)
            }
            "epoll_wait" => {
                let mut event: libc::epoll_event = std::mem::zeroed();
                expect(kind, libc::epoll_wait(libc::epoll_create1(0), &mut event, 1, MS as i32).into(), 0)
            }
            "futex_timeout" => {
                let op = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
                failed_with(kind, libc::syscall(libc::SYS_futex, word, op, 0, &NAP), libc::ETIMEDOUT)
            }
            "futex" => expect(kind, libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, 0, null::<u8>()), 0),
            "read" => expect(kind, libc::read(fds[0], (&raw mut none).cast(), 1) as i64, 1),
            "wait4" => {
                let mut status = -1;
                let ret = libc::waitpid(-1, &mut status, 0);
                if ret > 0 && status == 0 { Ok(()) } else { Err(format!("wait4 gave {ret}")) }
            }
            "sigtimedwait" => {
                blocked(libc::SIGUSR2);
                libc::sigaddset(&mut none, libc::SIGUSR2);
                failed_with(kind, libc::sigtimedwait(&none, null_mut(), &NAP).into(), libc::EAGAIN)
            }
            "semtimedop" => semaphore(),
            "pause" => interrupted(kind, libc::pause().into()),
            "sigsuspend" => interrupted(kind, libc::sigsuspend(&none).into()),
            other => Err(format!("no such sleep: {other}")),
        }
    }
}

fn semaphore() -> Verdict {
    // SAFETY: the structures live during the calls.
    unsafe {
        let id = libc::semget(libc::IPC_PRIVATE, 1, 0o600);
        let mut op = libc::sembuf { sem_num: 0, sem_op: -1, sem_flg: 0 };
        let ret = libc::syscall(libc::SYS_semtimedop, id, &mut op, 1, &NAP);
        let verdict = failed_with("semtimedop", ret, libc::EAGAIN);
        libc::semctl(id, 0, libc::IPC_RMID);
        verdict
    }
}
