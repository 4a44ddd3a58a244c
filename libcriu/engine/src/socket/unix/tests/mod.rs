mod messages;
mod names;
mod outside;

use std::os::fd::AsFd;

use criu_images::messages::{CriuResp, FdTypes, UnixSkEntry};
use prost::Message;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{read, write};
use rustix::net::sockopt::{set_socket_passcred, socket_passcred};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, sendmsg,
    shutdown, socket_with, socketpair,
};

use crate::file::tests::{blockers, options as request, restore, round_trip, round_trips};
use crate::sys::descriptor::{adopt, borrow};
use crate::sys::socket::{option, set_option};
use crate::sys::trial::{fork_sleeper, put};

fn pair(kind: SocketType, a: i32, b: i32) {
    let (x, y) = socketpair(AddressFamily::UNIX, kind, SocketFlags::empty(), None).unwrap();
    put(x, a);
    put(y, b);
}

fn text(fd: i32) -> String {
    let mut buf = vec![0; 1 << 20];
    let n = read(borrow(fd), &mut buf).unwrap();
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

#[test]
fn queues_of_every_type() {
    round_trip(
        || {
            pair(SocketType::STREAM, 10, 11);
            write(borrow(10), b"que").unwrap();
            write(borrow(10), b"ued").unwrap();
            write(borrow(11), b"back").unwrap();
            pair(SocketType::DGRAM, 20, 21);
            pair(SocketType::SEQPACKET, 30, 31);
            for fd in [20, 30] {
                for message in ["first", "", "the third", "x"] {
                    write(borrow(fd), message.as_bytes()).unwrap_or(0);
                }
            }
        },
        || {
            assert_eq!([text(11), text(10)], ["queued", "back"]);
            write(borrow(10), b"again").unwrap();
            assert_eq!(text(11), "again");
            for fd in [21, 31] {
                assert_eq!([text(fd), text(fd), text(fd), text(fd)], ["first", "", "the third", "x"], "fd {fd}");
                assert_eq!(option(borrow(fd), libc::SO_PEEK_OFF).unwrap(), -1);
            }
            write(borrow(31), b"reply").unwrap();
            assert_eq!(text(30), "reply");
        },
    );
}

#[test]
fn a_full_queue() {
    round_trip(
        || {
            pair(SocketType::STREAM, 10, 11);
            rustix::io::ioctl_fionbio(borrow(10), true).unwrap();
            let mut sent = 0;
            while let Ok(n) = write(borrow(10), &[b'f'; 1000]) {
                sent += n;
            }
            pair(SocketType::DGRAM, 12, 13);
            write(borrow(12), &(sent as u64).to_ne_bytes()).unwrap();
        },
        || {
            let mut count = [0; 8];
            read(borrow(13), &mut count).unwrap();
            let mut got = 0;
            rustix::io::ioctl_fionbio(borrow(11), true).unwrap();
            let mut buf = [0; 65536];
            while let Ok(n) = read(borrow(11), &mut buf) {
                assert!(buf[..n].iter().all(|&b| b == b'f'));
                got += n;
            }
            assert_eq!(got as u64, u64::from_ne_bytes(count));
            assert!(fcntl_getfl(borrow(10)).unwrap().contains(OFlags::NONBLOCK));
        },
    );
}

#[test]
fn shut_down_closed_and_fresh() {
    round_trip(
        || {
            pair(SocketType::STREAM, 10, 11);
            write(borrow(10), b"last").unwrap();
            shutdown(borrow(10), Shutdown::Write).unwrap();
            pair(SocketType::STREAM, 12, 13);
            write(borrow(13), b"bye").unwrap();
            drop(adopt(13));
            pair(SocketType::SEQPACKET, 14, 15);
            write(borrow(15), b"packet").unwrap();
            drop(adopt(15));
            pair(SocketType::DGRAM, 16, 17);
            drop(adopt(17));
            let fresh = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
            put(fresh, 18);
        },
        || {
            assert_eq!([text(11), text(11)], ["last", ""]);
            write(borrow(11), b"back").unwrap();
            assert_eq!(text(10), "back");
            assert_eq!([text(12), text(12)], ["bye", ""]);
            assert_eq!([text(14), text(14)], ["packet", ""]);
            assert_eq!(write(borrow(16), b"x"), Err(rustix::io::Errno::CONNREFUSED));
            assert_eq!(write(borrow(18), b"x"), Err(rustix::io::Errno::NOTCONN));
            let mut fds = [PollFd::from_borrowed_fd(borrow(12), PollFlags::IN)];
            poll(&mut fds, None).unwrap();
            assert!(fds[0].revents().contains(PollFlags::HUP));
        },
    );
}

#[test]
fn options_and_buffers() {
    round_trip(
        || {
            pair(SocketType::STREAM, 10, 11);
            set_option(borrow(10), libc::SO_SNDBUF, 65536).unwrap();
            set_option(borrow(11), libc::SO_RCVLOWAT, 7).unwrap();
            set_socket_passcred(borrow(11), true).unwrap();
            set_option(borrow(11), libc::SO_PRIORITY, 3).unwrap();
            crate::sys::socket::set_timeout(borrow(10), libc::SO_RCVTIMEO, (2, 500_000)).unwrap();
        },
        || {
            assert_eq!(option(borrow(10), libc::SO_SNDBUF).unwrap(), 131072);
            assert_eq!(option(borrow(10), 72).unwrap(), 1);
            assert_eq!(option(borrow(11), 72).unwrap(), 0);
            assert_eq!(option(borrow(11), libc::SO_RCVLOWAT).unwrap(), 7);
            assert_eq!(option(borrow(11), libc::SO_PRIORITY).unwrap(), 3);
            assert!(socket_passcred(borrow(11)).unwrap());
            assert!(!socket_passcred(borrow(10)).unwrap());
            let time = crate::sys::socket::timeout(borrow(10), libc::SO_RCVTIMEO).unwrap();
            assert_eq!(time, (2, 500_000));
        },
    );
}

#[test]
fn ends_in_two_tasks() {
    fn parent() {
        write(borrow(10), b"after").unwrap();
    }
    fn child() {
        let mut buf = [0; 6];
        assert_eq!(read(borrow(11), &mut buf).unwrap(), 6);
        assert_eq!(&buf, b"before");
        assert!(rustix::io::fcntl_getfd(borrow(10)).is_err());
        // Ends when the other has written.
        assert_eq!(read(borrow(11), &mut buf).unwrap(), 5);
        assert_eq!(&buf[..5], b"after");
    }
    round_trips(
        Default::default(),
        || {
            pair(SocketType::STREAM, 10, 11);
            write(borrow(10), b"before").unwrap();
            fork_sleeper(|| drop(adopt(10)));
            drop(adopt(11));
        },
        &[parent, child],
    );
}

#[test]
fn what_cannot_be_saved_is_named() {
    let found = blockers(Default::default(), || {
        pair(SocketType::STREAM, 10, 11);
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let locked = tempfile::tempfile().unwrap();
        locked.lock().unwrap();
        let rights = [locked.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
        sendmsg(borrow(10), &[std::io::IoSlice::new(b"fds")], &mut control, SendFlags::empty()).unwrap();
        pair(SocketType::STREAM, 12, 13);
        crate::sys::trial::fork_orphan();
        drop(adopt(13));
    });
    let mut found: Vec<String> = found.iter().map(|b| b.to_string()).collect();
    found.sort_by_key(|t| t.split("fd ").nth(1).map(str::to_owned));
    let expected = [
        ("a message in the queue of fd 11 (unix socket ino", "lock is held through"),
        ("fd 12 (unix socket ino", "outside the tree"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (text, (object, cause)) in found.iter().zip(expected) {
        assert!(text.contains(object) && text.contains(cause), "{text}");
    }
}

#[test]
fn the_connection_to_the_engine_has_its_answer_waiting() {
    let images = tempfile::tempdir().unwrap();
    let options = request(images.path(), Default::default());
    let dir = criu_images::ImageDir::new(options.images_dir.try_clone().unwrap());
    let usk = UnixSkEntry {
        id: 1,
        ino: 77,
        r#type: 5,
        state: 1,
        flags: 2,
        uflags: 2,
        peer: 78,
        opts: usual_options(),
        ..UnixSkEntry::default()
    };
    let entry = criu_images::messages::FileEntry {
        r#type: FdTypes::Unixsk as i32,
        id: 1,
        usk: Some(Box::new(usk)),
        ..Default::default()
    };
    dir.write_one(criu_images::Kind::Files, 0, &entry).unwrap();
    let fd = criu_images::messages::FdinfoEntry {
        id: 1,
        flags: 0,
        r#type: FdTypes::Unixsk as i32,
        fd: 5,
        ..Default::default()
    };
    dir.write_one(criu_images::Kind::Fdinfo, 2, &fd).unwrap();
    restore(
        &options,
        &[|| {
            let mut buf = [0; 4096];
            let n = read(borrow(5).as_fd(), &mut buf).unwrap();
            let answer = CriuResp::decode(&buf[..n]).unwrap();
            assert!(answer.success && answer.r#type == 1 && answer.dump.unwrap().restored());
            assert_eq!(read(borrow(5), &mut buf).unwrap(), 0);
        }],
    );
}

/// Those of a fresh socket.
fn usual_options() -> criu_images::messages::SkOptsEntry {
    let fresh = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    crate::socket::options::read(fresh.as_fd()).unwrap().unwrap()
}
