//! The allocator of everything that the engine is part of: the system's, until a process is to become a restored task. From
//! there on memory comes from fresh pages, one behind the other, and what was inherited is left alone: the system's allocator
//! would use what is free among the coordinator's things, and each page that it writes to there is a fault and a copy. Little is
//! given back, for the restorer unmaps all of it soon.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What is mapped at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Allocations from this size on get a mapping of their own, which is given back.
const LARGE_BYTES: usize = 8 << 10;
/// Pages of longer mappings come when they are touched.
const POPULATED_BYTES: usize = 1 << 20;

static IS_TASK: AtomicBool = AtomicBool::new(false);
/// Filling memory takes a second thread.
static LOCK: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);
/// Start and length of such mappings, 0 for none; what finds no place here is never given back.
static LARGE: [(AtomicUsize, AtomicUsize); 64] = [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; 64];

/// From now on this process, just forked, is a task under construction.
pub fn begin() {
    // What its parent may have begun is shared until it is written to.
    NEXT.store(0, Ordering::Relaxed);
    END.store(0, Ordering::Relaxed);
    LARGE.iter().for_each(|(start, _)| start.store(0, Ordering::Relaxed));
    IS_TASK.store(true, Ordering::Relaxed);
}

/// Has this process, or one that it was forked by, called [`begin`]?
pub fn is_task() -> bool {
    IS_TASK.load(Ordering::Relaxed)
}

#[derive(Debug)]
struct TaskHeap;

#[global_allocator]
static HEAP: TaskHeap = TaskHeap;

// SAFETY: outside tasks the system's allocator does it all. In a task a block is never used twice but when the last one is
// given back or a mapping of its own is, and a block of the system's is never given back.
unsafe impl GlobalAlloc for TaskHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_TASK.load(Ordering::Relaxed) {
            return locked(|| if layout.size() < LARGE_BYTES { next(layout) } else { large(layout) });
        }
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !IS_TASK.load(Ordering::Relaxed) {
            // SAFETY: by the caller's promise.
            return unsafe { System.alloc_zeroed(layout) };
        }
        if layout.size() >= LARGE_BYTES {
            return locked(|| large(layout));
        }
        let block = locked(|| next(layout));
        if !block.is_null() {
            // SAFETY: a block of this size was just taken.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !IS_TASK.load(Ordering::Relaxed) {
            // SAFETY: by the caller's promise; before `begin` every block was the system's.
            return unsafe { System.dealloc(block, layout) };
        }
        locked(|| {
            if layout.size() >= LARGE_BYTES {
                unmap(block);
            } else if block as usize + layout.size() == NEXT.load(Ordering::Relaxed) {
                NEXT.store(block as usize, Ordering::Relaxed);
            }
        });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !IS_TASK.load(Ordering::Relaxed) {
            // SAFETY: by the caller's promise.
            return unsafe { System.realloc(block, layout, new_size) };
        }
        if layout.size().max(new_size) < LARGE_BYTES && locked(|| extend(block, layout.size(), new_size)) {
            return block;
        }
        // SAFETY: the size is not 0 and, rounded up, no overflow, by the caller's promise; both blocks are that long.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

fn locked<T>(f: impl FnOnce() -> T) -> T {
    while LOCK.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::hint::spin_loop();
    }
    let result = f();
    LOCK.store(false, Ordering::Release);
    result
}

/// The next block of the chunk; a new chunk when it is used up.
fn next(layout: Layout) -> *mut u8 {
    let take = || {
        let at = NEXT.load(Ordering::Relaxed).next_multiple_of(layout.align());
        let end = at + layout.size();
        (at != 0 && end <= END.load(Ordering::Relaxed)).then(|| {
            NEXT.store(end, Ordering::Relaxed);
            at as *mut u8
        })
    };
    if let Some(block) = take() {
        return block;
    }
    let Ok(chunk) = Layout::from_size_align(CHUNK_BYTES, 16) else { return ptr::null_mut() };
    let start = map(chunk);
    if start.is_null() || layout.align() > 4096 {
        return ptr::null_mut();
    }
    NEXT.store(start as usize, Ordering::Relaxed);
    END.store(start as usize + CHUNK_BYTES, Ordering::Relaxed);
    take().unwrap_or(ptr::null_mut())
}

/// Makes the last block longer or shorter where it is.
fn extend(block: *mut u8, size: usize, new_size: usize) -> bool {
    let (start, end) = (block as usize, block as usize + new_size);
    let fits = start + size == NEXT.load(Ordering::Relaxed) && end <= END.load(Ordering::Relaxed);
    if fits {
        NEXT.store(end, Ordering::Relaxed);
    }
    fits
}

/// A block with a mapping of its own.
fn large(layout: Layout) -> *mut u8 {
    let block = map(layout);
    if let Some((start, len)) = LARGE.iter().find(|(start, _)| start.load(Ordering::Relaxed) == 0)
        && !block.is_null()
    {
        start.store(block as usize, Ordering::Relaxed);
        len.store(layout.size(), Ordering::Relaxed);
    }
    block
}

/// Gives a block back that this process has mapped.
fn unmap(block: *mut u8) {
    if let Some((start, len)) = LARGE.iter().find(|(start, _)| start.load(Ordering::Relaxed) == block as usize) {
        start.store(0, Ordering::Relaxed);
        // SAFETY: `large` has mapped just this, and its owner lets go of it.
        unsafe { libc::munmap(block.cast(), len.load(Ordering::Relaxed)) };
    }
}

/// Fresh pages, which are zeroes.
fn map(layout: Layout) -> *mut u8 {
    if layout.align() > 4096 {
        return ptr::null_mut();
    }
    let populate = if layout.size() <= POPULATED_BYTES { libc::MAP_POPULATE } else { 0 };
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | populate);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe { libc::mmap(ptr::null_mut(), layout.size(), prot, flags, -1, 0) };
    if at == libc::MAP_FAILED { ptr::null_mut() } else { at.cast() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_allocates_apart() {
        let child = crate::sys::trial::fork(|| {
            let mut inherited: Vec<u64> = (0..1000).collect();
            let there = inherited.as_ptr();
            begin();
            // Moves away from the inherited block, which stays as it was.
            inherited.push(1000);
            assert!(inherited.as_ptr() != there && (0..=1000).eq(inherited.iter().copied()));
            let mut words: Vec<String> = (0..20_000).map(|n| format!("word {n}")).collect();
            words.sort();
            words.sort_by_key(|w| w[5..].parse::<u32>().ok());
            assert!((0..).zip(&words).all(|(n, w)| *w == format!("word {n}")));
            let zeroes = vec![0_u8; 300_000];
            assert!(zeroes.iter().all(|b| *b == 0));
            let mapped = || {
                crate::mem::vma::placement::own_mappings()
                    .unwrap()
                    .iter()
                    .map(|m| m.range.end - m.range.start)
                    .sum::<u64>()
            };
            let before = mapped();
            for n in 0..1000 {
                let mut bytes = vec![1_u8; 100_000];
                bytes.resize(200_000, n as u8);
            }
            assert!(mapped() < before + 2_000_000);
            let other = std::thread::spawn(|| (0..50_000).map(|n| n.to_string().len()).sum::<usize>());
            let here = (0..50_000).map(|n| n.to_string().len()).sum::<usize>();
            assert_eq!(other.join().unwrap(), here);
        });
        child.finish().unwrap();
    }

    #[test]
    fn the_last_block_grows_in_place_and_is_used_again() {
        let child = crate::sys::trial::fork(|| {
            begin();
            let mut v: Vec<u8> = Vec::with_capacity(10);
            let at = v.as_ptr();
            v.reserve_exact(2000);
            assert_eq!(v.as_ptr(), at);
            drop(v);
            let again: Vec<u8> = Vec::with_capacity(1);
            assert_eq!(again.as_ptr(), at);
        });
        child.finish().unwrap();
    }
}
