//! `cpuinfo.img`: what the CPU of a dump can do, and whether this one can as much.

mod cpuid;

use criu_images::messages::{CpuinfoEntry, CpuinfoX86Entry, cpuinfo_x86_entry::Vendor};
use criu_images::{ImageDir, Kind};

use crate::error::{Blocker, Error, Phase, Result};
use cpuid::WORDS;

/// The layout of capability words that is written.
const CAPABILITY_VERSION: u32 = 2;

/// The aspects of `--cpu-cap`, as bits of `cpu_cap`.
pub mod aspect {
    /// The registers that xsave keeps.
    pub const FPU: u32 = 1;
    /// The very model.
    pub const CPU: u32 = 2;
    /// Instructions.
    pub const INS: u32 = 4;
    /// What is compared when nothing is said.
    pub const DEFAULT: u32 = FPU | INS;
}

/// This machine's CPU.
pub fn own() -> CpuinfoX86Entry {
    let id = cpuid::identity();
    let vendor = match id.vendor.as_str() {
        "GenuineIntel" => Vendor::Intel,
        "AuthenticAMD" => Vendor::Amd,
        _ => Vendor::Unknown,
    };
    let xsave = cpuid::xsave();
    CpuinfoX86Entry {
        vendor_id: vendor as i32,
        cpu_family: id.family,
        model: id.model,
        stepping: id.stepping,
        capability_ver: CAPABILITY_VERSION,
        capability: cpuid::capabilities().to_vec(),
        model_id: Some(id.brand),
        xfeatures_mask: Some(xsave.features),
        xsave_size: Some(xsave.size_bytes),
        xsave_size_max: Some(xsave.size_max_bytes),
    }
}

fn broken(e: impl std::fmt::Display) -> Error {
    Error::new(Phase::Check, "cpuinfo.img", e.to_string())
}

/// Writes `cpuinfo.img`.
///
/// # Errors
/// What the file system answered.
pub fn dump(images: &ImageDir) -> Result<()> {
    let entry = CpuinfoEntry { x86_entry: vec![own()], ..Default::default() };
    images.write_one(Kind::Cpuinfo, 0, &entry).map_err(broken)
}

/// Compares `cpuinfo.img` with this machine in the aspects of `cpu_cap` (`None`: the default ones).
///
/// # Errors
/// The image cannot be read, or is of another architecture; everything that is missing here, as blockers.
pub fn check(images: &ImageDir, cpu_cap: Option<u32>) -> Result<()> {
    let entry: CpuinfoEntry = images.read_one(Kind::Cpuinfo, 0).map_err(broken)?;
    let saved = entry.x86_entry.first().ok_or_else(|| broken("it is of another architecture than x86-64"))?;
    let missing = compare(saved, &own(), cpu_cap.unwrap_or(aspect::DEFAULT));
    if missing.is_empty() { Ok(()) } else { Err(Error::refused(Phase::Check, missing)) }
}

/// What `saved` has and `here` has not.
fn compare(saved: &CpuinfoX86Entry, here: &CpuinfoX86Entry, aspects: u32) -> Vec<Blocker> {
    let mut missing = Vec::new();
    let mut lacks = |object: &str, cause: String| missing.push(Blocker::new(0, format!("CPU {object}"), cause));
    if aspects & aspect::FPU != 0 {
        let more = saved.xfeatures_mask() & !here.xfeatures_mask();
        if more != 0 {
            lacks("registers", format!("xsave components {more:#x} of the dump are not here"));
        }
    }
    if aspects & aspect::INS != 0 {
        if saved.capability_ver == CAPABILITY_VERSION {
            for (word, name) in WORDS {
                let bits = |e: &CpuinfoX86Entry| e.capability.get(*word).copied().unwrap_or(0);
                let more = bits(saved) & !bits(here);
                if more != 0 {
                    lacks("instructions", format!("bits {more:#x} of CPUID {name} are not here"));
                }
            }
        } else {
            lacks("instructions", format!("capabilities of version {} cannot be compared", saved.capability_ver));
        }
    }
    if aspects & aspect::CPU != 0 {
        let model = |e: &CpuinfoX86Entry| (e.vendor_id, e.cpu_family, e.model);
        if model(saved) != model(here) {
            let show = |e: &CpuinfoX86Entry| format!("{} (family {} model {})", e.model_id(), e.cpu_family, e.model);
            lacks("model", format!("the dump was made on {}, this is {}", show(saved), show(here)));
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_do_what_it_can_do() {
        let dir = tempfile::tempdir().unwrap();
        let images = ImageDir::new(std::fs::File::open(dir.path()).unwrap().into());
        assert!(check(&images, None).unwrap_err().to_string().starts_with("cpuinfo.img"), "there is none yet");
        dump(&images).unwrap();
        check(&images, None).unwrap();
        check(&images, Some(u32::MAX)).unwrap();
        let own = own();
        assert!(own.capability[0] & 1 << 25 != 0, "every x86-64 has SSE");
        assert!(own.xsave_size() >= 576 && own.xfeatures_mask() & 3 == 3 || own.xfeatures_mask() == 0);
    }

    #[test]
    fn what_is_missing_is_named() {
        let here = own();
        let mut saved = here.clone();
        saved.capability[9] |= 1 << 31;
        let mut poor = here.clone();
        poor.capability[9] &= !(1 << 31);
        poor.xfeatures_mask = Some(1);
        saved.xfeatures_mask = Some(3);
        saved.model ^= 1;
        assert_eq!(compare(&saved, &poor, aspect::FPU).len(), 1);
        assert!(compare(&saved, &poor, aspect::INS)[0].cause.contains("CPUID 7.0 EBX"));
        assert!(compare(&saved, &poor, aspect::CPU)[0].cause.contains("the dump was made on"));
        assert_eq!(compare(&saved, &poor, u32::MAX).len(), 3);
        assert!(compare(&saved, &poor, 0).is_empty());
        saved.capability.clear();
        assert!(compare(&saved, &poor, aspect::INS).is_empty(), "a short list has no more bits");
    }
}
