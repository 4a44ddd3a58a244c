use criu_images::messages::CriuOpts;
use rustix::fs::fstat;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::file::tests::{blockers, round_trip};
use crate::sys::descriptor::borrow;
use crate::sys::trial::{self, put};

/// A child that is gone once both descriptions of it are open.
fn dead(numbers: [i32; 2]) {
    let child = trial::fork(|| std::thread::sleep(std::time::Duration::from_secs(60)));
    for n in numbers {
        put(pidfd_open(Pid::from_raw(child.pid).unwrap(), PidfdFlags::empty()).unwrap(), n);
    }
}

#[test]
fn the_dead_stay_who_they_were() {
    fn setup() {
        dead([10, 11]);
        dead([12, 13]);
    }
    fn check() {
        for fd in 10..14 {
            let sent = pidfd_send_signal(borrow(fd), rustix::process::Signal::TERM);
            assert_eq!(sent, Err(rustix::io::Errno::SRCH), "{fd}");
        }
        let process = |fd| fstat(borrow(fd)).unwrap().st_ino;
        assert!(process(10) == process(11) && process(12) == process(13) && process(10) != process(12));
    }
    round_trip(setup, check);
}

#[test]
fn of_a_process_outside_it_is_refused() {
    let found = blockers(CriuOpts::default(), || {
        let parent = rustix::process::getppid().unwrap();
        put(pidfd_open(parent, PidfdFlags::empty()).unwrap(), 10);
    });
    assert_eq!(found.len(), 1);
    let text = found[0].to_string();
    assert!(text.contains("fd 10 (") && text.contains("outside the tree"), "{text}");
}
