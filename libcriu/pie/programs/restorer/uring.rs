//! Mappings of io_uring instances. The kernel takes no address for them, neither from mmap nor from mremap: it chooses the first place
//! where there is room, as for any mapping. So whatever it chooses before the right place is filled meanwhile.

use core::sync::atomic::Ordering;

use crate::abi::{Args, Gap, Step, Uring, UringBuffers};
use crate::report::{check, fail};
use crate::{call, slice};

const SYS_MMAP: i64 = 9;
const SYS_MUNMAP: i64 = 11;
const SYS_MADVISE: i64 = 28;
const SYS_IO_URING_REGISTER: i64 = 427;
const REGISTER_BUFFERS2: u64 = 15;
const MAP_SHARED: u64 = 1;
/// MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE, MAP_FIXED_NOREPLACE
const FILL: u64 = 0x02 | 0x20 | 0x4000 | 0x10_0000;
const EADDRNOTAVAIL: i64 = -99;

pub(crate) fn map_all(args: &Args) {
    let gaps = slice::<Gap>(args, args.gaps);
    for uring in slice::<Uring>(args, args.urings) {
        map(args, uring, gaps);
    }
    for gap in gaps.iter().filter(|gap| gap.is_filled.load(Ordering::Relaxed) != 0) {
        unmap(args, gap.start, gap.len);
    }
}

/// When the process has its own pages at last: the kernel keeps those that it finds.
pub(crate) fn register_buffers(args: &Args) {
    for buffers in slice::<UringBuffers>(args, args.uring_buffers) {
        let bytes = size_of_val(&buffers.all) as u64;
        let a = [buffers.fd as u64, REGISTER_BUFFERS2, buffers.all.as_ptr() as u64, bytes, 0, 0];
        check(args, Step::UringBuffers, call(SYS_IO_URING_REGISTER, a), buffers.fd as u64);
    }
}

fn map(args: &Args, uring: &Uring, gaps: &[Gap]) {
    unmap(args, uring.start, uring.len);
    loop {
        let at = call(SYS_MMAP, [0, uring.len, uring.prot, MAP_SHARED, uring.fd as u64, uring.offset]);
        check(args, Step::Uring, at, uring.start);
        let at = at as u64;
        if at == uring.start {
            break;
        }
        unmap(args, at, uring.len);
        let mut has_filled = false;
        for gap in gaps.iter().filter(|gap| gap.start < at + uring.len && at < gap.start + gap.len) {
            if gap.is_filled.load(Ordering::Relaxed) == 0 {
                check(args, Step::Uring, call(SYS_MMAP, [gap.start, gap.len, 0, FILL, u64::MAX, 0]), gap.start);
                gap.is_filled.store(1, Ordering::Relaxed);
                has_filled = true;
            }
        }
        if !has_filled {
            fail(args, Step::Uring, EADDRNOTAVAIL, uring.start);
        }
    }
    for advice in (0..64).filter(|bit| uring.advice >> bit & 1 != 0) {
        check(args, Step::Uring, call(SYS_MADVISE, [uring.start, uring.len, advice, 0, 0, 0]), uring.start);
    }
}

fn unmap(args: &Args, start: u64, len: u64) {
    check(args, Step::Uring, call(SYS_MUNMAP, [start, len, 0, 0, 0, 0]), start);
}
