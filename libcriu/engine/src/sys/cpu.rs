//! The extended processor state of this machine: which components it has and where each stands in the standard form of
//! the xsave area.

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

/// Place and size of one component in the standard form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    pub offset: usize,
    pub len: usize,
}

/// Bits of the user components that the processor has and the kernel has enabled; x87 and SSE always. Asked once: in a
/// virtual machine every cpuid is an exit.
pub fn xstate_enabled() -> u64 {
    static ENABLED: OnceLock<u64> = OnceLock::new();
    *ENABLED.get_or_init(ask_enabled)
}

fn ask_enabled() -> u64 {
    // Leaf 1, ECX bit 27: xsave is enabled.
    if __cpuid(1).ecx >> 27 & 1 == 0 {
        return 3;
    }
    // SAFETY: OSXSAVE was just seen, so that xgetbv exists.
    unsafe { xcr0() }
}

#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: register 0 exists wherever xgetbv does.
    unsafe { _xgetbv(0) }
}

/// How many numbers of CPUs there can be on this machine, with those that are off; `None` when it does not tell.
pub fn possible() -> Option<usize> {
    let ranges = std::fs::read_to_string("/sys/devices/system/cpu/possible").ok()?;
    ranges.trim().rsplit([',', '-']).next()?.parse::<usize>().ok()?.checked_add(1)
}

/// Where component `number` (2 and up) stands.
pub fn xstate_component(number: u32) -> Option<Component> {
    if !(2..=62).contains(&number) || xstate_enabled() >> number & 1 == 0 {
        return None;
    }
    static PLACES: [OnceLock<Component>; 63] = [const { OnceLock::new() }; 63];
    PLACES.get(number as usize).map(|place| {
        *place.get_or_init(|| {
            let r = __cpuid_count(0xd, number);
            Component { offset: r.ebx as usize, len: r.eax as usize }
        })
    })
}
