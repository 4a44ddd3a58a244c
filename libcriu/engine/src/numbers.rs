//! Hash tables with numbers for keys: ids, inodes, addresses. There are thousands of them to look up, and the standard
//! library's way takes ten times as long for each.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

pub(crate) type ByNumber<K, V> = HashMap<K, V, Numbers>;

/// Begins with a number that is another one in each process: nobody can make an image whose ids all collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers(u64);

/// The number so far.
pub(crate) struct Mixer(u64);

impl Default for Numbers {
    fn default() -> Self {
        static BEGINNING: OnceLock<u64> = OnceLock::new();
        Numbers(*BEGINNING.get_or_init(|| RandomState::new().hash_one(0u8)))
    }
}

impl BuildHasher for Numbers {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer(self.0)
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, number: u64) {
        /// Odd, and without a pattern: the golden ratio.
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ number) * u128::from(FACTOR);
        // Tables look at both ends of a hash.
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_i32(&mut self, number: i32) {
        self.write_u64(number as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn neighbours_do_not_collide() {
        let numbers = Numbers::default();
        // Seven bits of one end, and some of the other, are what a table goes by.
        for step in [1u64, 64, 4096, 1 << 32] {
            let hashes: Vec<u64> = (0..4096u64).map(|n| numbers.hash_one(n * step)).collect();
            let ends = [hashes.iter().map(|h| h >> 57).collect::<HashSet<_>>().len() as u64, 1 << 7];
            assert_eq!(ends[0], ends[1], "step {step}");
            assert!(hashes.iter().map(|h| h & 4095).collect::<HashSet<_>>().len() > 2048, "step {step}");
        }
    }

    #[test]
    fn parts_of_a_key_count_in_their_order() {
        let numbers = Numbers::default();
        assert_ne!(numbers.hash_one((1u64, 2u64)), numbers.hash_one((2u64, 1u64)));
        assert_ne!(numbers.hash_one(b"abcdefgh1".as_slice()), numbers.hash_one(b"abcdefgh2".as_slice()));
    }
}
