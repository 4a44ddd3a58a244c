//! The two programs that run inside other processes, and what they share with the engine.
//!
//! `parasite` is put into a task that is being dumped; `restorer` turns an ordinary process into the restored one.

pub mod abi;

/// A program ready to be placed: flat bytes that only need the load address added at `relocs`.
#[derive(Clone, Copy, Debug)]
pub struct Blob {
    pub bytes: &'static [u8],
    /// Offset of the first instruction.
    pub entry: usize,
    /// Offsets of the 64-bit words to which the load address is added.
    pub relocs: &'static [usize],
}

impl Blob {
    /// The bytes as they must stand at `address`.
    pub fn at(&self, address: u64) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        for &r in self.relocs {
            if let Some(word) = bytes.get_mut(r..r + 8) {
                let mut value = [0; 8];
                value.copy_from_slice(word);
                word.copy_from_slice(&u64::from_le_bytes(value).wrapping_add(address).to_le_bytes());
            }
        }
        bytes
    }
}

include!(concat!(env!("OUT_DIR"), "/blobs.rs"));
