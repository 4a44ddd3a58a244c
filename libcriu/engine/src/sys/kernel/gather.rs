//! Many places of the kernel's memory read at once: one run of a program for dozens of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::{
    ADD_NUMBER, Address, CALL, Context, EXIT, IF_GREATER, Kernel, LOAD, LOAD_MAP, MAP, MAP_VALUE, MOVE, MOVE_NUMBER,
    create_map, instruction, load, run,
};
use crate::sys::view::View;

/// Places read by one run. The kernel takes about as long to look through the program for each of them as a run takes.
const SLOTS: usize = 32;
const SLOT_BYTES: usize = 1024;
/// Addresses come first in the map.
const ADDRESSES_BYTES: usize = 8 * SLOTS;
const MAP_BYTES: usize = ADDRESSES_BYTES + SLOTS * SLOT_BYTES;
const OR: u8 = 0x4f;

#[derive(Debug)]
pub(super) struct Gather {
    program: OwnedFd,
    map: View,
}

impl Gather {
    fn new() -> io::Result<Self> {
        let map = create_map(MAP_BYTES)?;
        Ok(Gather { program: load(&program(), map.as_fd())?, map: View::of(map.as_fd(), MAP_BYTES)? })
    }
}

/// No loop, which older kernels would have to be convinced of: the same few instructions for each slot. r7: bytes, r8: the
/// map, r9: what went wrong anywhere.
fn program() -> Vec<u64> {
    const PIECE: usize = 6;
    let mut all = vec![
        instruction(LOAD, 7, 1, 16, 0),
        instruction(LOAD_MAP, 8, MAP_VALUE, 0, MAP),
        instruction(0, 0, 0, 0, 0),
        instruction(MOVE_NUMBER, 9, 0, 0, 0),
        instruction(IF_GREATER, 7, 0, (PIECE * SLOTS + 2) as i16, SLOT_BYTES as i32),
    ];
    for slot in 0..SLOTS {
        all.extend([
            instruction(MOVE, 1, 8, 0, 0),
            instruction(ADD_NUMBER, 1, 0, 0, (ADDRESSES_BYTES + slot * SLOT_BYTES) as i32),
            instruction(MOVE, 2, 7, 0, 0),
            instruction(LOAD, 3, 8, 8 * slot as i16, 0),
            // bpf_probe_read_kernel
            instruction(CALL, 0, 0, 0, 113),
            instruction(OR, 9, 0, 0, 0),
        ]);
    }
    all.extend([
        instruction(MOVE, 0, 9, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
        instruction(MOVE_NUMBER, 0, 0, 0, -libc::E2BIG),
        instruction(EXIT, 0, 0, 0, 0),
    ]);
    all
}

impl Kernel {
    /// `len` bytes from each of these places, shown one after the other with their number.
    ///
    /// # Errors
    /// EFAULT or ERANGE: there is nothing at one of them.
    pub(crate) fn read_each(
        &self,
        places: &[Address],
        len: usize,
        mut show: impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        let gather = match self.gather.get() {
            Some(gather) => gather,
            None => {
                let new = Gather::new()?;
                self.gather.get_or_init(|| new)
            }
        };
        let mut read = vec![0; SLOTS * len];
        for (chunk, some) in places.chunks(SLOTS).enumerate() {
            gather.fill(some, len, &mut read)?;
            for (slot, bytes) in read.chunks(len.max(1)).take(some.len()).enumerate() {
                show(chunk * SLOTS + slot, bytes);
            }
        }
        Ok(())
    }
}

impl Gather {
    /// Reads from as many places as there are slots, or fewer, part after part.
    fn fill(&self, places: &[Address], len: usize, into: &mut [u8]) -> io::Result<()> {
        let last = places.last().copied().unwrap_or(0);
        for done in (0..len).step_by(SLOT_BYTES) {
            let part = (len - done).min(SLOT_BYTES);
            let padded = places.iter().copied().chain(std::iter::repeat(last)).take(SLOTS);
            let addresses: Vec<u8> = padded.flat_map(|at| at.wrapping_add(done as u64).to_le_bytes()).collect();
            self.map.put(0, &addresses);
            run(self.program.as_fd(), Context { len: part as u64, ..Context::default() })?;
            for (slot, place) in into.chunks_mut(len).enumerate().take(places.len()) {
                let part = place.get_mut(done..done + part).unwrap_or_default();
                self.map.copy_to(ADDRESSES_BYTES + slot * SLOT_BYTES, part);
            }
        }
        Ok(())
    }
}
