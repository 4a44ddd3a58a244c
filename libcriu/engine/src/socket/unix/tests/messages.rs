//! What goes along with bytes.

use std::io::IoSlice;

use super::*;
use crate::sys::unix::{Along, Credentials, peek, send};

fn give(fd: i32, bytes: &[u8], fds: &[i32]) {
    let rights: Vec<_> = fds.iter().map(|&fd| borrow(fd)).collect();
    let along = Along { rights: &rights, ..Along::default() };
    assert_eq!(send(borrow(fd), bytes, along).unwrap(), bytes.len());
}

/// Takes a message; puts its descriptors at `at` and above.
fn take(fd: i32, most: usize, at: i32) -> (String, usize) {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut buf = vec![0; most];
    let got = rustix::net::recvmsg(
        borrow(fd),
        &mut [std::io::IoSliceMut::new(&mut buf)],
        &mut control,
        rustix::net::RecvFlags::DONTWAIT,
    )
    .unwrap();
    let mut fds = 0;
    for message in control.drain() {
        if let rustix::net::RecvAncillaryMessage::ScmRights(rights) = message {
            for fd in rights {
                put(fd, at + fds);
                fds += 1;
            }
        }
    }
    (String::from_utf8_lossy(&buf[..got.bytes]).into_owned(), fds as usize)
}

#[test]
fn descriptors_of_every_kind_in_messages() {
    round_trip(
        || {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            write(&writer, b"piped").unwrap();
            put(reader, 40);
            put(writer, 41);
            put(rustix::event::eventfd(3, rustix::event::EventfdFlags::empty()).unwrap(), 42);
            put(std::fs::File::open("/proc/version").unwrap().into(), 43);
            rustix::fs::seek(borrow(43), rustix::fs::SeekFrom::Start(6)).unwrap();
            for (kind, fd) in [(SocketType::SEQPACKET, 10), (SocketType::DGRAM, 12), (SocketType::STREAM, 14)] {
                pair(kind, fd, fd + 1);
                give(fd, b"with", &[40, 42]);
                give(fd, b"and", &[43]);
            }
            for fd in 40..44 {
                drop(adopt(fd));
            }
        },
        || {
            for fd in [11, 13, 15] {
                assert_eq!(take(fd, 64, 40), ("with".into(), 2));
                assert_eq!(take(fd, 64, 50), ("and".into(), 1));
                // One description however many messages it is in.
                assert_eq!(rustix::fs::tell(borrow(50)).unwrap(), 6);
            }
            assert_eq!(text(40), "piped");
            let mut counter = [0; 8];
            read(borrow(42 - 1), &mut counter).unwrap();
            assert_eq!(u64::from_ne_bytes(counter), 3);
            let mut word = [0; 3];
            read(borrow(50), &mut word).unwrap();
            assert_eq!((&word, rustix::fs::tell(borrow(50)).unwrap()), (b"ver", 9));
        },
    );
}

#[test]
fn bytes_before_and_behind_descriptors() {
    round_trip(
        || {
            pair(SocketType::STREAM, 10, 11);
            write(borrow(10), b"plain").unwrap();
            give(10, b"carries", &[0]);
            write(borrow(10), b"more").unwrap();
            give(10, b"x", &[1, 2]);
            write(borrow(10), b"end").unwrap();
        },
        || {
            // A read that ends before them does not get them.
            assert_eq!(take(11, 5, 40), ("plain".into(), 0));
            assert_eq!(take(11, 3, 40), ("car".into(), 1));
            assert_eq!(take(11, 64, 40), ("riesmorex".into(), 2));
            assert_eq!(take(11, 64, 40), ("end".into(), 0));
        },
    );
}

#[test]
fn sockets_in_their_own_queues() {
    round_trip(
        || {
            // In its own, in each other's, and a chain of which only the first is in the table.
            pair(SocketType::DGRAM, 10, 11);
            give(10, b"self", &[11, 10]);
            pair(SocketType::STREAM, 20, 21);
            pair(SocketType::STREAM, 22, 23);
            pair(SocketType::STREAM, 24, 25);
            write(borrow(24), b"inner").unwrap();
            give(22, b"second", &[25]);
            give(20, b"first", &[23, 24]);
            for fd in 22..26 {
                drop(adopt(fd));
            }
        },
        || {
            assert_eq!(take(11, 64, 40), ("self".into(), 2));
            write(borrow(41), b"through").unwrap();
            assert_eq!(text(40), "through");
            assert_eq!(take(21, 64, 50), ("first".into(), 2));
            assert_eq!(take(50, 64, 60), ("second".into(), 1));
            assert_eq!(text(60), "inner");
            write(borrow(51), b"on").unwrap();
            assert_eq!(text(60), "on");
            // Its peer is gone with the one that was closed.
            assert_eq!(text(50), "");
        },
    );
}

#[test]
fn between_two_tasks() {
    fn parent() {
        assert_eq!(take(10, 64, 40), ("to you".into(), 1));
        write(borrow(40), b"into").unwrap();
        drop(adopt(40));
    }
    fn child() {
        assert_eq!(text(30), "into");
    }
    round_trips(
        Default::default(),
        || {
            pair(SocketType::SEQPACKET, 10, 11);
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            put(writer, 31);
            put(reader, 30);
            give(11, b"to you", &[31]);
            drop(adopt(31));
            fork_sleeper(|| (10..12).for_each(|fd| drop(adopt(fd))));
            drop((adopt(30), adopt(11)));
        },
        &[parent, child],
    );
}

#[test]
fn credentials() {
    round_trip(
        || {
            for (kind, fd) in [(SocketType::DGRAM, 10), (SocketType::STREAM, 12)] {
                pair(kind, fd, fd + 1);
                set_socket_passcred(borrow(fd + 1), true).unwrap();
                // Of init, and of a process that is gone by now.
                let gone = crate::sys::trial::fork(|| {
                    send(borrow(fd), b"gone", Along::default()).unwrap();
                });
                let pid = gone.pid;
                gone.finish().unwrap();
                let credentials = Some(Credentials { pid: 1, uid: 5, gid: 6 });
                send(borrow(fd), b"init", Along { credentials, ..Along::default() }).unwrap();
                put(std::fs::File::open("/dev/null").unwrap().into(), 100 + pid % 400);
            }
        },
        || {
            let pids: Vec<i32> = (100..500).filter(|&fd| rustix::io::fcntl_getfd(borrow(fd)).is_ok()).collect();
            for fd in [11, 13] {
                let mut buf = [0; 64];
                let first = peek(borrow(fd), &mut buf).unwrap();
                let gone = first.credentials.unwrap();
                assert_eq!((first.bytes, gone.uid, gone.gid), (4, 0, 0));
                assert!(pids.contains(&(100 + gone.pid % 400)), "{gone:?} {pids:?}");
                assert_eq!(text(fd), "gone");
                let second = peek(borrow(fd), &mut buf).unwrap();
                assert_eq!(second.credentials, Some(Credentials { pid: 1, uid: 5, gid: 6 }));
                assert_eq!(text(fd), "init");
            }
        },
    );
}

#[test]
fn out_of_band() {
    round_trip(
        || {
            for (fd, before) in [(10, &b"before"[..]), (12, b"")] {
                pair(SocketType::STREAM, fd, fd + 1);
                if !before.is_empty() {
                    write(borrow(fd), before).unwrap();
                }
                send(borrow(fd), b"!", Along { urgent: true, ..Along::default() }).unwrap();
                write(borrow(fd), b"after").unwrap();
            }
        },
        || {
            let oob = |fd: i32| {
                let mut byte = [0];
                rustix::net::recv(borrow(fd), &mut byte, rustix::net::RecvFlags::OOB).map(|_| byte[0])
            };
            assert_eq!(text(11), "before");
            assert!(crate::sys::unix::at_mark(borrow(11)).unwrap() && crate::sys::unix::at_mark(borrow(13)).unwrap());
            assert_eq!([oob(11), oob(13)], [Ok(b'!'), Ok(b'!')]);
            assert_eq!([text(11), text(13)], ["after", "after"]);
        },
    );
}

#[test]
fn an_offset_to_peek_at() {
    round_trip(
        || {
            pair(SocketType::STREAM, 10, 11);
            give(10, b"abcdef", &[0]);
            set_option(borrow(11), libc::SO_PEEK_OFF, 2).unwrap();
        },
        || {
            let mut buf = [0; 8];
            assert_eq!(peek(borrow(11), &mut buf).unwrap().bytes, 4);
            assert_eq!(&buf[..4], b"cdef");
            rustix::net::sendmsg(
                borrow(10),
                &[IoSlice::new(b"gh")],
                &mut SendAncillaryBuffer::default(),
                SendFlags::empty(),
            )
            .unwrap();
            assert_eq!(take(11, 64, 40), ("abcdef".into(), 1));
        },
    );
}
