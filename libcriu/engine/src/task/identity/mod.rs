//! What a process is known by and small settings of its own: personality, login uid, OOM score, core dump filter.

mod dump;

pub use dump::{Identity, autogroup_nice, personality, read};
