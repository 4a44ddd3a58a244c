//! The harness of the kinds' round trips: a process builds state, is dumped while it lives on, checks itself; then the
//! state is restored in a fresh process, which checks itself the same way.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;

use criu_images::ImageDir;
use criu_images::messages::CriuOpts;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{DumpFiles, DumpTask, RestoreFiles};
use crate::error::{Blocker, Phase, Result};
use crate::mem::pages::PagesIds;
use crate::options::Options;
use crate::progress::{Operator, Stage};
use crate::sys::descriptor::{adopt, borrow, close_range, dup_to};
use crate::sys::trial::{self, Alone, Child, REPORT_FD};

pub(crate) struct Nobody;
impl Operator for Nobody {
    fn stage(&mut self, _: Stage, _: Option<i32>, _: Option<std::os::fd::BorrowedFd<'_>>) -> Result<()> {
        Ok(())
    }
    fn is_awaited(&self, _: Stage) -> bool {
        false
    }
    fn progress(&mut self, _: Phase, _: u64, _: u64) {}
    fn check_cancelled(&mut self, _: Phase) -> Result<()> {
        Ok(())
    }
}

/// A directory of the calling test's own, removed with this. The processes it forks find the same one.
pub(crate) struct Scratch;

/// The test process, also in what it forks.
static TEST_PID: std::sync::LazyLock<u32> = std::sync::LazyLock::new(std::process::id);

impl Scratch {
    pub(crate) fn new() -> Self {
        std::fs::create_dir_all(Self::path("")).unwrap();
        Scratch
    }

    /// A path in it.
    pub(crate) fn path(name: &str) -> String {
        let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
        format!("/tmp/criu-{}-{test}/{name}", *TEST_PID)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Self::path(""));
    }
}

fn open_dir(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

pub(crate) fn options(images: &Path, msg: CriuOpts) -> Options {
    Options {
        msg,
        pid: 0,
        images_dir: open_dir(images),
        work_dir: open_dir(images),
        peer_pid: 0,
        service_sk_ino: None,
        restore_sibling: false,
        restore_detached: false,
    }
}

/// A living process that has built its state.
pub(crate) struct Target {
    child: Child,
    go: OwnedFd,
    /// From the first collection on.
    alone: RefCell<Option<Alone>>,
}

const GO_FD: RawFd = 900;

/// Starts a process with three descriptors to /dev/null and whatever `setup` makes in it; `check` runs in it when told.
pub(crate) fn target(setup: impl FnOnce(), check: impl FnOnce()) -> Target {
    let (wait, go) = rustix::pipe::pipe().unwrap();
    let (ready, done) = rustix::pipe::pipe().unwrap();
    let child = trial::fork(|| {
        trial::put(wait.try_clone().unwrap(), GO_FD);
        trial::put(done.try_clone().unwrap(), 902);
        close_range(3, GO_FD as u32 - 1).unwrap();
        for fd in 0..3 {
            let null = File::options().read(true).write(true).open("/dev/null").unwrap();
            trial::put(null.into(), fd);
        }
        close_range(3, GO_FD as u32 - 1).unwrap();
        close_range(903, u32::MAX).unwrap();
        setup();
        rustix::io::write(borrow(902), b"r").unwrap();
        drop(adopt(902));
        let mut byte = [0u8];
        if rustix::io::read(borrow(GO_FD), &mut byte).unwrap() == 0 {
            std::process::exit(0);
        }
        check();
    });
    drop((done, wait));
    let mut byte = [0u8];
    if rustix::io::read(&ready, &mut byte).unwrap() == 0 {
        panic!("the setup failed: {:?}", child.finish());
    }
    // It is closing that descriptor just now: nothing may change while descriptors are looked at.
    let told = format!("/proc/{}/fd/902", child.pid);
    for _ in 0..2000 {
        if std::fs::symlink_metadata(&told).is_err() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Target { child, go, alone: RefCell::default() }
}

impl Target {
    /// The process and those it has forked, oldest first.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let pid = self.child.pid;
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        std::iter::once(pid).chain(text.split_whitespace().map(|p| p.parse().unwrap())).collect()
    }

    /// Collects every table; `files_id` counts from 2.
    pub(crate) fn collect(&self, options: &Options) -> (DumpFiles, Vec<Blocker>) {
        self.collect_with(options, &mut Nobody)
    }

    pub(crate) fn collect_with(&self, options: &Options, operator: &mut dyn Operator) -> (DumpFiles, Vec<Blocker>) {
        self.alone.borrow_mut().get_or_insert_with(trial::alone);
        let mut files = DumpFiles::new(options);
        let mut blockers = Vec::new();
        for (i, pid) in self.pids().into_iter().enumerate() {
            let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
            let task = DumpTask { pid, vpid: pid, pidfd: pidfd.as_fd() };
            files.collect_fds(&task, i as u32 + 2, &mut blockers).unwrap();
        }
        files.resolve(operator, &mut blockers).unwrap();
        (files, blockers)
    }

    /// Lets it check itself.
    pub(crate) fn check(self) {
        self.alone.take();
        File::from(self.go).write_all(b"g").unwrap();
        self.child.finish().expect("the process that was dumped and left running");
    }
}

/// Dumps what `setup` makes in a process of its own, has that process run `check` (it was left running), and then a
/// process with the restored table.
pub(crate) fn round_trip(setup: fn(), check: fn()) {
    round_trips(CriuOpts::default(), setup, &[check]);
}

/// As `round_trip`, for processes that `setup` forks: one check for each table.
pub(crate) fn round_trips(opts: CriuOpts, setup: fn(), checks: &[fn()]) {
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), opts);
    dump(&options, setup, checks);
    restore(&options, checks);
}

/// Dumps what `setup` makes into the images directory of `options` and lets the process check itself.
pub(crate) fn dump(options: &Options, setup: fn(), checks: &[fn()]) {
    let dir = ImageDir::new(options.images_dir.try_clone().unwrap());
    let target = target(setup, checks[0]);
    let (mut files, blockers) = target.collect(options);
    assert_eq!(blockers, [], "nothing stands in the way");
    files.save(&dir, &mut PagesIds::default(), &mut Nobody).unwrap();
    files.commit();
    drop(files);
    assert_eq!(target.pids().len(), checks.len());
    target.check();
}

/// Restores tables 2, 3 ... from the images directory of `options` and runs the checks in them.
pub(crate) fn restore(options: &Options, checks: &[fn()]) {
    let tables: Vec<_> = (0..checks.len()).map(|i| (i as u32 + 2, 1)).collect();
    let coordinator = trial::fork(|| {
        let dir = ImageDir::new(options.images_dir.try_clone().unwrap());
        let mut files = RestoreFiles::load(&dir, options, &tables).unwrap_or_else(|e| panic!("load: {e}"));
        files.open_shared().unwrap_or_else(|e| panic!("open_shared: {e}"));
        let children: Vec<_> = checks
            .iter()
            .zip(&tables)
            .map(|(check, table)| {
                trial::fork(|| {
                    let mut keep = [REPORT_FD];
                    files.install(table.0, &mut keep).unwrap_or_else(|e| panic!("install: {e}"));
                    // The dumped process had a report descriptor as well: the kept one made way for it.
                    dup_to(keep[0], REPORT_FD, true).unwrap();
                    check();
                })
            })
            .collect();
        // Whatever the coordinator holds would keep the other ends of pipes open.
        files.close_all();
        for child in children {
            child.finish().unwrap_or_else(|e| panic!("restored: {e}"));
        }
        files.finished();
    });
    coordinator.finish().unwrap_or_else(|e| panic!("{e}"));
}

/// What stands in the way of dumping what `setup` makes.
pub(crate) fn blockers(opts: CriuOpts, setup: fn()) -> Vec<Blocker> {
    let images = tempfile::tempdir().unwrap();
    let target = target(setup, || {});
    target.collect(&options(images.path(), opts)).1
}
