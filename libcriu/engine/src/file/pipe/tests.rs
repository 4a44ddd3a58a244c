use std::os::fd::AsFd;

use criu_images::messages::CriuOpts;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, open};
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe, pipe_with};

use crate::file::tests::{Scratch, round_trip, round_trips};
use crate::sys::descriptor::borrow;
use crate::sys::trial::{fork_sleeper, put};

fn read_text(fd: i32) -> String {
    let mut buf = [0; 65536];
    let n = read(borrow(fd), &mut buf).unwrap();
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

#[test]
fn data_size_and_flags() {
    round_trip(
        || {
            let (r, w) = pipe_with(PipeFlags::NONBLOCK).unwrap();
            fcntl_setpipe_size(&w, 8192).unwrap();
            write(&w, b"abc").unwrap();
            write(&w, b"def").unwrap();
            put(r, 10);
            put(w, 11);
            let (r, w) = pipe().unwrap();
            write(&w, &[b'z'; 65536]).unwrap();
            put(r, 12);
            put(w, 13);
        },
        || {
            assert_eq!(fcntl_getpipe_size(borrow(10)).unwrap(), 8192);
            assert!(fcntl_getfl(borrow(11)).unwrap().contains(OFlags::NONBLOCK | OFlags::WRONLY));
            assert_eq!(read_text(10), "abcdef");
            assert_eq!(rustix::io::ioctl_fionread(borrow(12)).unwrap(), 65536);
            assert!(!fcntl_getfl(borrow(12)).unwrap().contains(OFlags::NONBLOCK));
            assert_eq!(read_text(12), "z".repeat(65536));
        },
    );
}

#[test]
fn packets_keep_their_bounds() {
    round_trip(
        || {
            let (r, w) = pipe_with(PipeFlags::DIRECT | PipeFlags::NONBLOCK).unwrap();
            for packet in ["one", "second", "3"] {
                write(&w, packet.as_bytes()).unwrap();
            }
            put(r, 10);
            put(w, 11);
        },
        || {
            assert!(fcntl_getfl(borrow(11)).unwrap().contains(OFlags::DIRECT));
            assert_eq!([read_text(10), read_text(10), read_text(10)], ["one", "second", "3"]);
        },
    );
}

#[test]
fn half_closed_ends_stay_so() {
    round_trip(
        || {
            let (r, w) = pipe().unwrap();
            write(&w, b"last").unwrap();
            put(r, 10);
            let (_, w) = pipe().unwrap();
            put(w, 11);
        },
        || {
            assert_eq!([read_text(10), read_text(10)], ["last", ""]);
            let mut fds = [PollFd::from_borrowed_fd(borrow(11), PollFlags::OUT)];
            poll(&mut fds, None).unwrap();
            assert!(fds[0].revents().contains(PollFlags::ERR));
        },
    );
}

#[test]
fn ends_over_two_tasks() {
    fn reader() {
        assert_eq!(read_text(10), "queued");
        assert!(rustix::io::fcntl_getfd(borrow(11)).is_err());
    }
    fn writer() {
        assert!(rustix::io::fcntl_getfd(borrow(10)).is_err());
        write(borrow(11), b"").unwrap();
    }
    round_trips(
        CriuOpts::default(),
        || {
            let (r, w) = pipe().unwrap();
            write(&w, b"queued").unwrap();
            put(r, 10);
            put(w, 11);
            fork_sleeper(|| drop(crate::sys::descriptor::adopt(10)));
            drop(crate::sys::descriptor::adopt(11));
        },
        &[reader, writer],
    );
}

#[test]
fn fifos() {
    let _scratch = Scratch::new();
    fn fifo(name: &str, flags: OFlags) -> std::os::fd::OwnedFd {
        let path = Scratch::path(name);
        let _ = std::fs::remove_file(&path);
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        open(&path, flags, Mode::empty()).unwrap()
    }
    round_trip(
        || {
            let both = fifo("fifo", OFlags::RDWR);
            write(&both, b"fifo data").unwrap();
            put(both, 10);
            put(open(Scratch::path("fifo"), OFlags::WRONLY, Mode::empty()).unwrap(), 11);
            put(fifo("one-way", OFlags::RDONLY | OFlags::NONBLOCK), 12);
            put(fifo("gone", OFlags::RDWR), 13);
            write(borrow(13), b"unlinked").unwrap();
            std::fs::remove_file(Scratch::path("gone")).unwrap();
        },
        || {
            assert_eq!(read_text(10), "fifo data");
            write(borrow(11), b"more").unwrap();
            assert_eq!(read_text(10), "more");
            assert!(!fcntl_getfl(borrow(10)).unwrap().contains(OFlags::NONBLOCK));
            assert_eq!(read_text(12), "");
            assert_eq!(read_text(13), "unlinked");
            assert!(!std::path::Path::new(&Scratch::path("gone")).exists());
            // For the next to find it as it was.
            write(borrow(11), b"fifo data").unwrap();
            write(borrow(13), b"unlinked").unwrap();
            borrow(13).as_fd();
        },
    );
}
