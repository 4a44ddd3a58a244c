use std::fs;

use criu_images::messages::CriuOpts;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::read;

use crate::file::tests::{Scratch, blockers, round_trip};
use crate::sys::descriptor::borrow;
use crate::sys::notify::{add_mark, fanotify};
use crate::sys::trial::{self, put};

/// Number and mask of every event that waits.
fn events(fd: i32) -> Vec<(i32, u32)> {
    let mut buf = [0; 4096];
    let n = read(borrow(fd), &mut buf).unwrap_or(0);
    let mut events = Vec::new();
    let mut at = 0;
    while at + 16 <= n {
        let word = |i: usize| u32::from_ne_bytes(buf[at + i..at + i + 4].try_into().unwrap());
        events.push((word(0) as i32, word(4)));
        at += 16 + word(12) as usize;
    }
    events
}

#[test]
fn watches_have_their_numbers_again() {
    let _scratch = Scratch::new();
    fs::create_dir(Scratch::path("dir")).unwrap();
    std::os::unix::fs::symlink("nowhere", Scratch::path("link")).unwrap();
    fn setup() {
        let fd = inotify::init(CreateFlags::NONBLOCK).unwrap();
        let add = |path: &str, flags| inotify::add_watch(&fd, Scratch::path(path), flags).unwrap();
        for n in 1..=20 {
            assert_eq!(add("dir", WatchFlags::CREATE | WatchFlags::DELETE), n);
            if n < 20 {
                inotify::remove_watch(&fd, n).unwrap();
            }
        }
        assert_eq!(add("link", WatchFlags::ATTRIB | WatchFlags::DONT_FOLLOW), 21);
        assert_eq!(inotify::add_watch(&fd, "/dev/shm", WatchFlags::DELETE_SELF | WatchFlags::ONESHOT).unwrap(), 22);
        let _ = read(&fd, &mut [0; 4096]);
        put(fd, 10);
        put(inotify::init(CreateFlags::empty()).unwrap(), 11);
    }
    fn check() {
        assert!(fcntl_getfl(borrow(10)).unwrap().contains(OFlags::NONBLOCK));
        assert!(!fcntl_getfl(borrow(11)).unwrap().contains(OFlags::NONBLOCK));
        assert_eq!(events(10), []);
        fs::write(Scratch::path("dir/new"), "").unwrap();
        fs::remove_file(Scratch::path("dir/new")).unwrap();
        assert_eq!(events(10), [(20, WatchFlags::CREATE.bits()), (20, WatchFlags::DELETE.bits())]);
        let info = fs::read_to_string("/proc/self/fdinfo/10").unwrap();
        let watch = |wd: &str| info.lines().any(|l| l.starts_with(&format!("inotify wd:{wd} ")));
        assert!(watch("14") && watch("15") && info.lines().filter(|l| l.contains("wd:")).count() == 3);
    }
    round_trip(setup, check);
}

#[test]
fn marks_of_inodes_mounts_and_filesystems() {
    let _scratch = Scratch::new();
    fs::create_dir(Scratch::path("dir")).unwrap();
    const OPEN_ON_CHILD: u64 = 0x0800_0020;
    fn setup() {
        let group = fanotify(2, libc::O_RDONLY as u32).unwrap();
        use std::os::fd::AsFd;
        let c_path = |name: &str| std::ffi::CString::new(Scratch::path(name)).unwrap();
        let path = c_path("dir");
        add_mark(group.as_fd(), 0, OPEN_ON_CHILD, &path).unwrap();
        add_mark(group.as_fd(), 0x60, 1, &path).unwrap();
        add_mark(group.as_fd(), super::FAN_MARK_MOUNT, 0x8, &c_path("mounted")).unwrap();
        add_mark(group.as_fd(), super::FAN_MARK_FILESYSTEM, 0x8, &c_path("mounted")).unwrap();
        let text =
            fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&group))).unwrap();
        fs::write(Scratch::path("marks"), marks(&text)).unwrap();
        put(group, 10);
    }
    fn marks(text: &str) -> String {
        text.lines().filter(|l| l.starts_with("fanotify")).collect::<Vec<_>>().join("\n")
    }
    fn check() {
        let now = fs::read_to_string("/proc/self/fdinfo/10").unwrap();
        assert_eq!(marks(&now), fs::read_to_string(Scratch::path("marks")).unwrap());
        fs::write(Scratch::path("dir/new"), "").unwrap();
        let mut buf = [0; 256];
        assert_eq!(read(borrow(10), &mut buf), Ok(24));
        assert_eq!(u64::from_ne_bytes(buf[8..16].try_into().unwrap()), 0x20);
        fs::remove_file(Scratch::path("dir/new")).unwrap();
    }
    fs::create_dir(Scratch::path("mounted")).unwrap();
    let apart = trial::fork(|| {
        trial::own_mounts();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", Scratch::path("mounted"), "tmpfs", flags, None).unwrap();
        round_trip(setup, check);
    });
    apart.finish().unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_watch_of_what_is_gone_is_refused() {
    let _scratch = Scratch::new();
    // Only somebody outside has it open.
    let outside = fs::File::create(Scratch::path("gone")).unwrap();
    let found = blockers(CriuOpts::default(), || {
        let fd = inotify::init(CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&fd, Scratch::path("gone"), WatchFlags::MODIFY).unwrap();
        fs::remove_file(Scratch::path("gone")).unwrap();
        put(fd, 10);
        put(fanotify(4, 0).unwrap(), 12);
    });
    let text: Vec<String> = found.iter().map(|b| b.to_string()).collect();
    assert_eq!(text.len(), 2, "{text:#?}");
    assert!(text.iter().any(|t| t.contains("fd 10 (") && t.contains("no path leads")), "{text:#?}");
    assert!(text.iter().any(|t| t.contains("fd 12 (") && t.contains("permission")), "{text:#?}");
    drop(outside);
}
