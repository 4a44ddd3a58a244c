use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::{CriuOpts, IoUringEntry};

use super::{MOST_NOPS, MOST_SINGLE, NO_SQARRAY, R_DISABLED, REQUESTS_AT, Steps, requests_bytes, rings_bytes};
use crate::file::tests::{blockers, round_trip};
use crate::sys::descriptor::borrow;
use crate::sys::kernel::Kernel;
use crate::sys::trial::put;
use crate::sys::uring::{Params, enter, set_up};
use crate::sys::view::View;

/// Without instances, or the right to look at them.
fn cannot() -> bool {
    Kernel::open().is_err() || set_up(&mut Params::new(1, 0, 0)).is_err()
}

fn instance() -> (OwnedFd, Params) {
    let mut params = Params::new(4, 0, 0);
    (set_up(&mut params).unwrap(), params)
}

/// The instance is given requests for nothing, whose completions are taken.
fn use_up(fd: &OwnedFd, params: &Params, count: u32) {
    let rings = View::of(fd.as_fd(), rings_bytes(params)).unwrap();
    for _ in 0..count {
        let tail = params.sq.tail as usize;
        rings.set_word(tail, rings.word(tail) + 1);
        assert_eq!(enter(fd.as_fd(), 1).unwrap(), 1);
        rings.set_word(params.cq.head as usize, rings.word(params.cq.tail as usize));
    }
}

#[test]
fn counts_and_contents() {
    if cannot() {
        return;
    }
    fn setup() {
        let (fd, params) = instance();
        use_up(&fd, &params, 1003);
        let requests = View::from(fd.as_fd(), REQUESTS_AT, requests_bytes(&params)).unwrap();
        requests.put(100, b"left here");
        put(fd, 10);
    }
    fn check() {
        let (_, params) = instance();
        let told = std::fs::read_to_string("/proc/self/fdinfo/10").unwrap();
        let of = |key: &str| told.lines().find_map(|l| l.strip_prefix(key)).map(str::trim).map(str::to_owned);
        for key in ["CachedSqHead:", "CachedCqTail:", "CqHead:", "SqTail:"] {
            assert_eq!(of(key).as_deref(), Some("1003"), "{key}");
        }
        let requests = View::from(borrow(10), REQUESTS_AT, requests_bytes(&params)).unwrap();
        assert_eq!(requests.bytes(100, 9), b"left here");
    }
    round_trip(setup, check);
}

#[test]
fn what_is_not_kept_is_named() {
    const IOPOLL: u32 = 1;
    if cannot() {
        return;
    }
    let found = blockers(CriuOpts::default(), || {
        put(set_up(&mut Params::new(4, 0, IOPOLL)).unwrap(), 10);
    });
    assert_eq!(found.len(), 1);
    let text = found[0].to_string();
    assert!(text.contains("fd 10 (") && text.contains("IORING_SETUP_IOPOLL"), "{text}");
}

fn steps(taken: u32, given: u32, flags: u32, drain_disabled: Option<bool>) -> Result<Steps, String> {
    Steps::to(&IoUringEntry { taken, given, setup_flags: flags, drain_disabled, ..IoUringEntry::default() })
}

#[test]
fn ways() {
    let nops = |nops| Steps { nops, ..Steps::default() };
    assert_eq!(steps(0, 0, R_DISABLED, None), Ok(nops(0)));
    assert_eq!(steps(7, 7, 0, None), Ok(nops(7)));
    assert_eq!(steps(9, 7, 0, None), Ok(Steps { dropped: 2, ..nops(7) }));
    assert_eq!(steps(9, 7, 0, Some(true)), Ok(Steps { skipped: 2, ..nops(7) }));
    assert_eq!(steps(7, 9, 0, None), Ok(Steps { sent: 2, ..nops(7) }));
    assert_eq!(steps(7, 9, 0, Some(true)), Ok(Steps { skipped: 1, sent: 3, ..nops(6) }));
    assert!(steps(9, 7, NO_SQARRAY, None).is_err() && steps(1, 0, R_DISABLED, None).is_err());
    assert!(steps(MOST_NOPS + 1, MOST_NOPS + 1, 0, None).is_err() && steps(u32::MAX, 0, 0, None).is_err());
    assert!(steps(0, MOST_SINGLE + 1, 0, None).is_err() && steps(0, 0, 0, Some(true)).is_err());
}
