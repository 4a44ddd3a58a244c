//! Mutations of an input, all from one seed.

/// xorshift64*.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Less than `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.word() >> 32) as usize) % n.max(1)
    }
}

/// Numbers at which something tends to happen.
const NUMBERS: [u64; 16] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x1000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_f000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_f000,
    u64::MAX,
];

/// The largest input made.
const MAX_BYTES: usize = 256 << 10;

/// A few changes of `input`, some of them with pieces of `other`.
pub fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let most = 1 << random.below(5);
    for _ in 0..1 + random.below(most) {
        change(&mut bytes, other, random);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let len = bytes.len();
    let at = random.below(len);
    let number = NUMBERS[random.below(NUMBERS.len())];
    match random.below(12) {
        0 if len > 0 => bytes[at] ^= 1 << random.below(8),
        1 if len > 0 => bytes[at] = random.word() as u8,
        2 if len > 0 => bytes[at] = bytes[at].wrapping_add(1 + random.below(3) as u8).wrapping_sub(2),
        3 => overwrite(bytes, at, &number.to_le_bytes()[..1 << random.below(4)]),
        4 => insert(bytes, at, &varint(number)),
        5 => overwrite(bytes, at, &varint(number)),
        6 if len > 0 => {
            let end = (at + 1 + random.below(16)).min(len);
            bytes.drain(at..end);
        }
        7 => bytes.truncate(at),
        8 => {
            let from = random.below(other.len());
            let piece = &other[from..(from + 1 + random.below(64)).min(other.len())];
            if random.below(2) == 0 { insert(bytes, at, piece) } else { overwrite(bytes, at, piece) }
        }
        9 if len > 0 => {
            let piece = bytes[at..(at + 1 + random.below(64)).min(len)].to_vec();
            let to = random.below(len);
            insert(bytes, to, &piece);
        }
        10 => insert(bytes, at, number.to_string().as_bytes()),
        _ => insert(bytes, at, &vec![random.word() as u8; 1 + random.below(20)]),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let tail = bytes.split_off(at.min(bytes.len()));
    bytes.extend_from_slice(piece);
    bytes.extend(tail);
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let end = (at + piece.len()).min(bytes.len());
    bytes.splice(at.min(end)..end, piece.iter().copied());
}

/// As protobuf writes a number.
pub fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_input() {
        let make = |seed| mutate(b"an input", b"another", &mut Random::new(seed));
        assert_eq!(make(7), make(7));
        assert!((0..50).any(|seed| make(seed) != make(7)));
        assert_eq!(varint(300), [0xac, 0x02]);
        for seed in 0..2000 {
            mutate(b"", b"", &mut Random::new(seed));
        }
    }
}
