//! What CPUID says.

use std::arch::x86_64::{__cpuid_count, CpuidResult};

/// The number of capability words in an image.
const COUNT: usize = 20;

/// The words that hold a register of a CPUID leaf, by their index; the others hold what a kernel derives.
pub(super) const WORDS: &[(usize, &str)] = &[
    (0, "1 EDX"),
    (1, "80000001 EDX"),
    (4, "1 ECX"),
    (6, "80000001 ECX"),
    (9, "7.0 EBX"),
    (10, "D.1 EAX"),
    (18, "7.0 EDX"),
];

/// A leaf, all zero where the CPU does not have it.
fn leaf(number: u32, sub: u32) -> CpuidResult {
    let highest = __cpuid_count(number & 0x8000_0000, 0).eax;
    if number > highest { CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 } } else { __cpuid_count(number, sub) }
}

pub(super) fn capabilities() -> [u32; COUNT] {
    let (basic, extended, seven) = (leaf(1, 0), leaf(0x8000_0001, 0), leaf(7, 0));
    let mut words = [0; COUNT];
    words[0] = basic.edx;
    words[1] = extended.edx;
    words[4] = basic.ecx;
    words[6] = extended.ecx;
    words[9] = seven.ebx;
    words[10] = leaf(0xd, 1).eax;
    words[18] = seven.edx;
    words
}

/// Vendor, model and name.
pub(super) struct Identity {
    pub vendor: String,
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
    pub brand: String,
}

fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).take_while(|&b| b != 0).collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

pub(super) fn identity() -> Identity {
    let vendor = leaf(0, 0);
    let signature = leaf(1, 0).eax;
    let base_family = signature >> 8 & 0xf;
    let extended_model = signature >> 16 & 0xf;
    let mut model = signature >> 4 & 0xf;
    if matches!(base_family, 6 | 15) {
        model |= extended_model << 4;
    }
    let family = if base_family == 15 { base_family + (signature >> 20 & 0xff) } else { base_family };
    let mut brand = Vec::new();
    for number in 0x8000_0002..=0x8000_0004 {
        let part = leaf(number, 0);
        brand.extend([part.eax, part.ebx, part.ecx, part.edx]);
    }
    Identity {
        vendor: text(&[vendor.ebx, vendor.edx, vendor.ecx]),
        family,
        model,
        stepping: signature & 0xf,
        brand: text(&brand),
    }
}

/// The state that xsave keeps.
pub(super) struct Xsave {
    pub features: u64,
    /// For what is switched on now, and for all that there is.
    pub size_bytes: u32,
    pub size_max_bytes: u32,
}

pub(super) fn xsave() -> Xsave {
    let part = leaf(0xd, 0);
    Xsave { features: u64::from(part.edx) << 32 | u64::from(part.eax), size_bytes: part.ebx, size_max_bytes: part.ecx }
}
