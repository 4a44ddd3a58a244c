//! The descriptors of golden checkpoints, restored without their tasks: what the programs in them check of their files.

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use criu_images::messages::{CriuOpts, FdTypes, FdinfoEntry, FileEntry};
use criu_images::{ImageDir, Kind};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fs::{OFlags, SeekFrom, fcntl_get_seals, fcntl_getfl, fstat, seek};
use rustix::io::{FdFlags, fcntl_getfd, pread, read, write};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::RestoreFiles;
use super::tests::{Scratch, options, restore};
use crate::options::Options;
use crate::sys::descriptor::borrow;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

/// Puts what the checkpoints name in its place under /tmp, as `setup.sh` does.
fn set_up() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(|e| e.into_inner());
    for (name, mode) in [("golden", 0o755), ("golden2", 0o755), ("golden-file", 0o640), ("golden2-map", 0o600)] {
        let beside = format!("/tmp/{name}.{}", std::process::id());
        fs::copy(golden(name), &beside).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(&beside, format!("/tmp/{name}")).unwrap();
    }
    guard
}

fn of(name: &str) -> Options {
    options(&golden(name), CriuOpts::default())
}

fn text(fd: i32) -> String {
    let mut buf = [0; 64];
    let n = read(borrow(fd), &mut buf).unwrap();
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

#[test]
fn files() {
    let _guard = set_up();
    restore(
        &of("files"),
        &[|| {
            assert_eq!(seek(borrow(3), SeekFrom::Current(0)).unwrap(), 4);
            assert_eq!(text(3), "456789");
            assert!(fcntl_getfl(borrow(3)).unwrap().contains(OFlags::APPEND));
            let mut events = Vec::with_capacity(4);
            epoll::wait(borrow(9), spare_capacity(&mut events), None).unwrap();
            assert_eq!(events.iter().map(|e| e.data.u64()).collect::<Vec<_>>(), [0x1234567890]);
            assert_eq!(text(4), "in the pipe");
            assert!(fcntl_getfl(borrow(5)).unwrap().contains(OFlags::NONBLOCK | OFlags::WRONLY));
            let mut counter = [0; 8];
            read(borrow(6), &mut counter).unwrap();
            assert_eq!((u64::from_ne_bytes(counter), fcntl_getfd(borrow(6)).unwrap()), (7, FdFlags::CLOEXEC));
            let info = fs::read_to_string("/proc/self/fdinfo/7").unwrap();
            assert!(info.contains("sigmask:\t0000000000000800"), "{info}");
            let timer = rustix::time::timerfd_gettime(borrow(8)).unwrap();
            assert_eq!(timer.it_interval.tv_sec, 3600);
            assert!((3500..=3600).contains(&timer.it_value.tv_sec), "{timer:?}");
            let mut ghost = [0; 5];
            pread(borrow(11), &mut ghost, 0).unwrap();
            assert_eq!((&ghost, fstat(borrow(11)).unwrap().st_nlink), (b"ghost", 0));
            assert_eq!(write(borrow(251), b"x"), Err(rustix::io::Errno::PIPE));
        }],
    );
}

#[test]
fn tree() {
    let _guard = set_up();
    fn reader() {
        assert_eq!(text(4), "queued");
    }
    fn writer() {
        assert!(fcntl_getfl(borrow(3)).unwrap().contains(OFlags::RDWR));
    }
    restore(&of("tree"), &[writer, reader, writer]);
}

#[test]
fn memory() {
    let _guard = set_up();
    fn check() {
        assert_eq!(fcntl_get_seals(borrow(4)).unwrap().bits(), 2);
        assert_eq!(fcntl_getfd(borrow(4)).unwrap(), FdFlags::CLOEXEC);
        let mut buf = [0; 6];
        pread(borrow(4), &mut buf, 4096).unwrap();
        assert_eq!(&buf, b"memfd!");
        assert_eq!(fstat(borrow(3)).unwrap().st_size, 16384);
    }
    restore(&of("memory"), &[check, check]);
    // Mappings: the ghost, the memfd, shared anonymous memory, /dev/zero and the executable.
    let options = of("memory");
    let images = ImageDir::new(File::open(golden("memory")).unwrap().into());
    let mut files = RestoreFiles::load(&images, &options, &[]).unwrap();
    files.open_shared().unwrap();
    let read_write = Some(libc::O_RDWR as u32);
    let mut gone = [0; 22];
    pread(files.open(5, read_write).unwrap(), &mut gone, 4096).unwrap();
    assert_eq!(&gone, b"in a file that is gone");
    assert_eq!(fstat(files.open(2, read_write).unwrap()).unwrap().st_size, 8192);
    assert_eq!(fstat(files.open(4, None).unwrap()).unwrap().st_size, 12288);
    assert_eq!(fstat(files.open(3, read_write).unwrap()).unwrap().st_mode & libc::S_IFMT, libc::S_IFCHR);
    assert_eq!(fstat(files.open(1, None).unwrap()).unwrap().st_size, 913888);
    // Another build of the same size: its id tells.
    let other = fs::read("/tmp/golden2").unwrap();
    let id = other.windows(4).position(|w| w == 3296261224u32.to_le_bytes()).unwrap();
    let file = File::options().write(true).open("/tmp/golden2").unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"abcd", id as u64).unwrap();
    drop(file);
    let refused = files.open(1, None).unwrap_err().to_string();
    assert!(refused.contains("/tmp/golden2: its build id is 61626364"), "{refused}");
}

#[test]
fn kinds_not_restored_yet_are_named() {
    for (name, kind) in [("inet", "established TCP"), ("sockets", "established TCP")] {
        let images = ImageDir::new(File::open(golden(name)).unwrap().into());
        let refused = RestoreFiles::load(&images, &of(name), &[(2, 1)]).unwrap_err().to_string();
        assert!(refused.contains(kind), "{refused}");
    }
}

#[test]
fn unix() {
    let _guard = set_up();
    for name in ["dgram", "sender", "listen", "gone"] {
        let _ = fs::remove_file(format!("/tmp/golden2-{name}"));
    }
    restore(
        &of("unix"),
        &[|| {
            assert_eq!(fs::symlink_metadata("/tmp/golden2-dgram").unwrap().permissions().mode() & 0o7777, 0o620);
            assert!(!fs::exists("/tmp/golden2-gone").unwrap());
            assert_eq!([text(3), text(3)], ["first", "second one"]);
            assert!(rustix::net::sockopt::socket_passcred(borrow(6)).unwrap());
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut buf = [0; 64];
            let got = recvmsg(borrow(8), &mut [IoSliceMut::new(&mut buf)], &mut control, RecvFlags::DONTWAIT).unwrap();
            assert_eq!(&buf[..got.bytes], b"with fds");
            let fds: Vec<OwnedFd> = control
                .drain()
                .flat_map(|m| if let RecvAncillaryMessage::ScmRights(fds) = m { fds.collect() } else { vec![] })
                .collect();
            assert_eq!(text(fds[0].as_raw_fd()), "piped");
            let mut counter = [0; 8];
            read(&fds[1], &mut counter).unwrap();
            assert_eq!(u64::from_ne_bytes(counter), 3);
            write(borrow(11), b"two").unwrap();
            write(borrow(9), b"one").unwrap();
            for text_sent in ["one", "two"] {
                let accepted = rustix::net::accept(borrow(5)).unwrap();
                assert_eq!(text(accepted.as_raw_fd()), text_sent);
            }
            assert_eq!([text(13), text(13)], ["last", ""]);
        }],
    );
    for name in ["dgram", "sender", "listen"] {
        fs::remove_file(format!("/tmp/golden2-{name}")).unwrap();
    }
}

#[test]
fn a_socket_of_an_image_without_its_mode_is_open_to_others() {
    let _guard = set_up();
    let scratch = Scratch::new();
    let images = ImageDir::new(File::open(Scratch::path("")).unwrap().into());
    let from = ImageDir::new(File::open(golden("unix")).unwrap().into());
    let files: Vec<FileEntry> = from.read_all(Kind::Files, 0).unwrap();
    let bound = |e: &&FileEntry| e.usk.as_ref().is_some_and(|u| u.name == b"/tmp/golden2-dgram\0");
    let mut entry = files.iter().find(bound).unwrap().clone();
    let usk = entry.usk.as_mut().unwrap();
    (usk.file_perms, usk.name) = (None, format!("{}\0", Scratch::path("socket")).into_bytes());
    images.write_one(Kind::Files, 0, &entry).unwrap();
    let fd = FdinfoEntry { id: entry.id, fd: 3, r#type: FdTypes::Unixsk as i32, ..FdinfoEntry::default() };
    images.write_one(Kind::Fdinfo, 2, &fd).unwrap();
    restore(
        &options(Path::new(&Scratch::path("")), CriuOpts::default()),
        &[|| {
            let mode = fs::symlink_metadata(Scratch::path("socket")).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o755);
        }],
    );
    drop(scratch);
}
