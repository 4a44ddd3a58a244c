//! Builds the two position-independent programs and turns each into a flat blob: bytes, entry offset and the offsets of the
//! 64-bit words to which the load address has to be added. They have no writable data: everything mutable is on their
//! stack or in their arguments, so that the blob can be mapped read-execute.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=programs");
    println!("cargo:rerun-if-changed=src");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut generated = String::new();
    for name in ["parasite", "restorer"] {
        let elf = compile(name, &out);
        generated.push_str(&blob(name, &elf, &out));
    }
    fs::write(out.join("blobs.rs"), generated).expect("writing blobs.rs");
}

fn compile(name: &str, out: &Path) -> Vec<u8> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let elf = out.join(name);
    let status = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "bin", "--crate-name", name])
        .args(["-C", "panic=abort", "-C", "opt-level=2", "-C", "relocation-model=pic", "-C", "strip=none"])
        .args(["-C", "overflow-checks=off", "-C", "debug-assertions=off", "-C", "force-unwind-tables=no"])
        // In one unit every check that cannot fail is seen to, and no panic brings data along.
        .args(["-C", "codegen-units=1"])
        .args(["-C", "link-arg=-nostdlib", "-C", "link-arg=-static-pie", "-C", "link-arg=-nostartfiles"])
        .args(["-C", "link-arg=-Wl,-T,programs/rt/link.ld", "-C", "link-arg=-Wl,--no-dynamic-linker"])
        .args(["-C", "link-arg=-Wl,-z,noexecstack,-z,norelro", "-C", "link-arg=-Wl,--build-id=none"])
        .arg("-o")
        .arg(&elf)
        .arg(format!("programs/{name}/main.rs"))
        .status()
        .expect("running rustc");
    assert!(status.success(), "the {name} program does not compile");
    fs::read(&elf).expect("reading the program")
}

fn word(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(b[at..at + 8].try_into().expect("eight bytes"))
}

fn half(b: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([b[at], b[at + 1]]))
}

/// Flattens the loadable segments and collects the relative relocations.
fn blob(name: &str, elf: &[u8], out: &Path) -> String {
    const R_X86_64_RELATIVE: u64 = 8;
    let entry = word(elf, 24);
    let (phoff, phnum) = (word(elf, 32) as usize, half(elf, 56));
    let (shoff, shnum) = (word(elf, 40) as usize, half(elf, 60));
    let mut image: Vec<u8> = Vec::new();
    for i in 0..phnum {
        let p = phoff + i * 56;
        if u32::from_le_bytes(elf[p..p + 4].try_into().expect("four bytes")) != 1 {
            continue;
        }
        let (off, addr) = (word(elf, p + 8) as usize, word(elf, p + 16) as usize);
        let (filesz, memsz) = (word(elf, p + 32) as usize, word(elf, p + 40) as usize);
        if image.len() < addr + memsz {
            image.resize(addr + memsz, 0);
        }
        image[addr..addr + filesz].copy_from_slice(&elf[off..off + filesz]);
    }
    let mut relocs = Vec::new();
    for i in 0..shnum {
        let s = shoff + i * 64;
        let kind = u32::from_le_bytes(elf[s + 4..s + 8].try_into().expect("four bytes"));
        assert!(kind != 8, "{name} has zero-initialised writable data (.bss)");
        if kind != 4 {
            continue;
        }
        let (off, size) = (word(elf, s + 24) as usize, word(elf, s + 32) as usize);
        for r in (off..off + size).step_by(24) {
            assert_eq!(word(elf, r + 8), R_X86_64_RELATIVE, "{name}: only relative relocations are handled");
            let at = word(elf, r) as usize;
            image[at..at + 8].copy_from_slice(&word(elf, r + 16).to_le_bytes());
            relocs.push(at);
        }
    }
    fs::write(out.join(format!("{name}.bin")), &image).expect("writing the blob");
    let upper = name.to_uppercase();
    format!(
        "/// The {name} program.\npub static {upper}: Blob = Blob {{ bytes: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.bin\")), entry: {entry}, relocs: &{relocs:?} }};\n"
    )
}
