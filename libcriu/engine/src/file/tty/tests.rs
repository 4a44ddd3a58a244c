use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::CriuOpts;
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::{ioctl_fionread, read, write};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use super::buffer::{Ends, Waiting};
use crate::file::tests::{blockers, round_trip, round_trips};
use crate::sys::descriptor::borrow;
use crate::sys::trial::{self, put};
use crate::sys::tty::{
    Switch, Termios, Which, open_peer, set_switch, set_termios, switch, take_as_controlling, termios,
};

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
fn without_the_option_it_is_refused() {
    in_a_session(|_master| {
        let setup = || {
            put(open("/dev/tty", OFlags::RDWR, Mode::empty()).unwrap(), 0);
            job();
        };
        let found: Vec<String> = blockers(CriuOpts::default(), setup).iter().map(|b| b.to_string()).collect();
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].contains("fd 0 (/dev/tty)") && found[0].contains("--shell-job"), "{}", found[0]);
        assert!(found[1].contains("fd 20 (/dev/pts/") && found[1].contains("--shell-job"), "{}", found[1]);
    });
}

/// A new pseudo terminal whose settings are the default ones, changed by `change`.
fn pair(change: impl FnOnce(&mut Termios)) -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    unlockpt(&master).unwrap();
    let slave = open_peer(master.as_fd(), libc::O_RDWR | libc::O_NOCTTY).unwrap();
    let mut settings = termios(slave.as_fd(), Which::Settings).unwrap();
    change(&mut settings);
    set_termios(slave.as_fd(), &settings).unwrap();
    (master, slave)
}

fn ends<'a>((master, slave): &'a (OwnedFd, OwnedFd)) -> (Ends<'a>, Termios) {
    let settings = termios(slave.as_fd(), Which::Settings).unwrap();
    (Ends { master: master.as_fd(), slave: slave.as_fd() }, settings)
}

fn text(fd: &OwnedFd) -> String {
    let mut buf = [0; 8192];
    let n = read(fd, &mut buf).unwrap();
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

#[test]
fn bytes_wait_without_lines() {
    let tty = pair(|t| {
        t.lflag &= !(ECHO | libc::ICANON | libc::ISIG);
        t.cc[6] = 9;
    });
    write(&tty.0, b"\x03\x04\n\0x").unwrap();
    write(&tty.1, &[b'y'; 3000]).unwrap();
    while ioctl_fionread(&tty.0).unwrap() < 3000 || ioctl_fionread(&tty.1).unwrap() < 5 {
        std::thread::yield_now();
    }
    let (ends, settings) = ends(&tty);
    let waiting = ends.look(&settings).unwrap();
    assert_eq!((waiting.to_slave.as_slice(), waiting.to_master.len()), (&b"\x03\x04\n\0x"[..], 3000));
    assert_eq!(ends.look(&settings).unwrap(), waiting);
    // Full buffers, more than a line discipline holds.
    rustix::io::ioctl_fionbio(&tty.1, true).unwrap();
    let mut more = 0;
    while let Ok(n) = write(&tty.1, &[b'z'; 100]) {
        more += n;
    }
    assert!(more > 4096, "{more}");
    let full = ends.look(&settings).unwrap();
    assert_eq!(full.to_master.len(), 3000 + more);
    assert_eq!(ends.look(&settings).unwrap(), full);
}

#[test]
fn a_pair_comes_back_with_what_waits_in_it() {
    fn setup() {
        let (master, slave) = pair(|t| {
            t.lflag &= !ECHO;
            t.cc[4] = 5;
        });
        let size = Winsize { ws_row: 7, ws_col: 33, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        write(&master, b"line\nand more").unwrap();
        write(&slave, b"said").unwrap();
        set_switch(slave.as_fd(), Switch::Exclusive, true).unwrap();
        set_switch(master.as_fd(), Switch::Packet, true).unwrap();
        fcntl_setfl(&slave, OFlags::NONBLOCK | OFlags::RDWR).unwrap();
        put(master, 30);
        put(slave, 31);
        // A master alone, locked; one whose slave was closed; a slave whose master was closed.
        put(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap(), 32);
        let (master, slave) = pair(|_| {});
        write(&slave, b"last").unwrap();
        put(master, 33);
        put(pair(|_| {}).1, 34);
    }
    fn check() {
        let settings = termios(borrow(31), Which::Settings).unwrap();
        assert_eq!((settings.lflag & ECHO, settings.cc[4]), (0, 5));
        assert_eq!(tcgetwinsize(borrow(31)).unwrap().ws_col, 33);
        let on = |fd, which| switch(borrow(fd), which).unwrap();
        assert!(
            on(31, Switch::Exclusive) && on(30, Switch::Packet) && on(32, Switch::Locked) && !on(33, Switch::Locked)
        );
        let mut buf = [0; 64];
        let mut get = |fd| read(borrow(fd), &mut buf).map(|n| String::from_utf8_lossy(&buf[..n]).into_owned());
        assert_eq!(get(30).unwrap(), "\0said");
        assert_eq!(get(31).unwrap(), "line\n");
        assert_eq!(get(31), Err(rustix::io::Errno::AGAIN));
        write(borrow(30), b"!\n").unwrap();
        assert_eq!(get(31).unwrap(), "and more!\n");
        assert_eq!(get(33).unwrap(), "last");
        assert_eq!(get(33), Err(rustix::io::Errno::IO), "its slave is closed");
        assert_eq!(get(34).unwrap(), "", "hung up");
        assert_eq!(write(borrow(34), b"x"), Err(rustix::io::Errno::IO));
    }
    let apart = trial::fork(|| {
        trial::own_terminals();
        round_trip(setup, check);
    });
    apart.finish().unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn lines_and_what_is_typed_of_the_next_one_wait() {
    let tty = pair(|t| t.lflag &= !ECHO);
    write(&tty.0, b"one\ntwo\x04three\n\x04lite\x16\x04ral \x15f").unwrap();
    write(&tty.1, b"said\n").unwrap();
    // The kernel takes in the whole of a write under a lock that settings are changed under.
    while ioctl_fionread(&tty.1).unwrap() < 13 {
        std::thread::yield_now();
    }
    let (ends, settings) = ends(&tty);
    let waiting = ends.look(&settings).unwrap();
    assert_eq!(String::from_utf8_lossy(&waiting.to_master), "said\r\n");
    assert_eq!(String::from_utf8_lossy(&waiting.to_slave), "one\ntwothree\nf");
    assert_eq!(waiting.ends, [7, 13]);
    assert_eq!(Waiting::decode(&waiting.encode()), Some(waiting.clone()));
    // Twice the same: what was taken out is back, the settings as well.
    assert_eq!(ends.look(&settings).unwrap(), waiting);
    assert_eq!(termios(tty.1.as_fd(), Which::Settings).unwrap(), settings);
    let other = pair(|t| t.lflag &= !ECHO);
    self::ends(&other).0.fill(&waiting, &settings).unwrap();
    set_termios(other.1.as_fd(), &settings).unwrap();
    for (master, slave) in [&tty, &other] {
        assert_eq!(text(master), "said\r\n");
        for line in ["one\n", "two", "three\n", ""] {
            assert_eq!(text(slave), line);
        }
        // Not finished yet: it can still be erased and goes on.
        write(master, b"\x7finished\n").unwrap();
        assert_eq!(text(slave), "inished\n");
    }
}

#[test]
fn an_external_terminal_is_given_by_whoever_restores() {
    use criu_images::ImageDir;
    use criu_images::messages::InheritFd;
    use std::os::fd::AsRawFd;
    let images = tempfile::tempdir().unwrap();
    let (master, slave) = pair(|_| {});
    let stat = rustix::fs::fstat(&slave).unwrap();
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let key = format!("tty[{:x}:{:x}]", major << 8 | minor, rustix::fs::minor(stat.st_dev));
    let of_process = format!("/proc/{}/fd/{}", std::process::id(), slave.as_raw_fd());
    let external = vec![key.clone()];
    let options_of = |opts| crate::file::tests::options(images.path(), opts);
    let options = options_of(CriuOpts { external, ..CriuOpts::default() });
    let target = crate::file::tests::target(
        || put(open(&of_process, OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK, Mode::empty()).unwrap(), 10),
        || {},
    );
    let (mut files, blockers) = target.collect(&options);
    assert_eq!(blockers, []);
    let dir = ImageDir::new(options.images_dir.try_clone().unwrap());
    files.save(&dir, &mut Default::default(), &mut crate::file::tests::Nobody).unwrap();
    drop(files);
    target.check();
    let without = crate::file::RestoreFiles::load(&dir, &options_of(CriuOpts::default()), &[]).unwrap_err();
    assert!(without.to_string().contains(&format!("--inherit-fd fd[N]:{key}")), "{without}");
    let other = pair(|_| {});
    let inherit_fd = vec![InheritFd { key, fd: other.1.as_raw_fd() }];
    crate::file::tests::restore(
        &options_of(CriuOpts { inherit_fd, ..CriuOpts::default() }),
        &[|| {
            assert!(fcntl_getfl(borrow(10)).unwrap().contains(OFlags::NONBLOCK));
            write(borrow(10), b"here").unwrap();
        }],
    );
    assert_eq!(text(&other.0), "here");
    drop(master);
}
