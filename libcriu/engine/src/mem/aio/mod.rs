//! Contexts of asynchronous I/O (io_setup): a ring of completions that is mapped, by whose address the context goes.
//!
//! What a ring holds is saved as the pages of its area are, and completions that nobody has taken are given again. Which requests
//! are in flight no system call tells: it is read in the kernel's memory, after they were given some time to complete, which they
//! do without their task.
//!
//! Limits, refused by name: requests that stay in flight; a kernel whose memory may not be read; a ring of which a part is mapped
//! only; the view of its parent's ring that a child has after fork.

pub mod dump;
pub mod restore;

/// Bytes of the head of a ring, and of each completion in it.
const HEAD_BYTES: u64 = 32;
const EVENT_BYTES: u64 = 32;

/// What a ring begins with: the kernel's `struct aio_ring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// The place in the kernel's table of the process's contexts.
    id: u32,
    /// Room for completions, of which one stays free.
    events: u32,
    /// The next to be taken. Programs that take completions by themselves write it.
    head: u32,
    /// Where the kernel puts the next.
    tail: u32,
    magic: u32,
    head_bytes: u32,
}

const MAGIC: u32 = 0xa10a_10a1;

impl Head {
    fn of(ring: &[u8]) -> Option<Head> {
        let word = |at: usize| Some(u32::from_le_bytes(ring.get(4 * at..4 * at + 4)?.try_into().ok()?));
        let [id, events, head, tail, magic, head_bytes] = [word(0)?, word(1)?, word(2)?, word(3)?, word(4)?, word(7)?];
        Some(Head { id, events, head, tail, magic, head_bytes })
    }

    /// Is it the head of a ring of `len` bytes, as the kernel makes them?
    fn is_sound(&self, len: u64) -> bool {
        u64::from(self.events) == len.saturating_sub(HEAD_BYTES) / EVENT_BYTES
            && self.tail < self.events
            && (self.magic, u64::from(self.head_bytes)) == (MAGIC, HEAD_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let ring = |words: [u32; 8]| words.map(u32::to_le_bytes).concat();
        let sound = |words| Head::of(&ring(words)).unwrap().is_sound(0x1000);
        assert!(sound([0, 127, 500, 126, MAGIC, 1, 0, 32]));
        for other in
            [[0, 126, 0, 0, MAGIC, 1, 0, 32], [0, 127, 0, 127, MAGIC, 1, 0, 32], [0, 127, 0, 0, MAGIC, 1, 0, 64]]
        {
            assert!(!sound(other));
        }
        assert_eq!(Head::of(&[0; 31]), None);
    }
}
