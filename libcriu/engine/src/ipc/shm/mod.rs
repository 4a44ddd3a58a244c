//! Shared memory segments (shmget): `ipcns-shm-N.img` lists them, their contents are in `pagemap-shmem-ID.img`.

use crate::proc::read_text;

pub(super) mod detached;
pub(super) mod dump;
pub(super) mod restore;

/// Bits of `ipc_desc_entry.mode` beside the permissions.
const DEST: u32 = 0o1000;
const LOCKED: u32 = 0o2000;
/// For shmget(2): pages of hugetlbfs. In `ipc_shm_entry.hugetlb_flag`, together with their size.
const SHM_HUGETLB: u32 = libc::SHM_HUGETLB as u32;

/// Does the kernel remove a segment as soon as nobody has it attached any more? Then such a segment was never attached, and whoever
/// attaches it to look at it ends it.
fn goes_when_detached() -> bool {
    read_text("/proc/sys/kernel/shm_rmid_forced").is_ok_and(|forced| forced.trim() != "0")
}
