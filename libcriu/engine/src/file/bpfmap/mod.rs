//! BPF maps: arrays and hash tables with their contents, frozen ones too, that nobody but the tree uses.
//!
//! Limits, refused by name: other types; maps with descriptions of their types (BTF) or on a numa node of choice; maps that a
//! program, a file of the BPF file system or a process outside has, which the kernel's memory tells. A map gets another id.

mod dump;
mod restore;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Bpfmap],
    dump: || Box::<dump::Maps>::default(),
    restore: || Box::<restore::Maps>::default(),
};

const HASH: u32 = 1;
const ARRAY: u32 = 2;
const RDONLY: u32 = 1 << 3;
const WRONLY: u32 = 1 << 4;
/// NO_PREALLOC, RDONLY, WRONLY, ZERO_SEED, RDONLY_PROG, WRONLY_PROG, MMAPABLE.
const FLAGS: u32 = 1 | RDONLY | WRONLY | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10;

/// For keys and values of one map each; far above what maps in use have.
const MAX_BYTES: u64 = 256 << 20;
