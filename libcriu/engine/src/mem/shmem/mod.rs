//! Contents of shared memory: anonymous shared areas, and memfds, whose kind calls this module. `pagemap-shmem-SHMID.img` names the pages by
//! their offsets in the object.

mod dump;
mod fill;

pub use dump::{dump, dump_whole_pages};
pub use fill::fill;
