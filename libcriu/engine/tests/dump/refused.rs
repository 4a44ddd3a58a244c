//! What cannot be saved is named, all of it at once; nothing is written and nobody is harmed.

use criu_engine::{Error, Operator, Phase, Stage};

use crate::Plain;
use crate::victim::{Checkpoint, Silent, State, Victim};

struct Several;

impl State for Several {
    type Held = ();
    fn build() {
        // SAFETY: integers, and a thread that shares nothing of ours but memory.
        unsafe {
            let flags = libc::CLONE_FILES | libc::SIGCHLD;
            // A grandchild that shares with its grandparent, its own parent having a table apart.
            if libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) == 0 {
                if libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) != 0 {
                    libc::unshare(libc::CLONE_FILES);
                }
                // Neither outlives the victim.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                loop {
                    libc::pause();
                }
            }
            assert!(libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) >= 0);
        }
        std::thread::spawn(|| {
            // SAFETY: an integer.
            unsafe { libc::unshare(libc::CLONE_FS) };
            loop {
                std::thread::park();
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    fn check((): ()) -> bool {
        true
    }
}

#[test]
fn everything_at_once() {
    let v = Victim::start::<Several>();
    let c = Checkpoint::new();
    let e = c.dump(v.pid).unwrap_err();
    let said: Vec<String> = e.blockers.iter().map(ToString::to_string).collect();
    let says = |text: &str| said.iter().any(|s| s.contains(text));
    assert!(says("CLONE_FILES") && says("working directory of its own"), "{said:#?}");
    assert!(says("userfaultfd"), "{said:#?}");
    assert_eq!(c.names(), Vec::<String>::new());
    assert_eq!(criu_engine::preflight(&c.options(v.pid), &mut Silent).unwrap(), e.blockers);
    assert!(v.checks_itself());
}

#[test]
fn a_session_from_outside() {
    let v = Victim::start_inside::<Plain>();
    let c = Checkpoint::new();
    let e = c.dump(v.pid).unwrap_err();
    assert!(e.hint.contains("--shell-job"), "{e}");
    let mut options = c.options(v.pid);
    options.msg.shell_job = Some(true);
    criu_engine::dump(&options, &mut Silent).unwrap_or_else(|e| panic!("{e}\n{:#?}", e.blockers));
    assert!(v.checks_itself());
}

#[test]
fn preflight_changes_nothing() {
    let v = Victim::start::<Plain>();
    let c = Checkpoint::new();
    assert_eq!(criu_engine::preflight(&c.options(v.pid), &mut Silent).unwrap(), []);
    assert_eq!(c.names(), Vec::<String>::new());
    assert!(v.checks_itself());
}

/// Fails at one stage, or at the n-th look whether the operation goes on.
struct Stubborn {
    stage: Option<Stage>,
    looks: Option<usize>,
}

impl Operator for Stubborn {
    fn stage(&mut self, stage: Stage, _: Option<i32>, _: Option<std::os::fd::BorrowedFd<'_>>) -> Result<(), Error> {
        if self.stage == Some(stage) { Err(Error::new(Phase::Commit, stage.name(), "refused")) } else { Ok(()) }
    }
    fn is_awaited(&self, _: Stage) -> bool {
        true
    }
    fn progress(&mut self, _: Phase, _: u64, _: u64) {}
    fn check_cancelled(&mut self, phase: Phase) -> Result<(), Error> {
        match &mut self.looks {
            Some(0) => Err(Error::new(phase, "dump", "cancelled")),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[test]
fn cancelled_at_every_point_and_refused_by_callbacks() {
    let v = Victim::start::<Plain>();
    let kill = |c: &Checkpoint| {
        let mut o = c.options(v.pid);
        o.msg.leave_running = Some(false);
        o
    };
    for stage in [Stage::PreDump, Stage::PostDump] {
        let c = Checkpoint::new();
        let e = criu_engine::dump(&kill(&c), &mut Stubborn { stage: Some(stage), looks: None }).unwrap_err();
        assert_eq!(e.object, stage.name());
    }
    let mut cancelled = 0;
    // How often it looks depends on how long it has to wait for the target.
    for looks in 0..1000 {
        let c = Checkpoint::new();
        let mut options = kill(&c);
        options.msg.leave_running = Some(true);
        match criu_engine::dump(&options, &mut Stubborn { stage: None, looks: Some(looks) }) {
            Ok(_) => break,
            Err(e) => assert_eq!(e.cause, "cancelled"),
        }
        assert!(!c.names().contains(&"inventory.img".to_owned()));
        cancelled += 1;
    }
    assert!((4..1000).contains(&cancelled), "{cancelled} looks");
    assert!(v.checks_itself());
}

#[test]
fn an_older_inventory_does_not_outlive_a_failed_dump() {
    let v = Victim::start::<Plain>();
    let c = Checkpoint::new();
    c.dump(v.pid).unwrap();
    assert!(c.names().contains(&"inventory.img".to_owned()));
    // Nothing can be written under this name.
    std::fs::remove_file(c.path.join("timens-0.img")).unwrap();
    std::fs::create_dir(c.path.join("timens-0.img")).unwrap();
    let e = c.dump(v.pid).unwrap_err();
    assert!(e.object.contains("timens-0.img"), "{e}");
    assert!(!c.names().contains(&"inventory.img".to_owned()));
    assert!(v.checks_itself());
}
