use rustix::fs::{OFlags, fcntl_getfl};

use crate::file::tests::round_trip;
use crate::sys::descriptor::{borrow, signalfd};
use crate::sys::trial::put;

#[test]
fn masks() {
    round_trip(
        || {
            put(signalfd(1 << 11 | 1 << 40, true).unwrap(), 10);
            put(signalfd(0, false).unwrap(), 11);
        },
        || {
            let text = std::fs::read_to_string("/proc/self/fdinfo/10").unwrap();
            assert!(text.contains("sigmask:\t0000010000000800"), "{text}");
            assert!(fcntl_getfl(borrow(10)).unwrap().contains(OFlags::NONBLOCK));
            let text = std::fs::read_to_string("/proc/self/fdinfo/11").unwrap();
            assert!(text.contains("sigmask:\t0000000000000000"), "{text}");
        },
    );
}
