//! Where the components of the xsave area stand in its standard (not compacted) form: the CPU tells.

use std::sync::OnceLock;

/// One component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    pub number: u32,
    pub offset: usize,
    pub bytes: usize,
}

/// Numbers of components by their bits in XCR0.
pub mod number {
    pub const AVX: u32 = 2;
    pub const BNDREGS: u32 = 3;
    pub const BNDCSR: u32 = 4;
    pub const OPMASK: u32 = 5;
    pub const ZMM_UPPER: u32 = 6;
    pub const HI16_ZMM: u32 = 7;
    pub const PKRU: u32 = 9;
    pub const TILE_DATA: u32 = 18;
}

/// Every component behind the legacy area that this CPU has, by number.
pub fn components() -> &'static [Component] {
    static COMPONENTS: OnceLock<Vec<Component>> = OnceLock::new();
    COMPONENTS.get_or_init(|| {
        let leaf = |sub| std::arch::x86_64::__cpuid_count(0xd, sub);
        let present = {
            let r = leaf(0);
            u64::from(r.eax) | u64::from(r.edx) << 32
        };
        (2..63)
            .filter(|n| present & 1 << n != 0)
            .map(|number| {
                let r = leaf(number);
                Component { number, offset: r.ebx as usize, bytes: r.eax as usize }
            })
            .collect()
    })
}
