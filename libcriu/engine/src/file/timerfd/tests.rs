use std::os::fd::AsFd;

use rustix::time::timerfd_gettime;

use crate::file::tests::round_trip;
use crate::sys::descriptor::borrow;
use crate::sys::timerfd::{create, set_ticks, settime};
use crate::sys::trial::put;

#[test]
fn armed_expired_absolute_and_idle() {
    round_trip(
        || {
            let (relative, expired, absolute, idle, periodic, racing) = (
                create(libc::CLOCK_MONOTONIC, false).unwrap(),
                create(libc::CLOCK_BOOTTIME, true).unwrap(),
                create(libc::CLOCK_REALTIME, true).unwrap(),
                create(libc::CLOCK_MONOTONIC, true).unwrap(),
                create(libc::CLOCK_MONOTONIC, true).unwrap(),
                create(libc::CLOCK_MONOTONIC, true).unwrap(),
            );
            settime(relative.as_fd(), 0, (3600, 0), (60, 5)).unwrap();
            settime(expired.as_fd(), 0, (0, 1), (0, 0)).unwrap();
            settime(absolute.as_fd(), 1, (4_102_444_800, 0), (0, 0)).unwrap();
            settime(periodic.as_fd(), 0, (0, 1), (3600, 0)).unwrap();
            // Expires between any two looks.
            settime(racing.as_fd(), 0, (0, 1000), (0, 1000)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(2));
            set_ticks(periodic.as_fd(), 5).unwrap();
            for (fd, number) in [relative, expired, absolute, idle, periodic, racing].into_iter().zip(10..) {
                put(fd, number);
            }
        },
        || {
            let left = |fd| timerfd_gettime(borrow(fd)).unwrap();
            let relative = left(10);
            assert!((3500..=3600).contains(&relative.it_value.tv_sec), "{relative:?}");
            assert_eq!((relative.it_interval.tv_sec, relative.it_interval.tv_nsec), (60, 5));
            assert!(left(12).it_value.tv_sec > 1_000_000);
            assert_eq!((left(13).it_value.tv_sec, left(13).it_value.tv_nsec), (0, 0));
            let periodic = left(14);
            assert!((3500..=3600).contains(&periodic.it_value.tv_sec), "{periodic:?}");
            let ticks = |fd| {
                let mut buf = [0; 8];
                rustix::io::read(borrow(fd), &mut buf).map(|_| u64::from_ne_bytes(buf))
            };
            assert_eq!(ticks(11), Ok(1));
            assert_eq!(ticks(13), Err(rustix::io::Errno::AGAIN));
            assert_eq!(ticks(14), Ok(5));
            for _ in 0..3 {
                std::thread::sleep(std::time::Duration::from_millis(5));
                assert!(ticks(15).is_ok_and(|n| n > 0), "it ticks on");
            }
        },
    );
}
