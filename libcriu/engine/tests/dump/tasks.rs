//! State of one task and of its threads.

use std::sync::{Arc, Barrier};

use criu_engine::{Error, Operator, Phase, Stage};
use criu_images::Kind;
use criu_images::messages::{CoreEntry, FsEntry, SeccompEntry, SeccompMode};

use crate::Plain;
use crate::victim::{Checkpoint, State, Victim};

/// Signals pending, timers, limits, names: set by the calls themselves.
struct Attributes;

const NAME: &[u8; 16] = b"a (strange) one\0";

impl State for Attributes {
    type Held = Vec<u8>;
    fn build() -> Vec<u8> {
        let stack = vec![0u8; 65536];
        // SAFETY: every pointer is to a live value of the type that the call wants.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&mut set, libc::SIGUSR2);
            libc::sigaddset(&mut set, libc::SIGRTMIN() + 1);
            libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            for n in 40..43 {
                let value = libc::sigval { sival_ptr: n as *mut libc::c_void };
                libc::sigqueue(libc::getpid(), libc::SIGRTMIN() + 1, value);
            }
            libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::getpid(), libc::SIGUSR2);
            let time = |s| libc::timeval { tv_sec: s, tv_usec: 0 };
            let it = libc::itimerval { it_interval: time(100), it_value: time(5000) };
            libc::setitimer(libc::ITIMER_REAL, &it, std::ptr::null_mut());
            let mut timer = std::mem::zeroed();
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_signo = libc::SIGUSR2;
            libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer);
            let spec = |s| libc::timespec { tv_sec: s, tv_nsec: 7 };
            let its = libc::itimerspec { it_interval: spec(9), it_value: spec(7000) };
            libc::timer_settime(timer, 0, &its, std::ptr::null_mut());
            let limit = libc::rlimit { rlim_cur: 123, rlim_max: 456 };
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            libc::umask(0o027);
            libc::setpriority(libc::PRIO_PROCESS, 0, 3);
            libc::prctl(libc::PR_SET_NAME, NAME.as_ptr());
            libc::prctl(libc::PR_SET_TIMERSLACK, 77_777);
            libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
            libc::sigaltstack(
                &libc::stack_t { ss_sp: stack.as_ptr() as *mut libc::c_void, ss_flags: 0, ss_size: 65536 },
                std::ptr::null_mut(),
            );
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = libc::SIG_IGN;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGWINCH, &action, std::ptr::null_mut());
        }
        stack
    }
    fn check(_stack: Vec<u8>) -> bool {
        // SAFETY: as above.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&mut set, libc::SIGRTMIN() + 1);
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            (40..43).all(|n| {
                libc::sigtimedwait(&set, &mut info, &none) == libc::SIGRTMIN() + 1
                    && info.si_value().sival_ptr as usize == n
            })
        }
    }
}

#[test]
fn attributes_of_a_task() {
    let v = Victim::start::<Attributes>();
    let c = Checkpoint::new();
    c.dump(v.pid).unwrap_or_else(|e| panic!("{e}\n{:#?}", e.blockers));
    let id = v.pid as u64;
    let core: CoreEntry = c.images.read_one(Kind::Core, id).unwrap();
    let (tc, thread) = (core.tc.unwrap(), core.thread_core.unwrap());
    assert_eq!(tc.comm.as_slice(), &NAME[..15]);
    assert_eq!(thread.comm(), tc.comm);
    assert_eq!(tc.child_subreaper, Some(true));
    let limit = tc.rlimits.unwrap().rlimits[libc::RLIMIT_NOFILE as usize];
    assert_eq!((limit.cur, limit.max), (123, 456));
    let timers = tc.timers.unwrap();
    assert_eq!(timers.real.isec, 100);
    assert!((4000..=5000).contains(&timers.real.vsec));
    let [timer] = timers.posix[..] else { panic!("{:?}", timers.posix) };
    assert_eq!((timer.clock_id, timer.si_signo, timer.isec, timer.insec), (1, libc::SIGUSR2 as u32, 9, 7));
    assert!((6000..=7000).contains(&timer.vsec));
    let winch = tc.sigactions[libc::SIGWINCH as usize - 1 - 2];
    assert_eq!((winch.sigaction, winch.flags & libc::SA_RESTART as u64), (1, libc::SA_RESTART as u64));
    let shared = tc.signals_s.unwrap().signals;
    let values: Vec<u8> = shared.iter().map(|s| s.siginfo[24]).collect();
    assert_eq!((shared[0].siginfo[0], values), (libc::SIGRTMIN() as u8 + 1, vec![40, 41, 42]));
    let own = thread.signals_p.unwrap().signals;
    assert_eq!((own.len(), own[0].siginfo[0]), (1, libc::SIGUSR2 as u8));
    assert_eq!((thread.sched_nice, thread.timer_slack_ns), (Some(3), Some(77_777)));
    assert_eq!(thread.pdeath_sig, Some(libc::SIGKILL as u32));
    assert_eq!(thread.sas.unwrap().ss_size, 65536);
    assert_ne!(tc.blk_sigset & 1 << (libc::SIGUSR2 - 1), 0);
    assert!(core.thread_info.unwrap().gpregs.fs_base != 0);
    let fs: FsEntry = c.images.read_one(Kind::Fs, id).unwrap();
    assert_eq!(fs.umask, Some(0o027));
    assert!(v.checks_itself());
}

/// Threads with filters of one, two and no programs; the last one strict would need no more calls, so it is not here.
struct Filtered;

/// `n` loads, then everything is allowed but `denied`, which fails with EDOM.
fn install(n: usize, denied: i64) {
    let load = libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    let mut program = vec![load; n];
    program.push(libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: denied as u32 });
    program.push(libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x0005_0000 | libc::EDOM as u32 });
    program.push(libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 });
    let prog = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program lives through the calls.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        assert_eq!(libc::syscall(libc::SYS_seccomp, 1, 0, &prog), 0);
    }
}

fn is_denied(nr: i64) -> bool {
    // SAFETY: the calls asked for take no arguments.
    unsafe { libc::syscall(nr) == -1 && *libc::__errno_location() == libc::EDOM }
}

impl State for Filtered {
    type Held = (Arc<Barrier>, Vec<std::thread::JoinHandle<bool>>);
    fn build() -> Self::Held {
        let (ready, go) = (Arc::new(Barrier::new(4)), Arc::new(Barrier::new(4)));
        let threads = (0..3)
            .map(|n| {
                let (ready, go) = (ready.clone(), go.clone());
                let run = move || {
                    if n >= 1 {
                        install(1, libc::SYS_getppid);
                    }
                    if n >= 2 {
                        install(2, libc::SYS_getpgrp);
                    }
                    ready.wait();
                    go.wait();
                    is_denied(libc::SYS_getppid) == (n >= 1) && is_denied(libc::SYS_getpgrp) == (n >= 2)
                };
                std::thread::Builder::new().name(format!("filtered-{n}")).spawn(run).unwrap()
            })
            .collect();
        ready.wait();
        (go, threads)
    }
    fn check((go, threads): Self::Held) -> bool {
        go.wait();
        threads.into_iter().all(|t| t.join().unwrap()) && !is_denied(libc::SYS_getppid)
    }
}

#[test]
fn every_thread_has_its_own_seccomp_chain() {
    let v = Victim::start::<Filtered>();
    let c = Checkpoint::new();
    c.dump(v.pid).unwrap_or_else(|e| panic!("{e}\n{:#?}", e.blockers));
    let entry: criu_images::messages::PstreeEntry = c.images.read_one(Kind::Pstree, 0).unwrap();
    assert_eq!((entry.threads.len(), entry.threads[0]), (4, v.pid as u32));
    let filters = c.images.read_one::<SeccompEntry>(Kind::Seccomp, 0).unwrap().seccomp_filters;
    let chain = |mut at: Option<u32>| {
        let mut lengths = Vec::new();
        while let Some(i) = at {
            lengths.push(filters[i as usize].filter.len() / 8);
            at = filters[i as usize].prev;
        }
        lengths
    };
    for tid in entry.threads {
        let core: CoreEntry = c.images.read_one(Kind::Core, u64::from(tid)).unwrap();
        assert_eq!(core.tc.is_some(), tid == v.pid as u32);
        let t = core.thread_core.unwrap();
        let wanted: &[usize] = match t.comm() {
            b"filtered-1" => &[4],
            b"filtered-2" => &[4, 5],
            _ => &[],
        };
        assert_eq!(chain(t.seccomp_filter), wanted, "{}", t.comm().escape_ascii());
        assert_eq!(t.seccomp_mode() == SeccompMode::Filter, !wanted.is_empty());
        assert_eq!(t.creds.unwrap().no_new_privs.is_some(), !wanted.is_empty());
        assert!(core.thread_info.unwrap().clear_tid_addr != 0);
    }
    assert!(v.checks_itself());
}

/// Does something to a process when the dump has come to a phase.
struct At(Phase, i32, fn(i32));

impl Operator for At {
    fn stage(&mut self, _: Stage, _: Option<i32>, _: Option<std::os::fd::BorrowedFd<'_>>) -> Result<(), Error> {
        Ok(())
    }
    fn is_awaited(&self, _: Stage) -> bool {
        false
    }
    fn progress(&mut self, _: Phase, _: u64, _: u64) {}
    fn check_cancelled(&mut self, phase: Phase) -> Result<(), Error> {
        if phase == self.0 {
            (self.2)(self.1);
        }
        Ok(())
    }
}

/// Dumps a process to which this is done, and ends it; its image.
fn dumped(phase: Phase, to: fn(i32)) -> CoreEntry {
    let v = Victim::start::<Plain>();
    let c = Checkpoint::new();
    let mut options = c.options(v.pid);
    options.msg.leave_running = Some(false);
    criu_engine::dump(&options, &mut At(phase, v.pid, to)).unwrap();
    c.images.read_one(Kind::Core, v.pid as u64).unwrap()
}

fn send(pid: i32, signo: i32) {
    // SAFETY: integers.
    assert_eq!(unsafe { libc::kill(pid, signo) }, 0);
}

#[test]
fn a_stop_that_comes_while_the_process_makes_calls() {
    // It stands still already, and has not been asked about itself yet.
    let core = dumped(Phase::Infect, |pid| send(pid, libc::SIGSTOP));
    let signals = core.tc.and_then(|tc| tc.signals_s).unwrap().signals;
    assert_eq!(signals.len(), 1);
    assert_eq!(signals[0].siginfo[..4], libc::SIGSTOP.to_ne_bytes());
}

#[test]
fn a_signal_that_comes_while_images_are_written() {
    // All images but the inventory are there.
    let core = dumped(Phase::Commit, |pid| {
        // SAFETY: integers.
        assert_eq!(unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGUSR2) }, 0);
        send(pid, libc::SIGUSR1);
    });
    let signals = core.tc.and_then(|tc| tc.signals_s).unwrap().signals;
    assert_eq!(signals.len(), 1);
    assert_eq!(signals[0].siginfo[..4], libc::SIGUSR1.to_ne_bytes());
    let signals = core.thread_core.and_then(|thread| thread.signals_p).unwrap().signals;
    assert_eq!(signals.len(), 1);
    assert_eq!(signals[0].siginfo[..4], libc::SIGUSR2.to_ne_bytes());
}
