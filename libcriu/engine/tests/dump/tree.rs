//! Trees of processes.

use std::time::{Duration, Instant};

use criu_images::Kind;
use criu_images::messages::{CoreEntry, PstreeEntry, TaskKobjIdsEntry};

use crate::victim::{Checkpoint, State, Victim, fork};

fn pause() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// A session leader with a child of its own, a zombie, a stopped child.
struct Family;

impl State for Family {
    type Held = [i32; 3];
    fn build() -> [i32; 3] {
        let leader = fork(|| {
            // SAFETY: takes nothing.
            unsafe { libc::setsid() };
            fork(|| pause());
            pause()
        });
        // SAFETY: ends the child.
        let zombie = fork(|| unsafe { libc::_exit(7) });
        let stopped = fork(|| pause());
        // SAFETY: the children are ours; the information is not looked at.
        unsafe {
            libc::kill(stopped, libc::SIGSTOP);
            let mut info = std::mem::zeroed();
            libc::waitid(libc::P_PID, stopped as u32, &mut info, libc::WSTOPPED | libc::WNOWAIT);
            libc::waitid(libc::P_PID, zombie as u32, &mut info, libc::WEXITED | libc::WNOWAIT);
            while libc::getsid(leader) != leader {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        std::thread::sleep(Duration::from_millis(50));
        [leader, zombie, stopped]
    }
    fn check([leader, zombie, stopped]: [i32; 3]) -> bool {
        let mut status = 0;
        // SAFETY: `status` is a live int.
        unsafe {
            let dead = libc::waitpid(zombie, &mut status, 0) == zombie && libc::WEXITSTATUS(status) == 7;
            let still = libc::waitpid(stopped, &mut status, libc::WNOHANG | libc::WUNTRACED) == stopped
                && libc::WIFSTOPPED(status);
            libc::getsid(leader) == leader && dead && still
        }
    }
}

#[test]
fn sessions_zombies_and_stopped_tasks() {
    let v = Victim::start::<Family>();
    let c = Checkpoint::new();
    let outcome = c.dump(v.pid).unwrap_or_else(|e| panic!("{e}\n{:#?}", e.blockers));
    assert_eq!(outcome.tasks, 5);
    let tree: Vec<PstreeEntry> = c.images.read_all(Kind::Pstree, 0).unwrap();
    assert_eq!((tree[0].pid, tree[0].ppid, tree[0].sid), (v.pid as u32, 0, v.pid as u32));
    let (mut states, mut vms) = (Vec::new(), Vec::new());
    for t in &tree[1..] {
        assert!(tree.iter().any(|p| p.pid == t.ppid));
        let tc = c.images.read_one::<CoreEntry>(Kind::Core, u64::from(t.pid)).unwrap().tc.unwrap();
        states.push((tc.task_state, tc.exit_code, tc.stop_signo));
        if tc.task_state != 2 {
            vms.push(c.images.read_one::<TaskKobjIdsEntry>(Kind::Ids, u64::from(t.pid)).unwrap().vm_id);
        }
    }
    states.sort_unstable();
    assert_eq!(states, [(1, 0, None), (1, 0, None), (2, 7 << 8, None), (3, 0, Some(libc::SIGSTOP as u32))]);
    vms.sort_unstable();
    assert_eq!(vms, [3, 4, 5]);
    let leader = tree.iter().find(|t| t.pid == t.sid && t.ppid != 0).unwrap();
    assert!(tree.iter().any(|t| t.ppid == leader.pid && t.sid == leader.pid));
    assert!(v.checks_itself());
}

/// Children that fork and end all the time.
struct Storm;

impl State for Storm {
    type Held = Vec<i32>;
    fn build() -> Vec<i32> {
        let storm = || loop {
            let child = fork(|| {
                fork(|| std::thread::sleep(Duration::from_millis(1)));
            });
            // SAFETY: waits for children of our own.
            unsafe {
                libc::waitpid(child, std::ptr::null_mut(), 0);
            }
        };
        // SAFETY: an integer.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
        (0..2).map(|_| fork(storm)).collect()
    }
    fn check(children: Vec<i32>) -> bool {
        // SAFETY: the children are ours.
        let ok = children.iter().all(|c| unsafe { libc::kill(*c, 0) } == 0);
        for c in children {
            // SAFETY: as above.
            unsafe { libc::kill(c, libc::SIGKILL) };
        }
        ok
    }
}

#[test]
fn in_a_storm_of_forks() {
    let v = Victim::start::<Storm>();
    for _ in 0..5 {
        let c = Checkpoint::new();
        let outcome = c.dump(v.pid).unwrap_or_else(|e| panic!("{e}\n{:#?}", e.blockers));
        let tree: Vec<PstreeEntry> = c.images.read_all(Kind::Pstree, 0).unwrap();
        assert_eq!(tree.len(), outcome.tasks);
        let mut pids: Vec<u32> = tree.iter().map(|t| t.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), tree.len());
        assert!(tree[1..].iter().all(|t| pids.contains(&t.ppid)));
    }
    assert!(v.checks_itself());
}

/// A parent that sleeps in vfork until its child has gone on to another program.
struct Vfork;

impl State for Vfork {
    type Held = std::thread::JoinHandle<i32>;
    // What replaces it (posix_spawn) does not let the child wait.
    #[allow(deprecated)]
    fn build() -> Self::Held {
        std::thread::spawn(|| {
            // SAFETY: the child makes two system calls and shares nothing else with its parent.
            unsafe {
                let pid = libc::vfork();
                if pid == 0 {
                    let nap = libc::timespec { tv_sec: 0, tv_nsec: 300_000_000 };
                    libc::syscall(libc::SYS_nanosleep, &nap, 0usize);
                    let argv = [c"sleep".as_ptr(), c"1000".as_ptr(), std::ptr::null()];
                    libc::execv(c"/bin/sleep".as_ptr(), argv.as_ptr());
                    libc::_exit(1);
                }
                pid
            }
        })
    }
    fn check(held: Self::Held) -> bool {
        let child = held.join().unwrap();
        // SAFETY: the child is ours.
        unsafe { libc::kill(child, libc::SIGKILL) == 0 }
    }
}

#[test]
fn a_parent_in_vfork() {
    let v = Victim::start::<Vfork>();
    let c = Checkpoint::new();
    let begin = Instant::now();
    let outcome = c.dump(v.pid).unwrap_or_else(|e| panic!("{e}\n{:#?}", e.blockers));
    assert_eq!(outcome.tasks, 2);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(v.checks_itself());
}
