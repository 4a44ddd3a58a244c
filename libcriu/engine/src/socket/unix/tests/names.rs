//! Sockets with names.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

use super::*;
use crate::file::tests::Scratch;

/// A restored socket must be at a place that is free: the process that was dumped lives on, with the same files.
fn free(names: &[&str]) {
    for name in names {
        std::fs::remove_file(Scratch::path(name)).unwrap();
    }
}

fn owned<T: From<std::os::fd::OwnedFd>>(fd: i32) -> T {
    T::from(rustix::io::dup(borrow(fd)).unwrap())
}

fn path_of(address: &SocketAddr) -> Option<String> {
    address.as_pathname().map(|p| p.to_str().unwrap().to_owned())
}

#[test]
fn a_listening_socket_with_all_it_has_accepted() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = request(images.path(), Default::default());
    crate::file::tests::dump(
        &options,
        || {
            let path = Scratch::path("server");
            let listening = UnixListener::bind(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
            std::os::unix::fs::chown(&path, Some(7), Some(8)).unwrap();
            rustix::net::listen(&listening, 3).unwrap();
            for i in 0..2 {
                put(UnixStream::connect(&path).unwrap().into(), 20 + i);
                put(listening.accept().unwrap().0.into(), 30 + i);
                write(borrow(20 + i), &[b'a' + i as u8]).unwrap();
            }
            // Connections that wait, the second from a socket with a name of its own.
            put(UnixStream::connect(&path).unwrap().into(), 22);
            let named = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None).unwrap();
            crate::sys::unix::bind(named.as_fd(), b"\0client").unwrap();
            crate::sys::unix::connect(named.as_fd(), path.as_bytes()).unwrap();
            put(named, 23);
            put(listening.into(), 10);
        },
        &[|| free(&["server"])],
    );
    // What a server leaves behind that was killed.
    drop(UnixListener::bind(Scratch::path("server")).unwrap());
    restore(
        &options,
        &[|| {
            let path = Scratch::path("server");
            let meta = std::fs::symlink_metadata(&path).unwrap();
            assert!(meta.file_type().is_socket());
            assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o620, 7, 8));
            let listening: UnixListener = owned(10);
            assert_eq!(path_of(&listening.local_addr().unwrap()), Some(path.clone()));
            for i in 0..2 {
                assert_eq!(text(30 + i), ["a", "b"][i as usize]);
                let (client, accepted): (UnixStream, UnixStream) = (owned(20 + i), owned(30 + i));
                assert_eq!(path_of(&client.peer_addr().unwrap()), Some(path.clone()));
                assert_eq!(path_of(&accepted.local_addr().unwrap()), Some(path.clone()));
                assert!(accepted.peer_addr().unwrap().is_unnamed());
                write(borrow(30 + i), b"back").unwrap();
                assert_eq!(text(20 + i), "back");
            }
            for (fd, name) in [(22, None), (23, Some(&b"client"[..]))] {
                let (accepted, from) = listening.accept().unwrap();
                assert_eq!(std::os::linux::net::SocketAddrExt::as_abstract_name(&from), name);
                write(borrow(fd), b"first").unwrap();
                put(accepted.into(), 40);
                assert_eq!(text(40), "first");
            }
            // One more than the backlog of 3 says may wait.
            listening.set_nonblocking(true).unwrap();
            assert!(listening.accept().is_err());
            let waiting: Vec<_> = (0..4).map(|_| UnixStream::connect(&path).unwrap()).collect();
            let fifth = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
            let e = crate::sys::unix::connect(fifth.as_fd(), path.as_bytes()).unwrap_err();
            assert_eq!((e.raw_os_error(), waiting.len()), (Some(libc::EAGAIN), 4));
        }],
    );
    assert!(std::fs::symlink_metadata(Scratch::path("server")).is_ok());
}

#[test]
fn names_that_do_not_lead_to_their_file() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = request(images.path(), Default::default());
    crate::file::tests::dump(
        &options,
        || {
            let dir = Scratch::path("");
            std::env::set_current_dir(&dir).unwrap();
            std::fs::create_dir("below").unwrap();
            put(UnixListener::bind("relative").unwrap().into(), 10);
            put(UnixListener::bind("below/../up").unwrap().into(), 11);
            put(UnixListener::bind(Scratch::path("old")).unwrap().into(), 12);
            std::fs::rename("old", "below/new").unwrap();
            put(UnixListener::bind(Scratch::path("gone")).unwrap().into(), 13);
            std::fs::remove_file("gone").unwrap();
            std::env::set_current_dir("/").unwrap();
        },
        &[|| free(&["relative", "up", "below/new"])],
    );
    restore(
        &options,
        &[|| {
            let names = ["relative".into(), "below/../up".into(), Scratch::path("old"), Scratch::path("gone")];
            for (fd, name) in (10..).zip(names) {
                let listening: UnixListener = owned(fd);
                assert_eq!(path_of(&listening.local_addr().unwrap()), Some(name));
            }
            for (fd, place) in [(10, "relative"), (11, "up"), (12, "below/new")] {
                let client = UnixStream::connect(Scratch::path(place)).unwrap();
                let listening: UnixListener = owned(fd);
                put(listening.accept().unwrap().0.into(), 40);
                drop(client);
                assert_eq!(text(40), "");
            }
            assert!(
                !std::fs::exists(Scratch::path("gone")).unwrap() && !std::fs::exists(Scratch::path("old")).unwrap()
            );
            let mut left: Vec<_> =
                std::fs::read_dir(Scratch::path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
            left.sort();
            assert_eq!(left, ["below", "relative", "up"]);
        }],
    );
}

#[test]
fn datagrams_and_who_sent_them() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = request(images.path(), Default::default());
    crate::file::tests::dump(
        &options,
        || {
            let path = Scratch::path("log");
            put(UnixDatagram::bind(&path).unwrap().into(), 10);
            let alive = UnixDatagram::bind(Scratch::path("alive")).unwrap();
            alive.send_to(b"from alive", &path).unwrap();
            let gone = UnixDatagram::bind(Scratch::path("gone")).unwrap();
            gone.send_to(b"from gone", &path).unwrap();
            std::fs::remove_file(Scratch::path("gone")).unwrap();
            UnixDatagram::unbound().unwrap().send_to(b"", &path).unwrap();
            let client = UnixDatagram::unbound().unwrap();
            client.connect(&path).unwrap();
            client.send(b"from client").unwrap();
            put(client.into(), 12);
            put(alive.into(), 11);
            // Two with names, connected to each other after a third has sent something.
            let (a, b) = (Scratch::path("a"), Scratch::path("b"));
            let (x, y) = (UnixDatagram::bind(&a).unwrap(), UnixDatagram::bind(&b).unwrap());
            UnixDatagram::unbound().unwrap().send_to(b"stranger", &a).unwrap();
            x.connect(&b).unwrap();
            y.connect(&a).unwrap();
            y.send(b"peer").unwrap();
            put(x.into(), 13);
            put(y.into(), 14);
            // Connected to one that is gone.
            let (widow, c) = (UnixDatagram::bind(Scratch::path("widow")).unwrap(), Scratch::path("c"));
            UnixDatagram::unbound().unwrap().send_to(b"left", Scratch::path("widow")).unwrap();
            let gone = UnixDatagram::bind(&c).unwrap();
            widow.connect(&c).unwrap();
            std::fs::remove_file(&c).unwrap();
            drop(gone);
            put(widow.into(), 17);
            // One way to a socket without a name.
            pair(SocketType::DGRAM, 15, 16);
            crate::sys::unix::disconnect(borrow(16)).unwrap();
            write(borrow(15), b"one way").unwrap();
        },
        &[|| free(&["log", "alive", "a", "b", "widow"])],
    );
    restore(
        &options,
        &[|| {
            let log: UnixDatagram = owned(10);
            let mut buf = [0; 64];
            let alive = Scratch::path("alive");
            let expected = [
                ("from alive", Some(alive.clone())),
                ("from gone", Some(Scratch::path("gone"))),
                ("", None),
                ("from client", None),
            ];
            for (text, name) in expected {
                let (n, from) = log.recv_from(&mut buf).unwrap();
                assert_eq!((std::str::from_utf8(&buf[..n]).unwrap(), path_of(&from)), (text, name));
            }
            write(borrow(12), b"again").unwrap();
            assert_eq!(text(10), "again");
            log.send_to(b"answer", alive).unwrap();
            assert_eq!(text(11), "answer");
            let (x, y): (UnixDatagram, UnixDatagram) = (owned(13), owned(14));
            let (n, from) = x.recv_from(&mut buf).unwrap();
            assert_eq!((&buf[..n], path_of(&from)), (&b"stranger"[..], None));
            let (n, from) = x.recv_from(&mut buf).unwrap();
            assert_eq!((&buf[..n], path_of(&from)), (&b"peer"[..], Some(Scratch::path("b"))));
            x.send(b"to y").unwrap();
            assert_eq!(text(14), "to y");
            assert!(UnixDatagram::unbound().unwrap().send_to(b"no", Scratch::path("a")).is_err());
            y.send(b"to x").unwrap();
            assert_eq!([text(16), text(13)], ["one way", "to x"]);
            write(borrow(15), b"more").unwrap();
            assert_eq!(text(16), "more");
            assert!(write(borrow(16), b"x").is_err());
            assert_eq!(text(17), "left");
            assert_eq!(write(borrow(17), b"x"), Err(rustix::io::Errno::CONNREFUSED));
        }],
    );
}

#[test]
fn accepted_from_a_listening_socket_that_is_gone() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = request(images.path(), Default::default());
    crate::file::tests::dump(
        &options,
        || {
            let path = Scratch::path("server");
            for (i, name) in [(0, path.as_bytes()), (4, b"\0abstract-gone")] {
                let kind = if i == 0 { SocketType::STREAM } else { SocketType::SEQPACKET };
                let socket = || socket_with(AddressFamily::UNIX, kind, SocketFlags::empty(), None).unwrap();
                let listening = socket();
                crate::sys::unix::bind(listening.as_fd(), name).unwrap();
                rustix::net::listen(&listening, 3).unwrap();
                for n in [0, 2] {
                    let client = socket();
                    crate::sys::unix::connect(client.as_fd(), name).unwrap();
                    write(&client, b"sent").unwrap();
                    put(client, 10 + i + n);
                    put(rustix::net::accept(&listening).unwrap(), 11 + i + n);
                }
            }
            // A client that is gone.
            drop(adopt(12));
        },
        &[|| free(&["server"])],
    );
    restore(
        &options,
        &[|| {
            let client: UnixStream = owned(10);
            assert_eq!(path_of(&client.peer_addr().unwrap()), Some(Scratch::path("server")));
            assert_eq!([text(11), text(13), text(13), text(15), text(17)], ["sent", "sent", "", "sent", "sent"]);
            let accepted: UnixStream = owned(17);
            let name = accepted.local_addr().unwrap();
            assert_eq!(std::os::linux::net::SocketAddrExt::as_abstract_name(&name), Some(&b"abstract-gone"[..]));
            let e = UnixStream::connect(Scratch::path("server")).unwrap_err();
            assert_eq!(e.raw_os_error(), Some(libc::ECONNREFUSED));
        }],
    );
}

#[test]
fn a_place_that_is_taken_and_a_restore_that_fails() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = request(images.path(), Default::default());
    crate::file::tests::dump(
        &options,
        || {
            for name in ["first", "second"] {
                let listening = UnixListener::bind(Scratch::path(name)).unwrap();
                put(listening.into(), if name == "first" { 10 } else { 11 });
            }
        },
        &[|| free(&["first", "second"])],
    );
    let fails = |why: &str| {
        let dir = criu_images::ImageDir::new(options.images_dir.try_clone().unwrap());
        let mut files = crate::file::RestoreFiles::load(&dir, &options, &[(2, 1)]).unwrap();
        let e = files.open_shared().unwrap_err().to_string();
        assert!(e.contains(&Scratch::path("second")) && e.contains(why), "{e}");
        drop(files);
        assert!(!std::fs::exists(Scratch::path("first")).unwrap());
    };
    let _other = UnixListener::bind(Scratch::path("second")).unwrap();
    fails("another socket is bound to");
    std::fs::remove_file(Scratch::path("second")).unwrap();
    std::fs::write(Scratch::path("second"), "a file").unwrap();
    fails("is no socket");
}
