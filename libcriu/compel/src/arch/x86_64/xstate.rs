//! Layout of the extended state as PTRACE_GETREGSET gives it: 512 bytes of fxsave, a 64-byte header, then components at
//! offsets that CPUID tells.

use std::arch::x86_64::__cpuid_count;

/// The part that fxsave knows (x87 and SSE).
pub const LEGACY_BYTES: usize = 512;
/// The header behind it: `xstate_bv`, `xcomp_bv`, reserved.
pub const XSTATE_HEADER_BYTES: usize = 64;
const CPUID_XSAVE: u32 = 13;

/// Place of one component, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    pub offset: usize,
    pub size: usize,
}

/// Components that the operating system has enabled (XCR0): bit 0 x87, 1 SSE, 2 AVX, 3 and 4 MPX, 5 to 7 AVX-512, 9 PKRU, 17 and 18 AMX.
pub fn enabled_components() -> u64 {
    let leaf = __cpuid_count(CPUID_XSAVE, 0);
    u64::from(leaf.edx) << 32 | u64::from(leaf.eax)
}

/// Size of an area that holds all components that are enabled at all.
pub fn xstate_bytes() -> usize {
    __cpuid_count(CPUID_XSAVE, 0).ecx as usize
}

/// Where component `number` (2 and up) stands; `None` when the CPU does not have it.
pub fn component(number: u32) -> Option<Component> {
    if !(2..63).contains(&number) || enabled_components() >> number & 1 == 0 {
        return None;
    }
    let leaf = __cpuid_count(CPUID_XSAVE, number);
    (leaf.eax != 0).then_some(Component { offset: leaf.ebx as usize, size: leaf.eax as usize })
}

/// The extended state of one thread.
#[derive(Clone, Copy, Debug)]
pub struct Xstate<'a> {
    bytes: &'a [u8],
}

impl<'a> Xstate<'a> {
    /// `None` when there are not even the legacy area and the header.
    pub fn new(bytes: &'a [u8]) -> Option<Xstate<'a>> {
        (bytes.len() >= LEGACY_BYTES + XSTATE_HEADER_BYTES).then_some(Xstate { bytes })
    }

    /// As fxsave lays it out. x87 or SSE state that is not in use shows as whatever the kernel put there: its initial values.
    pub fn legacy(&self) -> &'a [u8] {
        &self.bytes[..LEGACY_BYTES]
    }

    /// Components in use; all others have their initial values.
    pub fn xstate_bv(&self) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[LEGACY_BYTES..LEGACY_BYTES + 8]);
        u64::from_le_bytes(word)
    }

    /// Bytes of component `number` (2 and up): `None` when the CPU has no such component. Look at [`Xstate::xstate_bv`] before:
    /// bytes of a component not in use mean nothing.
    pub fn component(&self, number: u32) -> Option<&'a [u8]> {
        let Component { offset, size } = component(number)?;
        self.bytes.get(offset..offset + size)
    }
}
