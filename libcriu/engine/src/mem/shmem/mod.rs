//! Contents of shared memory: anonymous shared areas, and memfds, whose kind calls this module. `pagemap-shmem-SHMID.img` names the pages by
//! their offsets in the object.

use std::io;
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, fstat, memfd_create};

mod dump;
mod fill;

pub use dump::{dump, dump_whole_pages};
pub use fill::{fill, fill_mapped};

/// The device number of the kernel's own tmpfs, where memfds and anonymous shared memory live.
///
/// # Errors
/// Those of memfd_create(2).
pub fn memfd_device() -> io::Result<u64> {
    static DEVICE: OnceLock<u64> = OnceLock::new();
    match DEVICE.get() {
        Some(known) => Ok(*known),
        None => {
            let device = fstat(memfd_create(c"criu", MemfdFlags::CLOEXEC)?)?.st_dev;
            Ok(*DEVICE.get_or_init(|| device))
        }
    }
}
