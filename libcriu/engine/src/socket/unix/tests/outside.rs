//! Peers outside the tree.

use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use super::*;
use crate::file::tests::{Nobody, Scratch, target};
use crate::progress::{Operator, Stage};

#[test]
fn a_datagram_socket_finds_its_peer_by_name() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options =
        request(images.path(), criu_images::messages::CriuOpts { ext_unix_sk: Some(true), ..Default::default() });
    let server = UnixDatagram::bind(Scratch::path("log")).unwrap();
    let wait = Some(std::time::Duration::from_secs(20));
    server.set_read_timeout(wait).unwrap();
    crate::file::tests::dump(
        &options,
        || {
            let client = UnixDatagram::unbound().unwrap();
            client.connect(Scratch::path("log")).unwrap();
            put(client.into(), 10);
        },
        &[|| assert_eq!(write(borrow(10), b"left running"), Ok(12))],
    );
    restore(&options, &[|| assert_eq!(write(borrow(10), b"restored"), Ok(8))]);
    let mut buf = [0; 64];
    for text in ["left running", "restored"] {
        let n = server.recv(&mut buf).unwrap();
        assert_eq!(&buf[..n], text.as_bytes());
    }
    drop(server);
    std::fs::remove_file(Scratch::path("log")).unwrap();
    let dir = criu_images::ImageDir::new(options.images_dir.try_clone().unwrap());
    let mut files = crate::file::RestoreFiles::load(&dir, &options, &[(2, 1), (2, 1)]).unwrap();
    let e = files.install(2, &mut []).unwrap_err().to_string();
    assert!(e.contains("connect") && e.contains("log has to be there"), "{e}");
}

/// Answers the question about sockets.
#[derive(Debug)]
struct Allows(Vec<u32>, u32);

impl Operator for Allows {
    fn stage(&mut self, _: Stage, _: Option<i32>, _: Option<std::os::fd::BorrowedFd<'_>>) -> crate::error::Result<()> {
        Ok(())
    }
    fn external_sockets(&mut self) -> crate::error::Result<Vec<u32>> {
        self.1 += 1;
        Ok(self.0.clone())
    }
    fn is_awaited(&self, _: Stage) -> bool {
        true
    }
    fn progress(&mut self, _: crate::error::Phase, _: u64, _: u64) {}
    fn check_cancelled(&mut self, _: crate::error::Phase) -> crate::error::Result<()> {
        Ok(())
    }
}

#[test]
fn whoever_is_asked_may_let_a_connection_go() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = request(images.path(), Default::default());
    let listening = UnixListener::bind(Scratch::path("server")).unwrap();
    let made = target(
        || {
            put(UnixStream::connect(Scratch::path("server")).unwrap().into(), 10);
            let client = UnixDatagram::unbound().unwrap();
            let log = UnixDatagram::bind(Scratch::path("log")).unwrap();
            client.connect(Scratch::path("log")).unwrap();
            put(client.into(), 11);
            put(log.into(), 12);
        },
        || assert_eq!(write(borrow(10), b"goes on"), Ok(7)),
    );
    let server = listening.accept().unwrap().0;
    write(&server, b"unread").unwrap();
    // Of the engine's own end: outside the tree as well.
    let ino = rustix::fs::fstat(&server).unwrap().st_ino as u32;
    let mut nobody = Allows(Vec::new(), 0);
    let (_, refused) = made.collect_with(&options, &mut nobody);
    assert_eq!(nobody.1, 1);
    let told = refused.iter().map(|b| b.to_string()).collect::<Vec<_>>().join("\n");
    assert!(refused.len() == 1 && told.contains("fd 10 (unix socket"), "{told}");
    assert!(told.contains(&format!("--ext-unix-sk={ino}")), "{told}");
    // By the list of the request nobody needs to be asked.
    let listed = criu_images::messages::CriuOpts {
        unix_sk_ino: vec![criu_images::messages::UnixSk { inode: ino }],
        ..Default::default()
    };
    let mut nobody = Allows(Vec::new(), 0);
    assert_eq!((made.collect_with(&request(images.path(), listed), &mut nobody).1, nobody.1), (vec![], 0));
    let (mut files, refused) = made.collect_with(&options, &mut Allows(vec![ino], 0));
    assert_eq!(refused, []);
    let dir = criu_images::ImageDir::new(options.images_dir.try_clone().unwrap());
    files.save(&dir, &mut Default::default(), &mut Nobody).unwrap();
    drop(files);
    made.check();
    std::fs::remove_file(Scratch::path("log")).unwrap();
    restore(
        &options,
        &[|| {
            assert_eq!([text(10), text(10)], ["unread", ""]);
            assert_eq!(write(borrow(10), b"x"), Err(rustix::io::Errno::PIPE));
        }],
    );
    // With a connection of the caller's, that is the one.
    let (mine, theirs) = UnixStream::pair().unwrap();
    let key = {
        let entries: Vec<criu_images::messages::FileEntry> = dir.read_all(criu_images::Kind::Files, 0).unwrap();
        let usk = entries.iter().filter_map(|e| e.usk.as_deref()).find(|u| u.uflags == 4).unwrap();
        format!("socket:[{}]", usk.ino)
    };
    let inherit = criu_images::messages::InheritFd { key, fd: std::os::fd::AsRawFd::as_raw_fd(&theirs) };
    let options =
        request(images.path(), criu_images::messages::CriuOpts { inherit_fd: vec![inherit], ..Default::default() });
    std::fs::remove_file(Scratch::path("log")).unwrap_or(());
    restore(&options, &[|| assert_eq!(write(borrow(10), b"inherited"), Ok(9))]);
    reads_inherited(&mine);
}

fn reads_inherited(mine: &UnixStream) {
    let mut buf = [0; 16];
    mine.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let n = read(mine, &mut buf).unwrap();
    assert_eq!(&buf[..n], b"inherited");
}
