//! A process that holds some state until it is told to check it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;

use criu_engine::{DumpOutcome, Error, Operator, Options, Phase, Stage};
use criu_images::ImageDir;
use criu_images::messages::CriuOpts;

/// A forked child in a session of its own, its standard descriptors on /dev/null.
pub struct Victim {
    pub pid: i32,
    /// Told to check by a byte; answers with its verdict.
    go: File,
    verdict: File,
    /// Its two fifos.
    dir: std::path::PathBuf,
}

/// What a victim does: builds its state, then (told so) checks it.
pub trait State {
    type Held;
    fn build() -> Self::Held;
    fn check(held: Self::Held) -> bool;
}

fn fifo(name: &std::path::Path) -> (File, PathBuf) {
    let c = std::ffi::CString::new(name.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(c.as_ptr(), 0o600) }, 0);
    let f = std::fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
    (f, name.to_owned())
}

/// Forks a child that runs `f` and ends; gives its pid. It dies with its parent.
pub fn fork(f: impl FnOnce()) -> i32 {
    // SAFETY: the child only makes system calls and allocates; the C library makes its allocator usable after a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: an integer; ends the child without the test harness's own ending.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            f();
            libc::_exit(0);
        }
    }
    pid
}

impl Victim {
    pub fn start<S: State>() -> Victim {
        Victim::begin::<S>(true)
    }

    /// One that stays in the test's own session.
    pub fn start_inside<S: State>() -> Victim {
        Victim::begin::<S>(false)
    }

    fn begin<S: State>(own_session: bool) -> Victim {
        let dir = scratch("victim");
        let (go, go_name) = fifo(&dir.join("go"));
        let (mut verdict, verdict_name) = fifo(&dir.join("verdict"));
        let pid = fork(|| {
            // SAFETY: as the manual pages have them; descriptors of the test are not used any more.
            unsafe {
                if own_session {
                    libc::setsid();
                }
                let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
                for fd in 0..3 {
                    libc::dup2(null, fd);
                }
                libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
            }
            forget_the_kernel();
            let held = S::build();
            tell(&verdict_name, b'r');
            wait_for_byte(&go_name);
            let ok = S::check(held);
            tell(&verdict_name, if ok { b'o' } else { b'x' });
        });
        assert!(pid > 0);
        let mut b = [0];
        verdict.read_exact(&mut b).unwrap();
        assert_eq!(b, *b"r", "the victim is ready");
        std::thread::sleep(std::time::Duration::from_millis(20));
        Victim { pid, go, verdict, dir }
    }

    /// Lets the victim check what it holds.
    pub fn checks_itself(mut self) -> bool {
        self.go.write_all(b"g").unwrap();
        let mut b = [0];
        self.verdict.read_exact(&mut b).unwrap();
        b == *b"o"
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // SAFETY: the child is ours and not waited for yet.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// An engine in another thread of the test program has mapped its types, and a map by which it is read: a victim that was forked from
/// that is not to have them.
fn forget_the_kernel() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let is_kernels = |l: &&str| l.ends_with("/sys/kernel/btf/vmlinux") || l.ends_with("anon_inode:bpf-map");
    for line in maps.lines().filter(is_kernels) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let (start, end) = range.unwrap();
        let [start, end] = [start, end].map(|n| usize::from_str_radix(n, 16).unwrap());
        // SAFETY: nothing in this process looks at it any more.
        unsafe { libc::munmap(start as *mut libc::c_void, end - start) };
    }
}

/// Descriptors are closed again: a victim that waits has none but the standard ones.
fn tell(fifo: &std::path::Path, byte: u8) {
    std::fs::OpenOptions::new().write(true).open(fifo).unwrap().write_all(&[byte]).unwrap();
}

/// Waits by looking again and again, so that no descriptor is open meanwhile.
fn wait_for_byte(fifo: &std::path::Path) {
    loop {
        let name = std::ffi::CString::new(fifo.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: the path is a C string; the descriptor is closed by its owner.
        let mut f = unsafe {
            let fd = libc::open(name.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK);
            File::from_raw_fd(fd)
        };
        let mut b = [0];
        if f.read(&mut b).is_ok_and(|n| n == 1) {
            return;
        }
        drop(f);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// A fresh directory.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("criu-{name}-{}-{n}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

pub struct Silent;

impl Operator for Silent {
    fn stage(&mut self, _: Stage, _: Option<i32>, _: Option<std::os::fd::BorrowedFd<'_>>) -> Result<(), Error> {
        Ok(())
    }
    fn is_awaited(&self, _: Stage) -> bool {
        false
    }
    fn progress(&mut self, _: Phase, _: u64, _: u64) {}
    fn check_cancelled(&mut self, _: Phase) -> Result<(), Error> {
        Ok(())
    }
}

/// An images directory that is removed at the end.
pub struct Checkpoint {
    pub path: PathBuf,
    pub images: ImageDir,
}

impl Checkpoint {
    pub fn new() -> Checkpoint {
        let path = scratch("images");
        Checkpoint { images: ImageDir::new(open(&path)), path }
    }

    pub fn options(&self, pid: i32) -> Options {
        Options {
            msg: CriuOpts { leave_running: Some(true), ..CriuOpts::default() },
            pid,
            images_dir: open(&self.path),
            work_dir: open(&self.path),
            peer_pid: 0,
            service_sk_ino: None,
            restore_sibling: false,
            restore_detached: false,
        }
    }

    pub fn dump(&self, pid: i32) -> Result<DumpOutcome, Error> {
        criu_engine::dump(&self.options(pid), &mut Silent)
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(&self.path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn open(path: &std::path::Path) -> OwnedFd {
    File::open(path).unwrap().into()
}
