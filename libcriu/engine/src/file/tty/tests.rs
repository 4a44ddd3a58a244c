use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::CriuOpts;
use rustix::fs::{Mode, OFlags, fcntl_getfl, open};
use rustix::io::{read, write};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

use crate::file::tests::{blockers, round_trips};
use crate::sys::descriptor::borrow;
use crate::sys::trial::{self, put};
use crate::sys::tty::{Termios, Which, set_termios, take_as_controlling, termios};

/// Runs `f` in a session of its own with a pseudo terminal as controlling terminal and standard input.
fn in_a_session(f: impl FnOnce(&OwnedFd)) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&master).unwrap();
    let slave = ptsname(&master, Vec::new()).unwrap();
    let shell = trial::fork(|| {
        rustix::process::setsid().unwrap();
        let terminal = open(&slave, OFlags::RDWR, Mode::empty()).unwrap();
        let _ = take_as_controlling(terminal.as_fd());
        put(terminal, 0);
        f(&master);
    });
    shell.finish().unwrap();
}

const ECHO: u32 = libc::ECHO;

fn job() {
    put(borrow(0).try_clone_to_owned().unwrap(), 1);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let number: u32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(4).unwrap().parse().unwrap();
    put(
        open(format!("/dev/pts/{}", number & 0xff), OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())
            .unwrap(),
        20,
    );
}

#[test]
fn the_terminal_of_a_job_is_that_of_whoever_restores_it() {
    in_a_session(|_master| {
        let check = || {
            assert!(fcntl_getfl(borrow(20)).unwrap().contains(OFlags::NONBLOCK | OFlags::RDWR));
            let quiet = termios(borrow(20), Which::Settings).unwrap();
            assert_eq!((quiet.lflag & ECHO, quiet.cc[4]), (0, 77));
            // As found by whoever comes next.
            set_termios(borrow(20), &Termios { lflag: quiet.lflag | ECHO, ..quiet }).unwrap();
            assert_eq!(read(borrow(20), &mut [0; 8]), Err(rustix::io::Errno::AGAIN));
            write(borrow(20), b"").unwrap();
        };
        let setup = || {
            // The harness gives descriptors to /dev/null; the terminal is asked for by its name.
            put(open("/dev/tty", OFlags::RDWR, Mode::empty()).unwrap(), 0);
            job();
            let now = termios(borrow(20), Which::Settings).unwrap();
            let mut quiet = Termios { lflag: now.lflag & !ECHO, ..now };
            quiet.cc[4] = 77;
            set_termios(borrow(20), &quiet).unwrap();
        };
        round_trips(CriuOpts { shell_job: Some(true), ..CriuOpts::default() }, setup, &[check]);
    });
}

#[test]
fn without_the_option_it_is_refused_and_masters_are_always() {
    in_a_session(|_master| {
        let setup = || {
            put(open("/dev/tty", OFlags::RDWR, Mode::empty()).unwrap(), 0);
            job();
            put(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap(), 21);
        };
        let found: Vec<String> = blockers(CriuOpts::default(), setup).iter().map(|b| b.to_string()).collect();
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].contains("fd 0 (/dev/tty)") && found[0].contains("--shell-job"), "{}", found[0]);
        assert!(found[1].contains("fd 20 (/dev/pts/") && found[1].contains("--shell-job"), "{}", found[1]);
        assert!(found[2].contains("fd 21 (/dev/p") && found[2].contains("cannot be saved yet"), "{}", found[2]);
    });
}
