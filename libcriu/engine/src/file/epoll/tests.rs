use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};

use crate::file::tests::{blockers, round_trip};
use crate::sys::descriptor::{adopt, borrow};
use crate::sys::trial::put;

fn watch(epoll: i32, fd: i32, data: u64, events: EventFlags) {
    epoll::add(borrow(epoll), borrow(fd), EventData::new_u64(data), events).unwrap();
}

fn ready(epoll: i32) -> Vec<u64> {
    let mut events = Vec::with_capacity(16);
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    epoll::wait(borrow(epoll), spare_capacity(&mut events), Some(&now)).unwrap();
    let mut data: Vec<u64> = events.iter().map(|e| e.data.u64()).collect();
    data.sort_unstable();
    data
}

fn registrations(epoll: i32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).unwrap();
    let mut lines: Vec<_> =
        text.lines().filter_map(|l| Some(l.strip_prefix("tfd:")?.split("pos:").next()?.trim().into())).collect();
    lines.sort();
    lines
}

#[test]
fn nested_and_edge_triggered() {
    round_trip(
        || {
            for fd in [10, 11] {
                put(epoll::create(CreateFlags::empty()).unwrap(), fd);
            }
            put(eventfd(1, EventfdFlags::empty()).unwrap(), 12);
            put(eventfd(0, EventfdFlags::empty()).unwrap(), 13);
            watch(10, 12, 0x1234567890, EventFlags::IN | EventFlags::ET);
            watch(10, 13, 7, EventFlags::IN);
            watch(11, 10, 22, EventFlags::IN);
        },
        || {
            assert_eq!(ready(11), [22]);
            assert_eq!(ready(10), [0x1234567890]);
            assert_eq!(ready(10), [0u64; 0]);
            assert_eq!(registrations(10).len(), 2);
        },
    );
}

#[test]
fn numbers_closed_or_used_anew_since() {
    round_trip(
        || {
            put(epoll::create(CreateFlags::empty()).unwrap(), 10);
            for fd in [20, 21, 22] {
                put(eventfd(1, EventfdFlags::empty()).unwrap(), fd);
            }
            watch(10, 20, 20, EventFlags::IN);
            watch(10, 21, 21, EventFlags::IN);
            watch(10, 22, 22, EventFlags::IN);
            // 20 goes on as 30, its number closed; 21 goes on as 31, its number another file's, watched as well.
            put(borrow(20).try_clone_to_owned().unwrap(), 30);
            drop(adopt(20));
            put(borrow(21).try_clone_to_owned().unwrap(), 31);
            put(eventfd(0, EventfdFlags::empty()).unwrap(), 21);
            watch(10, 21, 210, EventFlags::IN);
        },
        || {
            assert_eq!(ready(10), [20, 21, 22]);
            let numbers: Vec<_> = registrations(10).iter().map(|l| l.split(' ').next().unwrap().to_owned()).collect();
            assert_eq!(numbers, ["20", "21", "21", "22"]);
            assert!(rustix::io::fcntl_getfd(borrow(20)).is_err());
            rustix::io::write(borrow(21), &1u64.to_ne_bytes()).unwrap();
            assert_eq!(ready(10), [20, 21, 22, 210]);
            rustix::io::read(borrow(21), &mut [0u8; 8]).unwrap();
        },
    );
}

#[test]
fn a_watched_file_that_nobody_has_is_named() {
    let found = blockers(Default::default(), || {
        put(epoll::create(CreateFlags::empty()).unwrap(), 10);
        let (event, (keep, _other)) = (eventfd(1, EventfdFlags::empty()).unwrap(), rustix::pipe::pipe().unwrap());
        put(event, 20);
        put(keep, 21);
        watch(10, 20, 20, EventFlags::IN);
        // Only a process outside the tree keeps it open: one that is no child of this one any more.
        crate::sys::trial::fork_orphan();
        drop(adopt(20));
        borrow(10).as_fd();
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().contains("fd 10 (anon_inode:[eventpoll]): it watches what was fd 20"), "{}", found[0]);
}
