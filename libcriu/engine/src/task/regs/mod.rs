//! Registers of a thread: general ones, x87, SSE and every further component of the xsave area.

mod dump;
mod restart;
pub mod restore;
mod xsave;

pub use dump::{fpregs, gpregs};
pub use restart::call_behind;
pub use xsave::{Component, components};

/// Components that a process may only use after it has asked the kernel (ARCH_REQ_XCOMP_PERM). What is in them cannot be put back
/// by ptrace(2): the kernel gives a thread room for it when it uses them.
const ASKED_FOR: u64 = 1 << xsave::number::TILE_DATA;

/// Why a process that may use these components (by bits) cannot be saved; `None` when it can.
pub fn unsupported(permitted: u64) -> Option<String> {
    let asked = restore::first_of(permitted & ASKED_FOR);
    asked.map(|name| format!("it has asked for {name} (ARCH_REQ_XCOMP_PERM); this cannot be saved"))
}

/// The length of `syscall` and of `int 0x80`.
const SYSCALL_BYTES: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_of_this_processor_goes_through_an_image_unchanged() {
        const LEGACY: usize = 512;
        let enabled = crate::sys::cpu::xstate_enabled() & !ASKED_FOR;
        let here = || components().iter().filter(|c| c.offset != 0 && enabled >> c.number & 1 == 1);
        let end = here().map(|c| c.offset + c.bytes).max().unwrap_or(LEGACY + 64);
        let mut bytes = vec![0; end];
        // x87 and SSE registers.
        (32..416).for_each(|at| bytes[at] = at as u8);
        let mut used = 3_u64;
        for c in here() {
            used |= 1 << c.number;
            (0..c.bytes).for_each(|at| bytes[c.offset + at] = (at * 7 + c.number as usize) as u8);
        }
        bytes[LEGACY..LEGACY + 8].copy_from_slice(&used.to_le_bytes());
        let mut saved = fpregs(&bytes).unwrap();
        assert_eq!(restore::xstate(&saved, end).unwrap(), bytes);
        // One that is in use and whose state is not in the image, or not whole, is no state.
        let Some(x) = saved.xsave.as_mut().filter(|x| !x.ymmh_space.is_empty()) else { return };
        x.ymmh_space.truncate(3);
        assert!(restore::xstate(&saved, end).unwrap_err().contains("AVX has 12 bytes"));
    }

    #[test]
    fn what_has_to_be_asked_for_is_not_saved() {
        // Tile configuration and the rest that a processor with AMX has is everybody's.
        assert_eq!(unsupported(0x202e7), None);
        let why = unsupported(0x602e7).unwrap();
        assert!(why.contains("AMX (tile data)") && why.contains("cannot be saved"), "{why}");
    }
}
