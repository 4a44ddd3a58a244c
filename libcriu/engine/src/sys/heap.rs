//! Memory that the allocator is about to need, from the kernel at once: a page fault for each page takes several times as long.

/// What is expected wrongly is memory in vain.
const MOST_BYTES: usize = 16 << 20;

/// About so many bytes will be allocated in small pieces. Nothing depends on it; the process is to end soon, for from now on it
/// gives little back.
pub(crate) fn expect(bytes: usize) {
    #[cfg(target_env = "gnu")]
    grow(bytes.min(MOST_BYTES));
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}

#[cfg(target_env = "gnu")]
fn grow(bytes: usize) {
    /// The allocator's own value.
    const USUAL_PAD: i32 = 128 << 10;
    /// Two of them are more than can be left, and each too small for a mapping of its own.
    const BLOCK_BYTES: usize = 96 << 10;
    // SAFETY: the number of bytes is bounded; these functions take numbers, and sbrk(0) changes nothing.
    let before = unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, bytes as i32);
        libc::sbrk(0)
    } as usize;
    let blocks = [(); 2].map(|()| Vec::<u8>::with_capacity(BLOCK_BYTES));
    drop(std::hint::black_box(blocks));
    // SAFETY: as above.
    let after = unsafe {
        libc::mallopt(libc::M_TOP_PAD, USUAL_PAD);
        libc::sbrk(0)
    } as usize;
    let first = before.next_multiple_of(4096);
    if after > first {
        // SAFETY: this is the allocator's own, just grown; the pages that are not there yet come to be. Older kernels than 5.14
        // refuse.
        unsafe { libc::madvise(first as *mut libc::c_void, after - first, libc::MADV_POPULATE_WRITE) };
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_was_expected_can_be_used() {
        super::expect(1 << 20);
        let pieces: Vec<Vec<u8>> = (0..1000usize).map(|n| vec![n as u8; 1000]).collect();
        assert!(pieces.iter().enumerate().all(|(n, piece)| piece.iter().all(|b| *b == n as u8)));
    }
}
