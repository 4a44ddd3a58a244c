//! Many threads, each asleep in some way or counting, each watching itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Verdict;

static STOP: AtomicBool = AtomicBool::new(false);
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static WRONG: AtomicUsize = AtomicUsize::new(0);

/// Sleeps in slices; a slice that ends early or by a signal is wrong.
fn doze(kind: usize) {
    while !STOP.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let nap = libc::timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        // SAFETY: the structures live during the calls.
        let ok = unsafe {
            match kind % 3 {
                0 => libc::nanosleep(&nap, std::ptr::null_mut()) == 0,
                1 => libc::poll(std::ptr::null_mut(), 0, 200) == 0,
                _ => {
                    let word = 0_u32;
                    let op = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
                    libc::syscall(libc::SYS_futex, &word, op, 0, &nap) == -1
                        && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT)
                }
            }
        };
        if !ok || begin.elapsed() < Duration::from_millis(195) {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Adds up with a carry from number to number: any register lost shows.
fn count() {
    let (mut a, mut b, mut n) = (0_u64, 1_u64, 0_u64);
    while !STOP.load(Ordering::Relaxed) {
        for _ in 0..1000 {
            n += 1;
            a = a.wrapping_mul(3).wrapping_add(n);
            b = b.wrapping_mul(3).wrapping_add(n);
        }
        // a and b started one apart: their distance is a power of three.
        let mut distance = 1_u64;
        let (mut base, mut exponent) = (3_u64, n);
        while exponent > 0 {
            if exponent & 1 == 1 {
                distance = distance.wrapping_mul(base);
            }
            base = base.wrapping_mul(base);
            exponent >>= 1;
        }
        if b.wrapping_sub(a) != distance {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn wait_for_the_end() {
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    STOP.store(true, Ordering::Relaxed);
}

fn verdict() -> Verdict {
    match WRONG.load(Ordering::Relaxed) {
        0 => Ok(()),
        wrong => Err(format!("{wrong} sleeps or sums went wrong")),
    }
}

fn with_threads(count_threads: usize, body: impl Fn(usize) + Copy + Send + 'static) -> Verdict {
    let run = move |n| {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        body(n);
    };
    let all: Vec<_> = (0..count_threads).map(|n| std::thread::spawn(move || run(n))).collect();
    while RUNNING.load(Ordering::Relaxed) < count_threads {
        std::thread::sleep(Duration::from_millis(1));
    }
    super::ready();
    wait_for_the_end();
    for thread in all {
        thread.join().map_err(|_| "a thread panicked")?;
    }
    verdict()
}

pub fn run(threads: usize) -> Verdict {
    with_threads(threads, doze)
}

pub fn busy(threads: usize) -> Verdict {
    with_threads(threads, |_| count())
}

/// The leader ends, another thread goes on.
pub fn without_leader() -> Verdict {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(100));
        super::ready();
        wait_for_the_end();
        println!("ok");
        std::process::exit(0);
    });
    // SAFETY: ends this thread only.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    Ok(())
}

/// Its vfork child sleeps before it ends.
pub fn vfork() -> Verdict {
    super::ready();
    let nap = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    // SAFETY: the child shares this frame, makes two system calls and ends.
    unsafe {
        let flags = libc::CLONE_VFORK | libc::CLONE_VM | libc::SIGCHLD;
        let stack = vec![0_u64; 8192];
        let top = stack.as_ptr().add(8192 - 16).cast_mut();
        extern "C" fn child(nap: *mut libc::c_void) -> i32 {
            // SAFETY: the parent's frame with the timespec stays until the child has ended.
            unsafe { libc::nanosleep(nap.cast(), std::ptr::null_mut()) };
            0
        }
        let pid = libc::clone(child, top.cast(), flags, (&raw const nap).cast_mut().cast());
        libc::waitpid(pid, std::ptr::null_mut(), 0);
        // Whoever waits for it to be through has time to find it.
        libc::nanosleep(&raw const nap, std::ptr::null_mut());
    }
    Ok(())
}
