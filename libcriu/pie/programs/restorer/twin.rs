//! Children that are nearly what their parent is: forked when the parent's memory, descriptors and signal actions are in place.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::abi::{Args, Load, Pages, Range, Step, Twin};
use crate::report::{check, fail};
use crate::thread::retry_while_taken;
use crate::{call, process, slice};

const SYS_CLOSE: i64 = 3;
const SYS_MMAP: i64 = 9;
const SYS_PREAD64: i64 = 17;
const SYS_MADVISE: i64 = 28;
const SYS_GETPPID: i64 = 110;
const SYS_PRCTL: i64 = 157;
const SYS_EXIT_GROUP: i64 = 231;
const SYS_OPENAT: i64 = 257;
const SYS_CLONE3: i64 = 435;
const PR_SET_PDEATHSIG: u64 = 1;
const SIGKILL: u64 = 9;
const SIGCHLD: u64 = 17;
const O_CLOEXEC: u64 = 0x8_0000;
const MADV_DONTNEED: u64 = 4;
const READ_WRITE: u64 = 3;
/// MAP_PRIVATE, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE.
const NEW_ROOM: u64 = 0x2 | 0x20 | 0x10_0000;

/// Forks all twins, from a memory that has what they have in common. In each it returns with the twin's arguments, in the parent
/// with its own.
pub(crate) fn fork_all(args: &Args) -> &Args {
    if args.twins.count == 0 {
        return args;
    }
    replace(args, args, &args.common);
    for twin in slice::<Twin>(args, args.twins) {
        let ret = retry_while_taken(twin.pid, || fork(twin.pid));
        if ret == 0 {
            return grow_apart(args, twin);
        }
        check(args, Step::Fork, ret, twin.pid as u64);
        // In case it dies before it has said so itself.
        mark_born(twin);
    }
    replace(args, args, &args.own);
    close_images(args);
    args
}

fn fork(pid: i32) -> i64 {
    // struct clone_args: of all fields only the signal at its end and the chosen number.
    let clone = [0, 0, 0, 0, SIGCHLD, 0, 0, 0, &raw const pid as u64, 1, 0];
    call(SYS_CLONE3, [clone.as_ptr() as u64, size_of_val(&clone) as u64, 0, 0, 0, 0])
}

fn mark_born(twin: &Twin) {
    // SAFETY: the engine has put the address of a word of the control pages there, which are mapped as long as the region is.
    let born = unsafe { &*(twin.born as *const AtomicU32) };
    born.store(1, Ordering::SeqCst);
}

fn close_images(args: &Args) {
    if args.images >= 0 {
        check(args, Step::Close, call(SYS_CLOSE, [args.images as u64, 0, 0, 0, 0, 0]), args.images as u64);
    }
}

/// In the twin: what differs from its parent.
fn grow_apart<'a>(parent: &Args, twin: &Twin) -> &'a Args {
    // SAFETY: the engine has put its arguments at this address, and they stay mapped until the task is resumed.
    let args = unsafe { &*(twin.args as *const Args) };
    check(args, Step::DeathSignal, call(SYS_PRCTL, [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0]), 0);
    // It may have died before.
    if call(SYS_GETPPID, [0; 6]) != i64::from(parent.pid) {
        call(SYS_EXIT_GROUP, [1, 0, 0, 0, 0, 0]);
    }
    mark_born(twin);
    process::unmap(args);
    for r in slice::<Range>(args, twin.rooms) {
        let ret = call(SYS_MMAP, [r.start, r.len, READ_WRITE, NEW_ROOM, u64::MAX, 0]);
        if ret != r.start as i64 {
            fail(args, Step::Inherit, if ret < 0 { ret } else { -17 }, r.start);
        }
    }
    replace(parent, args, &twin.pages);
    close_images(parent);
    if twin.has_layout != 0 {
        process::set_layout(args);
    }
    process::set_actions(args);
    args
}

/// The images directory is `parent`'s; a failure is told of by `args`.
fn replace(parent: &Args, args: &Args, pages: &Pages) {
    for r in slice::<Range>(args, pages.discard) {
        check(args, Step::Inherit, call(SYS_MADVISE, [r.start, r.len, MADV_DONTNEED, 0, 0, 0]), r.start);
    }
    if pages.loads.count == 0 {
        return;
    }
    let fd = call(SYS_OPENAT, [parent.images as u64, pages.image.address, O_CLOEXEC, 0, 0, 0]);
    check(args, Step::Pages, fd, 0);
    for l in slice::<Load>(args, pages.loads) {
        let mut done = 0;
        while done < l.len {
            let n = call(SYS_PREAD64, [fd as u64, l.address + done, l.len - done, l.offset + done, 0, 0]);
            if n <= 0 {
                // The image is shorter than it was.
                fail(args, Step::Pages, if n < 0 { n } else { -5 }, l.address + done);
            }
            done += n as u64;
        }
    }
    check(args, Step::Close, call(SYS_CLOSE, [fd as u64, 0, 0, 0, 0, 0]), fd as u64);
}
