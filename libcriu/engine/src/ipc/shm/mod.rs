//! Shared memory segments (shmget): `ipcns-shm-N.img` lists them, their contents are in `pagemap-shmem-ID.img`.

pub(super) mod dump;
pub(super) mod restore;

/// Bits of `ipc_desc_entry.mode` beside the permissions.
const DEST: u32 = 0o1000;
const LOCKED: u32 = 0o2000;
