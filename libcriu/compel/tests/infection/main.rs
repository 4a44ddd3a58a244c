//! Real processes are infected and cured; they and the test look for any trace.

mod ia32;
mod killed_engine;
mod process;

use criu_compel::{Kind, Resume, SeizedTask, arch};
use process::{Looks, Victim};
use std::time::Duration;

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Seizes, infects, asks everything, cures, releases.
fn visit(pid: i32) {
    let task = SeizedTask::seize(pid).expect("seize");
    let threads = task.threads().len();
    let mut infected = task.infect().expect("infect");
    assert_eq!(infected.syscall(libc::SYS_getpid, [0; 6]).expect("getpid"), i64::from(pid));
    let (facts, per_thread) = infected.query(&[]).expect("query");
    assert_eq!(facts.sigactions.len(), 64);
    assert_eq!(per_thread.len(), threads);
    let task = infected.cure().expect("cure");
    task.release(Resume::AsBefore).expect("release");
}

fn visited_asleep(kind: &str) {
    let (victim, _) = Victim::start(&["sleep", kind]);
    pause(30);
    victim.wait_for_state("S");
    let looks = Looks::at_rest(victim.pid());
    for _ in 0..5 {
        visit(victim.pid());
        // On its way back into the call its signal mask is another one for a moment.
        looks.wait_for(victim.pid());
        pause(120);
    }
    assert_eq!(victim.verdict(), Ok(()), "{kind}");
}

macro_rules! sleeps {
    ($($name:ident)*) => {
        mod asleep_in {
            $(#[test]
            fn $name() {
                super::visited_asleep(stringify!($name));
            })*
        }
    };
}

sleeps!(nanosleep nanosleep_abs poll ppoll select pselect epoll_wait futex futex_timeout read wait4 sigtimedwait semtimedop pause sigsuspend);

#[test]
fn every_register_of_a_running_thread_stays() {
    let (victim, lines) = Victim::start(&["registers"]);
    if lines.iter().any(|line| line.starts_with("skip")) {
        eprintln!("skipped: {lines:?}");
        return;
    }
    let flag = u64::from_str_radix(&lines[0], 16).expect("the address of the flag");
    pause(10);
    let looks = Looks::at_rest(victim.pid());
    for _ in 0..20 {
        visit(victim.pid());
        pause(1);
    }
    assert_eq!(Looks::at_rest(victim.pid()), looks);
    let task = SeizedTask::seize(victim.pid()).expect("seize");
    let infected = task.infect().expect("infect");
    infected.memory().write(flag, &1_u64.to_le_bytes()).expect("setting the flag");
    // Not cured: it goes home by itself, with all registers.
    drop(infected);
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn extended_state_is_that_of_the_victim() {
    let (victim, _) = Victim::start(&["registers"]);
    pause(10);
    let infected = SeizedTask::seize(victim.pid()).expect("seize").infect().expect("infect");
    let bytes = infected.xstate(0).expect("xstate");
    let xstate = arch::Xstate::new(&bytes).expect("long enough");
    assert_ne!(xstate.xstate_bv() & 4, 0, "AVX is in use");
    let high = xstate.component(2).expect("AVX");
    let pattern = |n: u64| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(n + 1);
    assert_eq!(high[..8], pattern(102).to_le_bytes(), "upper half of ymm0");
    assert_eq!(xstate.legacy()[160..168], pattern(100).to_le_bytes(), "xmm0");
    infected.cure().expect("cure").kill().expect("kill");
    drop(victim);
}

#[test]
fn two_hundred_threads_sleep_on() {
    let (mut victim, _) = Victim::start(&["threads", "200"]);
    pause(50);
    let looks = Looks::at_rest(victim.pid());
    for _ in 0..5 {
        visit(victim.pid());
        assert_eq!(Looks::at_rest(victim.pid()), looks);
        pause(40);
    }
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn threads_that_compute_go_on() {
    let (mut victim, _) = Victim::start(&["busy", "60"]);
    for _ in 0..5 {
        visit(victim.pid());
        pause(10);
    }
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn facts_of_threads_are_their_own() {
    let (mut victim, _) = Victim::start(&["threads", "5"]);
    let mut infected = SeizedTask::seize(victim.pid()).expect("seize").infect().expect("infect");
    let (process, threads) = infected.query(&[]).expect("query");
    assert_ne!(process.brk, 0);
    assert_eq!(process.dumpable, 1);
    let mut own = 0_u64;
    // SAFETY: the kernel writes a number of 64 bits.
    let asked = unsafe { libc::syscall(libc::SYS_arch_prctl, 0x1022, &raw mut own) };
    assert_eq!(process.permitted_xstate, (asked == 0).then_some(own), "what nobody has asked for is everybody's");
    let tids: Vec<i32> = infected.task().threads().iter().map(|t| t.tid).collect();
    assert_eq!(threads.iter().map(|t| t.tid).collect::<Vec<_>>(), tids);
    let mut places: Vec<u64> = threads.iter().filter_map(|t| t.tid_address).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 6, "each thread has its own");
    for thread in &threads {
        let mut word = [0; 4];
        infected.memory().read(thread.tid_address.expect("tid address"), &mut word).expect("reading it");
        assert_eq!(i32::from_le_bytes(word), thread.tid, "glibc keeps the tid there");
        assert_eq!(thread.timer_slack_ns, 50_000);
    }
    // Threads of Rust have a signal stack each.
    assert!(threads.iter().all(|t| t.altstack.flags == 0 && t.altstack.size_bytes > 0), "{threads:?}");
    infected.cure().expect("cure").release(Resume::AsBefore).expect("release");
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn a_filter_that_kills_is_suspended() {
    let (mut victim, _) = Victim::start(&["seccomp", "filter"]);
    pause(50);
    for _ in 0..5 {
        visit(victim.pid());
    }
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn strict_mode_is_suspended() {
    let (mut victim, _) = Victim::start(&["seccomp", "strict"]);
    pause(50);
    for _ in 0..5 {
        visit(victim.pid());
    }
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn a_stopped_process_stays_stopped_and_continues_later() {
    let (mut victim, _) = Victim::start(&["threads", "3"]);
    // SAFETY: signals to our own child.
    unsafe { libc::kill(victim.pid(), libc::SIGSTOP) };
    victim.wait_for_state("T");
    for _ in 0..3 {
        let task = SeizedTask::seize(victim.pid()).expect("seize");
        assert_eq!(task.stopped_by(), Some(libc::SIGSTOP));
        let mut infected = task.infect().expect("infect");
        infected.query(&[]).expect("query");
        infected.cure().expect("cure").release(Resume::AsBefore).expect("release");
        victim.wait_for_state("T");
        pause(20);
        assert_eq!(victim.state(), 'T');
    }
    // SAFETY: signals to our own child.
    unsafe { libc::kill(victim.pid(), libc::SIGCONT) };
    victim.wait_for_state("SR");
    victim.tell();
    // A stop ends poll-like sleeps by itself early or not at all: only the end counts here.
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn released_as_stopped_it_stops() {
    let (mut victim, _) = Victim::start(&["threads", "3"]);
    let task = SeizedTask::seize(victim.pid()).expect("seize");
    task.release(Resume::Stopped).expect("release");
    victim.wait_for_state("T");
    // SAFETY: signals to our own child.
    unsafe { libc::kill(victim.pid(), libc::SIGCONT) };
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn signals_sent_meanwhile_arrive() {
    let (victim, _) = Victim::start(&["sleep", "pause"]);
    pause(20);
    let infected = SeizedTask::seize(victim.pid()).expect("seize").infect().expect("infect");
    // Its own alarm comes after 800 ms, while it is infected.
    pause(900);
    let task = infected.cure().expect("cure");
    let pending = criu_compel::ptrace::pending_signals(victim.pid(), true).expect("pending");
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0][..4], libc::SIGALRM.to_le_bytes());
    task.release(Resume::AsBefore).expect("release");
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn a_dead_leader_is_no_obstacle() {
    let (mut victim, _) = Victim::start(&["orphan"]);
    let task = SeizedTask::seize(victim.pid()).expect("seize");
    assert!(task.leader_is_dead());
    let mut infected = task.infect().expect("infect");
    assert_eq!(infected.query(&[]).expect("query").1.len(), 1);
    infected.cure().expect("cure").release(Resume::AsBefore).expect("release");
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn a_vfork_parent_is_named() {
    let (victim, _) = Victim::start(&["vfork"]);
    victim.wait_for_state("D");
    let e = SeizedTask::seize(victim.pid()).expect_err("it cannot be stopped");
    assert_eq!(e.kind, Kind::InVfork);
    // It can be tried again until the child is through.
    let task = loop {
        match SeizedTask::seize(victim.pid()) {
            Ok(task) => break task,
            Err(e) => assert_eq!(e.kind, Kind::InVfork),
        }
    };
    task.release(Resume::AsBefore).expect("release");
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn who_traces_already_is_named() {
    let (mut victim, _) = Victim::start(&["threads", "0"]);
    // SAFETY: the child makes system calls and touches no memory.
    let other = unsafe { libc::fork() };
    if other == 0 {
        // SAFETY: as above.
        unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, victim.pid(), 0, 0);
            loop {
                libc::pause();
            }
        }
    }
    let begin = std::time::Instant::now();
    let tracer = || criu_compel::status::ThreadStatus::read(victim.pid(), victim.pid()).map_or(0, |s| s.tracer);
    while tracer() != other {
        assert!(begin.elapsed() < Duration::from_secs(20), "the other does not trace it");
        pause(1);
    }
    let seized = SeizedTask::seize(victim.pid());
    // SAFETY: this process's own child.
    unsafe { (libc::kill(other, libc::SIGKILL), libc::waitpid(other, std::ptr::null_mut(), 0)) };
    assert_eq!(seized.expect_err("it is traced").kind, Kind::Traced { tracer: other });
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn a_full_descriptor_table_is_an_error() {
    let (mut victim, _) = Victim::start(&["threads", "2"]);
    pause(100);
    let limit = libc::rlimit { rlim_cur: 3, rlim_max: 3 };
    // SAFETY: the limits of our own child, from a live structure.
    let set = unsafe { libc::prlimit(victim.pid(), libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    let looks = Looks::at_rest(victim.pid());
    let e = SeizedTask::seize(victim.pid()).expect("seize").infect().expect_err("no descriptor left");
    assert_eq!(e.kind, Kind::Remote { errno: libc::EMFILE }, "{e}");
    looks.wait_for(victim.pid());
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn a_copy_has_the_vdso_as_it_was() {
    let (mut victim, _) = Victim::start(&["threads", "2"]);
    let pid = victim.pid();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let line = maps.lines().find(|l| l.ends_with("[vdso]")).expect("a vDSO");
    let (start, end) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
    let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).expect("an address"));
    let vdso = |of: i32| {
        let mut bytes = vec![0; (end - start) as usize];
        criu_compel::Memory::open(of, of).and_then(|m| m.read(start, &mut bytes)).expect("its vDSO");
        bytes
    };
    let before = vdso(pid);
    let mut infected = SeizedTask::seize(pid).expect("seize").infect().expect("infect");
    let copy = infected.copy().expect("copy");
    assert!(vdso(pid) != before, "the way home is there");
    assert!(vdso(copy.pid()) == before);
    infected.cure().expect("cure").release(Resume::AsBefore).expect("release");
    copy.end().expect("end");
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn nobody_is_an_error() {
    let (victim, _) = Victim::start(&["sleep", "poll"]);
    let pid = victim.pid();
    drop(victim);
    assert_eq!(SeizedTask::seize(pid).expect_err("gone").kind, Kind::Gone);
    assert!(std::fs::metadata(format!("/proc/{pid}")).is_err());
}

#[test]
fn a_thread_can_be_driven_by_hand() {
    use criu_compel::{Memory, drive, ptrace, syscall_instruction};
    let (victim, _) = Victim::start(&["sleep", "poll"]);
    let pid = victim.pid();
    pause(30);
    let looks = Looks::of(pid);
    ptrace::seize(pid, ptrace::SeizeOptions { exit_kill: true, suspend_seccomp: false }).expect("seize");
    drive::interrupt_all(pid, &[pid]).expect("interrupt");
    let (regs, sigmask) = (ptrace::regs(pid).expect("regs"), ptrace::sigmask(pid).expect("sigmask"));
    let address = syscall_instruction(&Memory::open(pid, pid).expect("memory"), pid, pid).expect("an instruction");
    let ret = drive::syscall_at(pid, pid, address, &regs, libc::SYS_getpid, [0; 6]).expect("getpid");
    assert_eq!(ret, i64::from(pid));
    drive::to_event_stop(pid, pid).expect("event stop");
    ptrace::set_sigmask(pid, sigmask).expect("sigmask");
    ptrace::set_regs(pid, &regs).expect("regs");
    ptrace::detach(pid).expect("detach");
    assert_eq!(Looks::of(pid), looks);
    assert_eq!(victim.verdict(), Ok(()));
}
