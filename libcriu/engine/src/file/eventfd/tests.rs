use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{FdFlags, fcntl_getfd, read, write};

use crate::file::tests::round_trip;
use crate::sys::descriptor::borrow;
use crate::sys::trial::put;

fn value(fd: i32) -> u64 {
    let mut buf = [0; 8];
    assert_eq!(read(borrow(fd), &mut buf).unwrap(), 8);
    u64::from_ne_bytes(buf)
}

#[test]
fn counters_and_modes() {
    round_trip(
        || {
            put(eventfd(7, EventfdFlags::empty()).unwrap(), 10);
            put(eventfd(3, EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK).unwrap(), 11);
            put(eventfd(0, EventfdFlags::NONBLOCK).unwrap(), 12);
            let large = eventfd(1, EventfdFlags::empty()).unwrap();
            write(&large, &(u64::MAX - 2).to_ne_bytes()).unwrap();
            put(large, 13);
            rustix::io::fcntl_setfd(borrow(13), FdFlags::CLOEXEC).unwrap();
        },
        || {
            assert_eq!(value(10), 7);
            assert_eq!([value(11), value(11), value(11)], [1, 1, 1]);
            assert_eq!(read(borrow(11), &mut [0u8; 8]), Err(rustix::io::Errno::AGAIN));
            assert_eq!(read(borrow(12), &mut [0u8; 8]), Err(rustix::io::Errno::AGAIN));
            assert_eq!(value(13), u64::MAX - 1);
            assert_eq!(fcntl_getfd(borrow(13)).unwrap(), FdFlags::CLOEXEC);
        },
    );
}
