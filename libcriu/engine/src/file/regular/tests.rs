use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, PermissionsExt};

use criu_images::ImageDir;
use criu_images::messages::CriuOpts;
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::{FdFlags, fcntl_getfd};

use crate::file::tests::{Scratch, blockers, options, restore, round_trip, round_trips, target};
use crate::sys::descriptor::{SignalOwner, borrow, set_signal_owner, signal_owner};
use crate::sys::trial::{fork_sleeper, put};

fn path(name: &str) -> String {
    Scratch::path(name)
}

fn read_write(name: &str, flags: OFlags) -> std::os::fd::OwnedFd {
    open(path(name), OFlags::RDWR | OFlags::CREATE | flags, Mode::from_raw_mode(0o640)).unwrap()
}

#[test]
fn flags_offset_and_cloexec() {
    let _scratch = Scratch::new();
    round_trip(
        || {
            let f = read_write("plain", OFlags::APPEND | OFlags::TRUNC);
            rustix::io::write(&f, b"0123456789").unwrap();
            seek(&f, SeekFrom::Start(4)).unwrap();
            put(f, 10);
            put(open("/tmp", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap(), 11);
            put(open("/tmp", OFlags::PATH, Mode::empty()).unwrap(), 12);
            rustix::io::fcntl_setfd(borrow(12), FdFlags::CLOEXEC).unwrap();
            put(open("/dev/urandom", OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap(), 13);
        },
        || {
            assert_eq!(seek(borrow(10), SeekFrom::Current(0)).unwrap(), 4);
            let flags = rustix::fs::fcntl_getfl(borrow(10)).unwrap();
            assert!(flags.contains(OFlags::APPEND | OFlags::RDWR), "{flags:?}");
            let mut buf = [0; 16];
            assert_eq!(rustix::io::read(borrow(10), &mut buf).unwrap(), 6);
            assert_eq!(seek(borrow(10), SeekFrom::Start(4)).unwrap(), 4);
            assert!(rustix::fs::fcntl_getfl(borrow(11)).unwrap().contains(OFlags::DIRECTORY));
            assert!(rustix::fs::fcntl_getfl(borrow(12)).unwrap().contains(OFlags::PATH));
            assert_eq!(fcntl_getfd(borrow(12)).unwrap(), FdFlags::CLOEXEC);
            assert_eq!(fcntl_getfd(borrow(10)).unwrap(), FdFlags::empty());
            assert!(rustix::fs::fcntl_getfl(borrow(13)).unwrap().contains(OFlags::NONBLOCK));
        },
    );
}

#[test]
fn duplicates_share_an_offset_and_others_do_not() {
    let _scratch = Scratch::new();
    fn shared() {
        seek(borrow(20), SeekFrom::Start(3)).unwrap();
        assert_eq!(seek(borrow(40), SeekFrom::Current(0)).unwrap(), 3);
        assert_eq!(seek(borrow(21), SeekFrom::Current(0)).unwrap(), 0);
        seek(borrow(40), SeekFrom::Start(0)).unwrap();
    }
    fn alone() {
        assert_eq!(seek(borrow(21), SeekFrom::Current(0)).unwrap(), 0);
    }
    round_trips(
        CriuOpts::default(),
        || {
            std::fs::write(path("shared"), "abcdef").unwrap();
            put(read_write("shared", OFlags::empty()), 20);
            put(read_write("shared", OFlags::empty()), 21);
            put(borrow(20).try_clone_to_owned().unwrap(), 40);
            fork_sleeper(|| put(read_write("shared", OFlags::empty()), 20));
        },
        &[shared, alone],
    );
}

#[test]
fn a_thousand_of_one_file() {
    let _scratch = Scratch::new();
    round_trip(
        || {
            std::fs::write(path("many"), "x").unwrap();
            for fd in 1000..2000 {
                put(read_write("many", OFlags::empty()), fd);
            }
        },
        || {
            for fd in 1000..2000 {
                rustix::io::fcntl_getfd(borrow(fd)).unwrap();
            }
            assert!(rustix::io::fcntl_getfd(borrow(2000)).is_err());
        },
    );
}

#[test]
fn as_few_comparisons_as_can_be() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), CriuOpts::default());
    let setup = || {
        for fd in 1000..2000 {
            // Half of them alike in everything, half told apart by their offsets.
            let file = read_write("compared", OFlags::empty());
            seek(&file, SeekFrom::Start(if fd % 2 == 0 { 0 } else { fd })).unwrap();
            put(file, fd as i32);
        }
        fork_sleeper(|| ());
    };
    let (files, found) = target(setup, || {}).collect(&options);
    assert_eq!(found, []);
    // 500 alike: 9 steps of a search each, twice; 500 unlike: one call each, in the second table.
    let calls = files.kcmp_calls();
    assert!(calls < 2 * 9 * 500 + 500 + 50, "{calls} calls of kcmp");
}

#[test]
fn signal_owners() {
    let _scratch = Scratch::new();
    round_trip(
        || {
            let f = read_write("owned", OFlags::empty());
            // An owner that is still there at the restore: the test.
            let pid = std::os::unix::process::parent_id() as i32;
            set_signal_owner(f.as_fd(), SignalOwner { kind: 1, pid, signal: 40, uid: 0, euid: 0 }).unwrap();
            put(f, 30);
        },
        || {
            let owner = signal_owner(borrow(30)).unwrap();
            assert_eq!((owner.kind, owner.signal), (1, 40));
        },
    );
}

#[test]
fn unlinked_ones_are_kept_with_their_holes() {
    let _scratch = Scratch::new();
    fn gone() {
        let (f, g) = (borrow(10), borrow(11));
        let stat = rustix::fs::fstat(f).unwrap();
        assert_eq!((stat.st_nlink, stat.st_size, stat.st_mode & 0o7777), (0, 1 << 20, 0o640));
        assert!(stat.st_blocks * 512 < 1 << 20, "holes stay holes");
        let mut buf = [0; 5];
        rustix::io::pread(g, &mut buf, 65536).unwrap();
        assert_eq!(&buf, b"ghost");
        assert_eq!(seek(g, SeekFrom::Current(0)).unwrap(), 7);
        assert_eq!(rustix::fs::fstat(g).unwrap().st_ino, stat.st_ino);
        let dir = rustix::fs::fstat(borrow(12)).unwrap();
        assert_eq!((dir.st_mode & libc::S_IFMT, dir.st_nlink), (libc::S_IFDIR, 0));
        assert!(!std::path::Path::new(&path("ghost-dir")).exists());
        let link = std::fs::read_link("/proc/self/fd/10").unwrap();
        assert_eq!(link.to_str().unwrap(), path("ghost") + " (deleted)");
    }
    round_trip(
        || {
            put(read_write("ghost", OFlags::empty()), 10);
            let second = open(path("ghost"), OFlags::RDONLY, Mode::empty()).unwrap();
            seek(&second, SeekFrom::Start(7)).unwrap();
            put(second, 11);
            rustix::fs::ftruncate(borrow(10), 1 << 20).unwrap();
            rustix::io::pwrite(borrow(10), b"ghost", 65536).unwrap();
            std::fs::remove_file(path("ghost")).unwrap();
            std::fs::create_dir(path("ghost-dir")).unwrap();
            put(open(path("ghost-dir"), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap(), 12);
            std::fs::remove_dir(path("ghost-dir")).unwrap();
        },
        gone,
    );
}

#[test]
fn other_links_that_are_left_lead_to_it() {
    let _scratch = Scratch::new();
    let _ = std::fs::remove_file(path("second-link"));
    round_trips(
        CriuOpts { link_remap: Some(true), ..CriuOpts::default() },
        || {
            let f = read_write("first-link", OFlags::TRUNC);
            rustix::io::write(&f, b"linked").unwrap();
            put(f, 10);
            put(open(path("first-link"), OFlags::RDONLY, Mode::empty()).unwrap(), 11);
            std::fs::hard_link(path("first-link"), path("second-link")).unwrap();
            std::fs::remove_file(path("first-link")).unwrap();
        },
        &[|| {
            let other = rustix::fs::stat(path("second-link")).unwrap();
            for fd in [10, 11] {
                assert_eq!(rustix::fs::fstat(borrow(fd)).unwrap().st_ino, other.st_ino);
            }
            let link = std::fs::read_link("/proc/self/fd/10").unwrap();
            assert_eq!(link.to_str().unwrap(), path("first-link") + " (deleted)");
            rustix::io::pwrite(borrow(10), b"L", 0).unwrap();
            assert_eq!(std::fs::read_to_string(path("second-link")).unwrap(), "Linked");
            assert_eq!(seek(borrow(10), SeekFrom::Current(0)).unwrap(), 6);
        }],
    );
    assert_eq!(rustix::fs::stat(path("second-link")).unwrap().st_nlink, 1, "the dump's own link is gone");
    std::fs::remove_file(path("second-link")).unwrap();
}

#[test]
fn a_dump_that_fails_leaves_no_link() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), CriuOpts { link_remap: Some(true), ..CriuOpts::default() });
    let setup = || {
        put(read_write("left", OFlags::empty()), 10);
        std::fs::hard_link(path("left"), path("left-other")).unwrap();
        std::fs::remove_file(path("left")).unwrap();
    };
    let (mut files, found) = target(setup, || {}).collect(&options);
    assert_eq!(found, []);
    let dir = ImageDir::new(options.images_dir.try_clone().unwrap());
    let links = || rustix::fs::stat(path("left-other")).unwrap().st_nlink;
    files.save(&dir, &mut Default::default(), &mut crate::file::tests::Nobody).unwrap();
    assert_eq!(links(), 2);
    drop(files);
    assert_eq!(links(), 1);
    std::fs::remove_file(path("left-other")).unwrap();
}

#[test]
fn proc_files_by_path_as_far_as_they_lead_there_again() {
    let _scratch = Scratch::new();
    round_trip(
        || {
            put(open("/proc/meminfo", OFlags::RDONLY, Mode::empty()).unwrap(), 10);
            put(open("/proc/sys/kernel/ostype", OFlags::RDONLY, Mode::empty()).unwrap(), 11);
        },
        || {
            let mut buf = [0; 9];
            rustix::io::pread(borrow(10), &mut buf, 0).unwrap();
            assert_eq!(&buf, b"MemTotal:");
            rustix::io::pread(borrow(11), &mut buf[..5], 0).unwrap();
            assert_eq!(&buf[..5], b"Linux");
        },
    );
    let found = blockers(CriuOpts::default(), || {
        put(open("/proc/self/maps", OFlags::RDONLY, Mode::empty()).unwrap(), 9);
        put(open("/proc/1/status", OFlags::RDONLY, Mode::empty()).unwrap(), 10);
        put(open("/proc/self/fdinfo/0", OFlags::RDONLY, Mode::empty()).unwrap(), 11);
        let dead = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        put(open(format!("/proc/{}/status", dead.id()), OFlags::RDONLY, Mode::empty()).unwrap(), 12);
        rustix::io::read(borrow(12), &mut [0; 5]).unwrap();
        let mut dead = dead;
        dead.kill().unwrap();
        dead.wait().unwrap();
    });
    let mut text: Vec<String> = found.iter().map(|b| b.to_string()).collect();
    text.sort();
    assert_eq!(text.len(), 3, "{text:#?}");
    assert!(text[0].contains("fd 10 (/proc/1/status): it belongs to process 1"), "{}", text[0]);
    assert!(text[1].contains("fd 11 (") && text[1].contains("of a thread or descriptor"), "{}", text[1]);
    assert!(text[2].contains("fd 12 (") && text[2].contains("is gone, read in part"), "{}", text[2]);
}

#[test]
fn external_files_are_given_by_whoever_restores() {
    let _scratch = Scratch::new();
    use criu_images::messages::InheritFd;
    let images = tempfile::tempdir().unwrap();
    let file = read_write("outside", OFlags::empty());
    let info =
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&file))).unwrap();
    let mount: u32 = info.lines().find_map(|l| l.strip_prefix("mnt_id:")?.trim().parse().ok()).unwrap();
    let key = format!("file[{mount:x}:{:x}]", rustix::fs::fstat(&file).unwrap().st_ino);
    let external = vec![key.clone()];
    let opts = CriuOpts { external, ..CriuOpts::default() };
    let setup = || {
        put(read_write("outside", OFlags::empty()), 10);
        std::fs::remove_file(path("outside")).unwrap();
    };
    crate::file::tests::dump(&options(images.path(), opts), setup, &[|| {}]);
    let dir = ImageDir::new(File::open(images.path()).unwrap().into());
    let without = crate::file::RestoreFiles::load(&dir, &options(images.path(), CriuOpts::default()), &[]).unwrap_err();
    assert!(without.to_string().contains(&format!("--inherit-fd fd[N]:{key}")), "{without}");
    let stand_in = tempfile::tempfile().unwrap();
    stand_in.write_all_at(b"stand-in", 0).unwrap();
    let inherit_fd = vec![InheritFd { key, fd: std::os::fd::AsRawFd::as_raw_fd(&stand_in) }];
    restore(
        &options(images.path(), CriuOpts { inherit_fd, ..CriuOpts::default() }),
        &[|| {
            let mut buf = [0; 8];
            rustix::io::pread(borrow(10), &mut buf, 0).unwrap();
            assert_eq!(&buf, b"stand-in");
        }],
    );
}

#[test]
fn files_and_pipes_given_by_whoever_restores() {
    let _scratch = Scratch::new();
    use criu_images::messages::{FileEntry, InheritFd};
    let images = tempfile::tempdir().unwrap();
    let setup = || {
        put(read_write("given", OFlags::empty()), 10);
        let (_, writer) = rustix::pipe::pipe().unwrap();
        put(writer, 11);
    };
    crate::file::tests::dump(&options(images.path(), CriuOpts::default()), setup, &[|| {}]);
    let dir = ImageDir::new(File::open(images.path()).unwrap().into());
    let entries: Vec<FileEntry> = dir.read_all(criu_images::Kind::Files, 0).unwrap();
    let pipe =
        entries.iter().filter(|e| e.id != 0).find_map(|e| e.pipe.as_deref().filter(|p| p.flags & 1 == 1)).unwrap();
    // The file at the path is gone: only what was given can serve.
    std::fs::remove_file(path("given")).unwrap();
    let stand_in = tempfile::tempfile().unwrap();
    stand_in.write_all_at(b"stand-in", 0).unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let key = |key: String, fd: &dyn std::os::fd::AsRawFd| InheritFd { key, fd: fd.as_raw_fd() };
    let inherit_fd = vec![
        key(path("given").trim_start_matches('/').into(), &stand_in),
        key(format!("pipe:[{}]", pipe.pipe_id), &writer),
    ];
    restore(
        &options(images.path(), CriuOpts { inherit_fd, ..CriuOpts::default() }),
        &[|| {
            let mut buf = [0; 8];
            rustix::io::pread(borrow(10), &mut buf, 0).unwrap();
            assert_eq!(&buf, b"stand-in");
            rustix::io::write(borrow(11), b"through").unwrap();
        }],
    );
    let mut buf = [0; 16];
    assert_eq!(rustix::io::read(&reader, &mut buf).unwrap(), 7);
    // A file that stands in for a pipe is written to where it stands.
    let log = read_write("log", OFlags::APPEND);
    rustix::io::write(&log, b"before, ").unwrap();
    let give = |fd: &dyn std::os::fd::AsRawFd| {
        let inherit_fd = vec![
            key(path("given").trim_start_matches('/').into(), &stand_in),
            key(format!("pipe:[{}]", pipe.pipe_id), fd),
        ];
        self::options(images.path(), CriuOpts { inherit_fd, ..CriuOpts::default() })
    };
    restore(&give(&log), &[|| assert_eq!(rustix::io::write(borrow(11), b"after").unwrap(), 5)]);
    assert_eq!(std::fs::read_to_string(path("log")).unwrap(), "before, after");
    // What cannot be written to stands in for no end that is.
    let read_only = File::open(path("log")).unwrap();
    let message = std::panic::catch_unwind(|| restore(&give(&read_only), &[|| {}])).unwrap_err();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains("the inherited descriptor cannot be written to"), "{message}");
    let inherit_fd = vec![key(path("given").trim_start_matches('/').into(), &reader)];
    let wrong = self::options(images.path(), CriuOpts { inherit_fd, ..CriuOpts::default() });
    let message = std::panic::catch_unwind(|| restore(&wrong, &[|| {}])).unwrap_err();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains("the inherited descriptor cannot be written to"), "{message}");
    let closed = InheritFd { key: "tmp/x".into(), fd: 12345 };
    let options = options(images.path(), CriuOpts { inherit_fd: vec![closed], ..CriuOpts::default() });
    let refused = crate::file::RestoreFiles::load(&dir, &options, &[]).unwrap_err();
    assert_eq!(refused.errno, libc::EBADRQC);
}

#[test]
fn what_cannot_be_saved_is_named() {
    let _scratch = Scratch::new();
    let found = blockers(CriuOpts { ghost_limit: Some(1000), ..CriuOpts::default() }, || {
        let f = read_write("big", OFlags::TRUNC);
        rustix::io::write(&f, &[1; 8192]).unwrap();
        put(f, 10);
        std::fs::remove_file(path("big")).unwrap();
        put(read_write("replaced", OFlags::empty()), 11);
        std::fs::rename(path("replaced"), path("elsewhere")).unwrap();
        let f = read_write("locked", OFlags::empty());
        rustix::fs::flock(&f, rustix::fs::FlockOperation::LockExclusive).unwrap();
        put(f, 13);
        put(read_write("linked", OFlags::empty()), 14);
        std::fs::hard_link(path("linked"), path("other-link")).unwrap();
        std::fs::remove_file(path("linked")).unwrap();
    });
    let _ = std::fs::remove_file(path("other-link"));
    let text: Vec<String> = found.iter().map(|b| b.to_string()).collect();
    // A file that was renamed is at its new path, as the kernel says: fd 11 is none of them.
    assert_eq!(text.len(), 3, "{text:#?}");
    assert!(text[0].contains("fd 10 (") && text[0].contains("--ghost-limit"), "{}", text[0]);
    assert!(text[1].contains("fd 13 (") && text[1].contains("FLOCK"), "{}", text[1]);
    assert!(text[2].contains("fd 14 (") && text[2].contains("--link-remap"), "{}", text[2]);
}

#[test]
fn changed_files_are_refused() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), CriuOpts::default());
    let _ = std::fs::remove_file(path("changing"));
    let target = target(|| put(read_write("changing", OFlags::empty()), 10), || {});
    let (mut files, blockers) = target.collect(&options);
    assert_eq!(blockers, []);
    let dir = ImageDir::new(File::open(images.path()).unwrap().into());
    files.save(&dir, &mut Default::default(), &mut crate::file::tests::Nobody).unwrap();
    drop(files);
    let file = File::options().write(true).open(path("changing")).unwrap();
    file.write_all_at(b"more", 0).unwrap();
    let message = std::panic::catch_unwind(|| restore(&options, &[|| {}])).unwrap_err();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains("/changing: it has 4 bytes, had 0 at the dump"), "{message}");
    file.set_len(0).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
    let message = std::panic::catch_unwind(|| restore(&options, &[|| {}])).unwrap_err();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains("--skip-file-rwx-check"), "{message}");
    target.check();
}

#[test]
fn ten_thousand_that_all_change_their_numbers() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), CriuOpts::default());
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if limit < 11_000 {
        eprintln!("skipped: the limit of open files is {limit}");
        return;
    }
    let setup = || {
        for fd in 1000..11_000 {
            put(read_write(&format!("t{}", fd % 100), OFlags::empty()), fd);
        }
    };
    crate::file::tests::dump(&options, setup, &[|| {}]);
    restore(
        &options,
        &[|| {
            for fd in (1000..11_000).step_by(997) {
                let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
                assert_eq!(link.to_str().unwrap(), path(&format!("t{}", fd % 100)));
            }
            assert!(rustix::io::fcntl_getfd(borrow(999)).is_err());
        }],
    );
    for n in 0..100 {
        std::fs::remove_file(path(&format!("t{n}"))).unwrap();
    }
}
