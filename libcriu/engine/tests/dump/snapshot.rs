//! Tasks with much memory go on while it is written, and the images show one moment of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criu_engine::error::{Error, Phase};
use criu_engine::progress::{Operator, Stage};
use criu_images::Kind;

use crate::memory::{PAGE, map};
use crate::victim::{Checkpoint, State, Victim};

const AT: usize = 0x10_0000_0000;
const PAGES: usize = 16 << 10;
const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// What stands in the first word of a page.
fn word(page: usize) -> *mut u64 {
    (AT + page * PAGE) as *mut u64
}

fn has_no_child() -> bool {
    // SAFETY: no status is asked for.
    let got = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WALL | libc::WNOHANG) };
    got == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD)
}

/// A thread that writes 1, 2, 3 ... into all pages, from the first to the last.
struct Writing;

static STOP: AtomicBool = AtomicBool::new(false);

impl State for Writing {
    type Held = std::thread::JoinHandle<()>;
    fn build() -> Self::Held {
        map(AT, PAGES, RW, libc::MAP_PRIVATE);
        let writer = std::thread::spawn(|| {
            for round in 1.. {
                for page in 0..PAGES {
                    if STOP.load(Ordering::Relaxed) {
                        return;
                    }
                    // SAFETY: mapped above; nobody else writes.
                    unsafe { word(page).write_volatile(round) };
                }
            }
        });
        // SAFETY: mapped above.
        while unsafe { word(PAGES - 1).read_volatile() } == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        writer
    }
    fn check(writer: Self::Held) -> bool {
        STOP.store(true, Ordering::Relaxed);
        writer.join().is_ok() && has_no_child()
    }
}

/// The words that the images hold.
fn words(c: &Checkpoint, pid: i32) -> Vec<u64> {
    use std::os::unix::fs::FileExt;
    let pagemap = c.images.pagemap(Kind::Pagemap, pid as u64).unwrap().unwrap();
    let pages = c.images.page_file(&pagemap).unwrap().unwrap();
    let (mut at, mut found) = (0, Vec::new());
    for r in &pagemap.records {
        for page in 0..r.page_count() {
            let address = r.vaddr + page * PAGE as u64;
            if (AT as u64..(AT + PAGES * PAGE) as u64).contains(&address) {
                let mut b = [0; 8];
                pages.file().read_exact_at(&mut b, at).unwrap();
                found.push(u64::from_ne_bytes(b));
            }
            at += PAGE as u64;
        }
    }
    found
}

#[test]
fn one_moment_of_a_task_that_writes_on() {
    let v = Victim::start::<Writing>();
    for _ in 0..3 {
        let c = Checkpoint::new();
        let outcome = c.dump(v.pid).unwrap();
        assert_eq!((outcome.stats.snapshots, outcome.stats.copied_frozen), (1, 0));
        let words = words(&c, v.pid);
        assert_eq!(words.len(), PAGES);
        let (first, last) = (words[0], words[PAGES - 1]);
        assert!(first == last || first == last + 1, "{first} .. {last}");
        assert!(words.is_sorted_by(|a, b| a >= b), "a later page was written in an earlier moment");
    }
    assert!(v.checks_itself());
}

/// A thread that moves a window of pages on: the next one is written to, the last one given back.
struct Moving;

const WINDOW: usize = 4 << 10;

impl State for Moving {
    type Held = std::thread::JoinHandle<()>;
    fn build() -> Self::Held {
        map(AT, PAGES, RW, libc::MAP_PRIVATE);
        // SAFETY: mapped above; nobody else touches these pages.
        let write = |page: usize| unsafe { word(page % PAGES).write_volatile(page as u64 + 1) };
        (0..WINDOW).for_each(write);
        std::thread::spawn(move || {
            for page in WINDOW.. {
                if STOP.load(Ordering::Relaxed) {
                    return;
                }
                write(page);
                // SAFETY: as above.
                unsafe { libc::madvise(word((page - WINDOW) % PAGES).cast(), PAGE, libc::MADV_DONTNEED) };
            }
        })
    }
    fn check(mover: Self::Held) -> bool {
        STOP.store(true, Ordering::Relaxed);
        mover.join().is_ok() && has_no_child()
    }
}

#[test]
fn which_pages_there_are_is_of_the_same_moment() {
    let v = Victim::start::<Moving>();
    for _ in 0..3 {
        let c = Checkpoint::new();
        assert_eq!(c.dump(v.pid).unwrap().stats.snapshots, 1);
        let mut words = words(&c, v.pid);
        words.sort_unstable();
        assert!((WINDOW..=WINDOW + 1).contains(&words.len()), "{} pages", words.len());
        // There already, and not written to yet.
        if words[0] == 0 {
            words.remove(0);
        }
        assert!(words.windows(2).all(|w| w[1] == w[0] + 1), "{} .. {}", words[0], words[words.len() - 1]);
    }
    assert!(v.checks_itself());
}

/// Memory that a child does not get.
struct Uninherited;

impl State for Uninherited {
    type Held = ();
    fn build() {
        let p = map(AT, PAGES, RW, libc::MAP_PRIVATE);
        for page in 0..PAGES {
            // SAFETY: mapped above.
            unsafe { word(page).write_volatile(7) };
        }
        // SAFETY: within the mapping.
        unsafe { assert_eq!(libc::madvise(p.add(9 * PAGE).cast(), PAGE, libc::MADV_WIPEONFORK), 0) };
    }
    fn check((): ()) -> bool {
        // SAFETY: mapped by `build`.
        has_no_child() && (0..PAGES).all(|page| unsafe { word(page).read_volatile() } == 7)
    }
}

#[test]
fn a_task_stands_still_where_a_copy_would_not_be_exact() {
    let v = Victim::start::<Uninherited>();
    let c = Checkpoint::new();
    let outcome = c.dump(v.pid).unwrap();
    assert_eq!((outcome.stats.snapshots, outcome.stats.copied_frozen), (0, 1));
    assert!(words(&c, v.pid).iter().all(|w| *w == 7));
    assert!(v.checks_itself());
}

/// Cancels when so many looks have been taken; wants to be asked after the dump, or does not.
struct Cancels {
    looks: usize,
    waits: bool,
}

impl Operator for Cancels {
    fn stage(&mut self, _: Stage, _: Option<i32>, _: Option<std::os::fd::BorrowedFd<'_>>) -> Result<(), Error> {
        Ok(())
    }
    fn is_awaited(&self, stage: Stage) -> bool {
        self.waits && stage == Stage::PostDump
    }
    fn progress(&mut self, _: Phase, _: u64, _: u64) {}
    fn check_cancelled(&mut self, phase: Phase) -> Result<(), Error> {
        if self.looks == 0 {
            return Err(Error::new(phase, "dump", "cancelled"));
        }
        self.looks -= 1;
        Ok(())
    }
}

#[test]
fn no_copy_stays_when_the_dump_is_cancelled() {
    let v = Victim::start::<Writing>();
    let mut cancelled = 0;
    for looks in 0.. {
        let c = Checkpoint::new();
        match criu_engine::dump(&c.options(v.pid), &mut Cancels { looks, waits: false }) {
            Ok(_) => break,
            Err(e) => assert_eq!(e.cause, "cancelled"),
        }
        assert_eq!(c.names().iter().filter(|n| *n == "inventory.img").count(), 0);
        cancelled += 1;
    }
    assert!(cancelled > 4, "{cancelled}");
    assert!(v.checks_itself());
}

#[test]
fn whoever_waits_for_the_end_of_the_dump_finds_the_task_standing_still() {
    let v = Victim::start::<Writing>();
    let c = Checkpoint::new();
    let outcome = criu_engine::dump(&c.options(v.pid), &mut Cancels { looks: 1000, waits: true }).unwrap();
    assert_eq!((outcome.stats.snapshots, outcome.stats.copied_frozen), (0, 0));
    assert!(v.checks_itself());
}
