use std::os::fd::AsFd;

use criu_images::ImageDir;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, SeekFrom, fcntl_get_seals, fstat, memfd_create, open, seek};

use crate::file::tests::{options, round_trips, target};
use crate::file::{DumpFiles, DumpTask, Link, RestoreFiles};
use crate::sys::descriptor::borrow;
use crate::sys::trial::{fork_sleeper, put};

#[test]
fn names_seals_offsets_and_sharing() {
    fn first() {
        let seals = fcntl_get_seals(borrow(10)).unwrap();
        assert_eq!(seals, SealFlags::SHRINK);
        assert_eq!(fcntl_get_seals(borrow(13)).unwrap(), SealFlags::SEAL);
        assert_eq!(seek(borrow(10), SeekFrom::Current(0)).unwrap(), 6);
        assert_eq!(seek(borrow(11), SeekFrom::Current(0)).unwrap(), 0);
        assert_eq!(fstat(borrow(10)).unwrap().st_ino, fstat(borrow(11)).unwrap().st_ino);
        let stat = fstat(borrow(10)).unwrap();
        assert_eq!((stat.st_size, stat.st_mode & 0o7777), (3 * 4096, 0o600));
        let mut buf = [0; 6];
        assert_eq!(rustix::io::pread(borrow(11), &mut buf, 4096).unwrap(), 6);
        assert_eq!(&buf, b"memfd!");
        let name = std::fs::read_link("/proc/self/fd/10").unwrap();
        assert_eq!(name.to_str(), Some("/memfd:a name (deleted)"));
    }
    round_trips(
        Default::default(),
        || {
            let fd = memfd_create("a name", MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::fs::ftruncate(&fd, 3 * 4096).unwrap();
            rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR).unwrap();
            rustix::io::pwrite(&fd, b"memfd!", 4096).unwrap();
            seek(&fd, SeekFrom::Start(6)).unwrap();
            rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
            put(fd, 10);
            put(open("/proc/self/fd/10", OFlags::RDONLY, Mode::empty()).unwrap(), 11);
            put(memfd_create("plain", MemfdFlags::empty()).unwrap(), 13);
            fork_sleeper(|| ());
        },
        &[first, first],
    );
}

#[test]
fn shared_anonymous_memory_is_a_file_without_descriptor() {
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), Default::default());
    let dir = ImageDir::new(options.images_dir.try_clone().unwrap());
    let target = target(|| crate::sys::trial::shared_memory(8192, 4100, b"shared"), || {});
    let pid = target.pids()[0];
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let line = maps.lines().find(|l| l.contains("/dev/zero (deleted)")).unwrap();
    let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let hex = |t| u64::from_str_radix(t, 16).unwrap();
    let mut files = DumpFiles::new(&options);
    let pidfd =
        rustix::process::pidfd_open(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::PidfdFlags::empty());
    let pidfd = pidfd.unwrap();
    let task = DumpTask { pid, vpid: pid, pidfd: pidfd.as_fd() };
    let mut blockers = Vec::new();
    let link = Link::Mapped { start: hex(start), end: hex(end), dev: (0, 0), inode: 0 };
    let id = files.collect_link(&task, link, &mut blockers).unwrap().unwrap();
    assert_eq!(files.collect_link(&task, link, &mut blockers).unwrap(), Some(id));
    let exe = files.collect_link(&task, Link::Exe, &mut blockers).unwrap().unwrap();
    let cwd = files.collect_link(&task, Link::Cwd, &mut blockers).unwrap().unwrap();
    assert_eq!(blockers, []);
    files.save(&dir, &mut Default::default(), &mut crate::file::tests::Nobody).unwrap();
    drop(target);
    let mut files = RestoreFiles::load(&dir, &options, &[]).unwrap();
    files.open_shared().unwrap();
    let fd = files.open(id, Some(libc::O_RDWR as u32)).unwrap();
    let mut buf = [0; 6];
    rustix::io::pread(&fd, &mut buf, 4100).unwrap();
    assert_eq!((&buf, fstat(&fd).unwrap().st_size), (b"shared", 8192));
    let exe = files.open(exe, None).unwrap();
    assert_eq!(fstat(exe).unwrap().st_ino, rustix::fs::stat("/proc/self/exe").unwrap().st_ino);
    let cwd = files.open(cwd, None).unwrap();
    assert_eq!(fstat(cwd).unwrap().st_ino, rustix::fs::stat(".").unwrap().st_ino);
}
